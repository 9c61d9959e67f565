"""tfs-predict: a picture, or any tensors, through a model, and what it says printed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from tfs_client.cli import exits, report
from tfs_client.cli.arguments import DEFAULT_EMBEDDED, DEFAULT_SERVER, parser, read_input, read_labels
from tfs_client.client import PredictClient
from tfs_client.errors import ConfigError, ImageError, SignatureError
from tfs_client.options import Deadline, checked_timeout
from tfs_client.signatures import DEFAULT_SIGNATURE, Signature, TensorSpec

if TYPE_CHECKING:
    from PIL.Image import Image


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = parser().parse_args(argv)
    return exits.guarded("tfs-predict", lambda: run(options))


def run(options: Any) -> int:
    """Ask for the signature, make the inputs fit it, predict, print."""
    if options.image is None and not options.input:
        raise ConfigError("nothing to send: give --image FILE or --input NAME=VALUE (--help shows examples)")
    if options.save_mask and options.image is None:
        raise ConfigError("--save-mask draws on the picture: give --image too")
    deadline = Deadline.after(checked_timeout(options.timeout))
    labels = read_labels(options.labels) if options.labels else []
    given = dict(map(read_input, options.input))
    picture = _open(options)
    with _target(options) as (target, model), PredictClient(target, model=model) as client:
        wanted = {"version": options.version, "label": options.label}
        which = {name: value for name, value in wanted.items() if value is not None}
        signatures = client.signatures(timeout=deadline.remaining(), **which)
        signature = signatures.named(options.signature or DEFAULT_SIGNATURE)
        inputs = _inputs(options, given, picture, signature)
        prediction = client.predict(inputs, signature=options.signature, timeout=deadline.remaining(), **which)
    if options.save_mask:
        _save_mask(options.save_mask, picture, prediction)
    if options.json:
        import json

        print(json.dumps(report.for_machines(prediction, count=options.top, labels=labels)))
    else:
        print(report.for_people(prediction, count=options.top, labels=labels))
        if options.save_mask:
            print(f"overlay saved as {options.save_mask}")
    return exits.OK


@contextmanager
def _target(options: Any) -> Iterator[tuple[str, str]]:
    """Where to call which model; with --embedded the server runs as long as the context."""
    if not options.embedded:
        if not options.model:
            raise ConfigError("which model? Give --model NAME, or set TFS_MODEL")
        yield options.server or DEFAULT_SERVER, options.model
        return
    from tfs_client.server import Server
    from tfs_client.server.embedded import MODELS

    model = options.model or DEFAULT_EMBEDDED
    if model not in MODELS:
        raise ConfigError(f"no embedded model {model!r}; there are: {', '.join(sorted(MODELS))}")
    with Server() as server:
        server.add_model(model, MODELS[model]())
        yield server.target, model


def _open(options: Any) -> Image | bytes | None:
    """The picture, decoded unless its bytes are what shall be sent."""
    if options.image is None:
        return None
    from tfs_client import images

    data = images.read_file(options.image)
    try:
        return images.load_image(data)
    except ImageError as error:
        if options.encoded and not options.save_mask:  # the model may know formats that Pillow does not
            return data
        raise ImageError(f"{options.image!r}: {error}") from None


def _inputs(options: Any, given: dict[str, Any], picture: Any, signature: Signature) -> dict[str, Any]:
    """Every input: as given, or made of the picture, in the dtypes of the signature."""
    inputs: dict[str, Any] = {}
    for alias, values in given.items():
        if alias not in signature.inputs:
            names = ", ".join(f"{name}: {spec}" for name, spec in signature.inputs.items()) or "none"
            raise SignatureError(f"no input {alias!r}; the inputs are: {names}")
        inputs[alias] = signature.inputs[alias].cast(values, alias)
    if picture is None:
        return inputs
    alias = options.image_input or _picture_input(signature, inputs)
    if alias not in signature.inputs:
        raise SignatureError(f"no input {alias!r}; the inputs are: {', '.join(signature.inputs)}")
    tensor = _picture_tensor(options, picture, signature.inputs[alias])
    inputs[alias] = tensor
    for name in ("height", "width"):  # what DeepLab and its kin ask for beside the picture
        if name in signature.inputs and name not in inputs and tensor.ndim >= 3:
            spec = signature.inputs[name]
            size = tensor.shape[-3 if name == "height" else -2]
            inputs[name] = spec.cast([size] * len(spec.shape) if spec.shape else size, name)
    return inputs


def _picture_input(signature: Signature, taken: dict[str, Any]) -> str:
    """The input that takes the picture: the only one that could, or the one that is named after it."""
    able = [
        alias
        for alias, spec in signature.inputs.items()
        if alias not in taken and (spec.row.name == "string" or spec.shape is None or len(spec.shape) >= 2)
    ]
    named = [alias for alias in able if "image" in alias.lower() or "picture" in alias.lower()]
    if len(able) != 1 and len(named) != 1:
        names = ", ".join(f"{alias}: {spec}" for alias, spec in signature.inputs.items()) or "none"
        raise SignatureError(f"which input takes the picture? Say --image-input NAME; the inputs are: {names}")
    return able[0] if len(able) == 1 else named[0]


def _picture_tensor(options: Any, picture: Any, spec: TensorSpec) -> Any:
    from tfs_client import images
    from tfs_client.codec.values import as_array

    if options.encoded or spec.row.name == "string":
        data = images.read_file(options.image)
        return as_array([data] if spec.shape is None or len(spec.shape) else data)
    wanted = images.plan(spec, size=options.size, scale=options.scale, layout=options.layout, dtype=options.dtype)
    return images.to_array(picture, wanted)


def _save_mask(path: str, picture: Any, prediction: Any) -> None:
    from tfs_client import images

    labels = report.label_map(prediction)
    if labels is None:
        names = ", ".join(f"{alias} {array.dtype} {array.shape}" for alias, array in prediction.items())
        raise ConfigError(f"--save-mask needs an output that is a segmentation map; the outputs are: {names}")
    images.save_picture(images.overlay(picture, labels), path)


def script() -> NoReturn:
    """The console script: run the command and end the process."""
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # At once: client and server are closed, files too, and taking the interpreter apart, with grpc in it, would take
    # as long as the prediction did.
    os._exit(code)


if __name__ == "__main__":
    script()
