"""The replies to GET: the states of versions, and signatures, in the layout of protobuf's JSON printer.

Source: model_servers/http_rest_api_util.cc (ToJsonString), which prints the two messages of the metadata separately and
concatenates the texts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from tfs_client.results import VersionStatus
from tfs_client.server.lifecycle.manager import ServableHandle
from tfs_client.server.rest.json_debug import utf8


def status(versions: Iterable[VersionStatus]) -> bytes:
    """Return a GetModelStatusResponse."""
    entries = [
        {
            "version": str(entry.version),
            "state": entry.state.name,
            "status": {"error_code": entry.code.name, "error_message": entry.message},
        }
        for entry in versions
    ]
    return utf8(_printed({"model_version_status": entries}))


def metadata(handle: ServableHandle) -> bytes:
    """Return a GetModelMetadataResponse with every signature. It names the version, never a label."""
    spec = {"name": handle.name, "signature_name": "", "version": str(handle.version)}
    from tfs_client.server.rest.signature_json import signatures  # imports protobuf, which other calls do not need

    return utf8(
        f'{{\n"model_spec":{_printed(spec)},\n"metadata": '
        f'{{"signature_def": {_printed({"signature_def": signatures(handle.servable)})}}}\n}}\n'
    )


def _printed(message: object) -> str:
    """Return JSON with an indentation of one space and a line feed at the end."""
    text = json.dumps(message, indent=1, ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e") + "\n"
