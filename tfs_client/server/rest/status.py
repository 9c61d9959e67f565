"""The replies to GET: the states of versions, and signatures, laid out as protobuf's JSON printer does it.

Source: model_servers/http_rest_api_util.cc (ToJsonString), which prints the metadata's two messages one by one and
joins them by hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tfs_client.results import VersionStatus
from tfs_client.server.manager import Handle
from tfs_client.server.rest.json_debug import utf8


def status(versions: Iterable[VersionStatus]) -> bytes:
    """A GetModelStatusResponse."""
    entries = [
        {
            "version": str(entry.version),
            "state": entry.state.name,
            "status": {"error_code": entry.code.name, "error_message": entry.message},
        }
        for entry in versions
    ]
    return utf8(_printed({"model_version_status": entries}))


def metadata(handle: Handle) -> bytes:
    """A GetModelMetadataResponse with every signature; it names the version, and never a label."""
    spec = {"name": handle.name, "signature_name": "", "version": str(handle.version)}
    from tfs_client.server.rest.signature_json import signatures  # protobuf is imported when there is need

    return utf8(
        f'{{\n"model_spec":{_printed(spec)},\n"metadata": '
        f'{{"signature_def": {_printed({"signature_def": signatures(handle.servable)})}}}\n}}\n'
    )


def _printed(message: Any) -> str:
    """JSON with one space of indentation and a line feed at the end."""
    text = json.dumps(message, indent=1, ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e") + "\n"
