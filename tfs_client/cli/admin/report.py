"""The output of tfs-admin: lines and tables for people, or JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tfs_client.cli.json_output import dumps
from tfs_client.cli.tables import aligned
from tfs_client.results import Health, ModelStatus
from tfs_client.signatures import Signature, Signatures, TensorSpec, shape_text

HEADER = ("SIGNATURE", "METHOD", "SIDE", "ALIAS", "DTYPE", "SHAPE", "OPTIONAL")


def status(found: ModelStatus, *, as_json: bool) -> str:
    """Return a line for each version: model, version, state, and the error of a failed one."""
    if as_json:
        return dumps(_status_values(found))
    return aligned([*_status_rows(found)])


def statuses(found: Sequence[ModelStatus], *, as_json: bool) -> str:
    """Return the same for several models; a model that the server does not know has a line too."""
    if as_json:
        return dumps([_status_values(model) for model in found])
    unknown = ("-", "-", "no version known")
    return aligned([row for model in found for row in [*_status_rows(model)] or [(model.model, *unknown)]])


def _status_rows(found: ModelStatus) -> Iterator[tuple[str, ...]]:
    if found.ready and not found.versions:
        yield found.model, "-", "READY", ""
    for entry in found.versions:
        failure = f"{entry.code.name}: {' '.join(entry.message.split())}" if entry.code else ""
        yield found.model, str(entry.version), entry.state.name, failure


def _status_values(found: ModelStatus) -> dict[str, object]:
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
    """Return a line for each input and output. Every line is complete, for ``grep`` and ``sort``."""
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


def _signatures_values(found: Signatures) -> dict[str, object]:
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


def _spec_values(spec: TensorSpec) -> dict[str, object]:
    """Return a tensor's description for JSON; null for an unknown size, and for a shape of unknown rank."""
    shape = None if spec.shape is None else list(spec.shape)
    return {"dtype": spec.dtype_name, "shape": shape, "tensor": spec.tensor_name}


def health(service: str, found: Health, *, as_json: bool) -> str:
    """Return a service's health in one line."""
    if as_json:
        return dumps({"service": service, "status": found.name})
    return f"{service or 'server'}  {found.name}"
