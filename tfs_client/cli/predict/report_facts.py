"""What a report says about its run: the model, the preparation of pictures, and the options that shape the answers."""

from __future__ import annotations

import time

from tfs_client.cli.predict.arguments import PredictOptions
from tfs_client.signatures import DEFAULT_SIGNATURE

OPTIONS = (
    "task",
    "output_name",
    "top",
    "labels",
    "labels_offset",
    "softmax",
    "min_score",
    "max_detections",
)  # those of the preparation are in its line


def facts_of(options: PredictOptions, *, model: str, preparation: str) -> dict[str, str]:
    """Return the facts by name.

    Args:
        options: the command's options. Servers, credentials and inputs are left out: a report is passed on.
        model: the model, with its version if that is known.
        preparation: what happens to the pictures, in one line.
    """
    given = {name: getattr(options, name) for name in OPTIONS}
    shown = [_shown(name, value) for name, value in given.items() if value is not None and value is not False]
    facts = {
        "Model": f"{model}, signature {options.signature or DEFAULT_SIGNATURE}",
        "Preparation": preparation,
        "Options": " ".join(shown),
        "Written": time.strftime("%Y-%m-%d %H:%M %z"),
    }
    return {name: value for name, value in facts.items() if value}


def _shown(name: str, value: object) -> str:
    flag = "--" + name.replace("_", "-")
    return flag if value is True else f"{flag} {value}"
