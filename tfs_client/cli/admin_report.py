"""What tfs-admin prints: lines and tables for people, plain values for JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tfs_client.cli.json_output import dumps
from tfs_client.results import Health, ModelStatus
from tfs_client.shown import printable
from tfs_client.signatures import Signature, Signatures, TensorSpec, shape_text

HEADER = ("SIGNATURE", "METHOD", "SIDE", "ALIAS", "DTYPE", "SHAPE", "OPTIONAL")


def status(found: ModelStatus, *, as_json: bool) -> str:
    """A line for each version: model, version, state, and why it failed."""
    if as_json:
        return dumps(_status_values(found))
    rows = [(found.model, "-", "READY", "")] if found.ready and not found.versions else []
    for entry in found.versions:
        failure = f"{entry.code.name}: {' '.join(entry.message.split())}" if entry.code else ""
        rows.append((found.model, str(entry.version), entry.state.name, failure))
    return aligned(rows)


def _status_values(found: ModelStatus) -> dict[str, Any]:
    return {
        "model": found.model,
        "available": list(found.available),
        "ready": bool(found.ready),
        "versions": [
            {
                "version": entry.version,
                "state": entry.state.name,
                "code": entry.code.name,
                "message": entry.message,
            }
            for entry in found.versions
        ],
    }


def signatures(found: Signatures, *, as_json: bool) -> str:
    """A line for each input and output, every line complete, so that ``grep`` and ``sort`` make sense of it."""
    if as_json:
        return dumps(_signatures_values(found))
    rows: list[tuple[str, ...]] = [HEADER]
    for name, signature in sorted(found.items()):
        rows += _rows(name, signature)
    version = "" if found.version is None else f" version {found.version}"
    return f"{found.model}{version}\n{aligned(rows)}"


def _rows(name: str, signature: Signature) -> Iterator[tuple[str, ...]]:
    about = name, signature.method_name or "-"
    for side, specs in (("in", signature.inputs), ("out", signature.outputs)):
        for alias, spec in sorted(specs.items()):
            optional = "optional" if side == "in" and alias in signature.optional else "-"
            yield (*about, side, alias, spec.dtype_name, shape_text(spec.shape), optional)
    if not signature.inputs and not signature.outputs:
        yield (*about, "-", "-", "-", "-", "-")


def _signatures_values(found: Signatures) -> dict[str, Any]:
    return {
        "model": found.model,
        "version": found.version,
        "signatures": {
            name: {
                "method": signature.method_name,
                "inputs": {
                    alias: {**_spec_values(spec), "optional": alias in signature.optional}
                    for alias, spec in sorted(signature.inputs.items())
                },
                "outputs": {alias: _spec_values(spec) for alias, spec in sorted(signature.outputs.items())},
            }
            for name, signature in sorted(found.items())
        },
    }


def _spec_values(spec: TensorSpec) -> dict[str, Any]:
    """Unknown sizes are null, and so is the shape of an unknown rank."""
    shape = None if spec.shape is None else list(spec.shape)
    return {"dtype": spec.dtype_name, "shape": shape, "tensor": spec.tensor_name}


def health(service: str, found: Health, *, as_json: bool) -> str:
    """The service's health in a line."""
    if as_json:
        return dumps({"service": service, "status": found.name})
    return f"{service or 'server'}  {found.name}"


def aligned(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows in columns that are as wide as they need, two spaces apart; each stays in its line."""
    rows = [tuple(printable(" ".join(cell.split("\n"))) for cell in row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
