"""Hints for calls to a model, version or label that the server does not serve, over gRPC and REST."""

from __future__ import annotations

import re

# How the texts of TensorFlow Serving begin: core/manager.h, model_servers/get_model_status_impl.cc, server_core.cc.
# They name neither the server nor a remedy.
_HINTS: tuple[tuple[str, str], ...] = (
    (
        r"Servable not found for request: ",
        "The model or version is not available at {target}: check the name; client.status() shows the states of the "
        "model's versions.",
    ),
    (
        r"Could not find (any versions|version -?\d+) of model ",
        "The server at {target} does not know the model or version: check the name; client.models() lists the models "
        "of a tfs-serve server.",
    ),
    (
        r"Unrecognized servable version label: ",
        "The server at {target} does not know the label for this model: check both names; labels are set in the "
        "server's configuration (version_labels).",
    ),
)


def unserved_hint(details: str, target: str) -> str:
    """Return the hint for an error text of TensorFlow Serving; "" for any other text."""
    return next((hint.format(target=target) for pattern, hint in _HINTS if re.match(pattern, details)), "")
