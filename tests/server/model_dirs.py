"""Models as small as can be: a version is a directory with a file ``model.txt``, and the model says what is in it.

The platform function lets tests look into loads, hold them up and make them fail.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import Counter
from pathlib import Path
from typing import Any

from tfs_client import TensorSpec
from tfs_client.errors import InvalidArgumentError
from tfs_client.server import FunctionServable, FunctionSignature

SAID = {"said": TensorSpec("string", ())}


class TextServable(FunctionServable):
    """Says the text that it was made of."""

    def __init__(self, path: str, text: str) -> None:
        super().__init__({"serving_default": FunctionSignature(lambda: text.encode(), {}, SAID)})
        self.path = path
        self.closed = threading.Event()

    def close(self) -> None:
        self.closed.set()


class TextPlatform:
    """Loads text models.

    Attributes:
        loads: how often each path was loaded.
        servables: weak references to what was loaded, by path.
        gates: a load of a path in here waits for its event.
        entered: set when the load of a path begins, for paths that have a gate.
    """

    def __init__(self) -> None:
        self.loads: Counter[str] = Counter()
        self.servables: dict[str, weakref.ref[TextServable]] = {}
        self.gates: dict[str, threading.Event] = {}
        self.entered: dict[str, threading.Event] = {}

    def __call__(self, path: str) -> TextServable:
        self.loads[path] += 1
        if path in self.gates:
            self.entered[path].set()
            assert self.gates[path].wait(20), "nobody opened the gate"
        with open(os.path.join(path, "model.txt"), encoding="utf-8") as file:
            text = file.read()
        if text == "broken":
            raise InvalidArgumentError("the model is broken")
        servable = TextServable(path, text)
        self.servables[path] = weakref.ref(servable)
        return servable

    def gate(self, path: Any) -> threading.Event:
        """Hold up loads of a path until the event that this returns is set."""
        self.entered[str(path)] = threading.Event()
        return self.gates.setdefault(str(path), threading.Event())


def put(base: Path, version: int | str, text: str = "") -> Path:
    """A version, renamed into its base path as writers should do it, that says ``text`` or its name."""
    base.mkdir(parents=True, exist_ok=True)
    hidden = base.parent / f".{base.name}-{version}"
    hidden.mkdir()
    (hidden / "model.txt").write_text(text or str(version))
    return hidden.rename(base / str(version))
