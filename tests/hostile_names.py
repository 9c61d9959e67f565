"""Signatures with names that try to become code, for tests of code that is generated from names."""

from __future__ import annotations

from tfs_client import Signature, Signatures, TensorSpec

NAMES = (
    'x"); import os; os._exit(9)  #',
    '"""\nimport os\nos._exit(9)\n"""',
    "'''\nraise SystemExit(9)\n'''",
    "\\",
    '\\"""',
    "a\nb",
    "a\r\x00\x1b[2J",
    "{x!r}",
    "%s",
    "",
    " ",
    "_",
    "__init__",
    "__class__",
    "__x",
    "a-b",
    "a_b",
    "a.b",
    "a/b:0",
    "1st",
    "224",
    "class",
    "None",
    "match",
    "self",
    "options",
    "timeout",
    "version",
    "np",
    "ArrayLike",
    "NDArray",
    "Options",
    "dataclass",
    "mro",
    "check",
    "SIGNATURES",
    "sent",
    "reply",
    "größe",
    "ﬁ",
    "fi",
    "²",
    "图像",
    "🚀",
    "\u202ex",
    "\ud800",
    "x" * 300,
)

VECTOR = TensorSpec("float32", (None,))


def signatures() -> Signatures:
    """A model whose signatures, inputs and outputs have all of these names, each of them."""
    every = dict.fromkeys(NAMES, VECTOR)
    one = Signature(every, every, optional=frozenset(NAMES[::2]))
    found = dict.fromkeys(NAMES, Signature({"x": VECTOR}, {"y": VECTOR}))
    odd = Signature({"inputs": TensorSpec("string", (None,))}, {}, "tensorflow/serving/classify")
    odd_name = '"""\nimport os'
    found |= {"every": one, "nothing": Signature({}, {}), "odd method": Signature({}, {}, odd_name), "examples": odd}
    return Signatures(found, model='m"""\nimport os\nos._exit(9)  # \\', version=1)
