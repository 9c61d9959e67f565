"""The options of tfs-predict in place of the keywords that the library's texts name."""

from __future__ import annotations

import re

from tfs_client.cli import credentials

_LABEL = "Unrecognized servable version label"  # of a server

WORDS = (
    *credentials.WORDS,
    *(
        (f"{python} ({flag})", flag)
        for python, flag in (
            ("image_input=", "--image-input NAME"),
            ("output=", "--output-name"),
            ("task=", "--task"),
            *((name, "--" + name.replace("_", "-")) for name in ("labels", "softmax", "top", "min_score")),
            *((f"max_detections{end}", "--max-detections") for end in ("", "=")),
            *((f"offset={offset}", f"--labels-offset {offset}") for offset in (-1, 0, 1)),
        )
    ),
    ("the option --", "--"),
    ("images.PRESETS and docs/images.md list all", "docs/images.md lists all"),
    (_LABEL, f"{_LABEL} (for class names, use --labels)"),
)


def as_options(text: str) -> str:
    """Return a text of the library with the command's words."""
    for library, command in WORDS:
        text = text.replace(library, command)
    return text


def preparation_as_options(text: str) -> str:
    """Replace the arguments of ``images.plan`` in an error text by flags: ``scale='tf'`` by ``--scale tf``."""
    text = re.sub(r"\b(preset|scale|fit)='([^']*)'", r"--\1 \2", text)
    text = re.sub(r"\b(mean|std)=\([^)]*\)", r"--\1", text).replace("bgr=True", "--bgr")
    return re.sub("^(pad_value|bgr)(?= needs)", lambda found: "--" + found[1].replace("_", "-"), text)
