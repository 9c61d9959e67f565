"""tfs-predict: a picture, or any tensors, through a model, and what it says printed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from tfs_client.cli import exits, report
from tfs_client.cli.arguments import DEFAULT_EMBEDDED, DEFAULT_SERVER, check, is_bulk, parser
from tfs_client.cli.credentials import WORDS, credentials
from tfs_client.cli.given import read_input, read_labels
from tfs_client.cli.inputs import Picture, limits_of, make_inputs, open_picture
from tfs_client.client import PredictClient
from tfs_client.errors import ConfigError, ImageError
from tfs_client.options import Deadline, checked_timeout
from tfs_client.results import Prediction
from tfs_client.signatures import DEFAULT_SIGNATURE

SCORES = 256  # for each pixel of a map, at the most


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = parser().parse_args(argv)
    return exits.guarded("tfs-predict", lambda: run(options), WORDS)


def run(options: Any) -> int:
    """Ask for the signature, make the inputs fit it, predict, print."""
    check(options)
    if is_bulk(options):
        return _run_bulk(options)
    if options.image is None and not options.input:
        raise ConfigError("nothing to send: give --image FILE or --input NAME=VALUE (--help shows examples)")
    if options.save_mask and options.image is None:
        raise ConfigError("--save-mask draws on the picture: give --image too")
    deadline = Deadline.after(checked_timeout(options.timeout))
    labels = read_labels(options.labels) if options.labels else []
    given = dict(map(read_input, options.input))
    picture = None
    if options.image is not None:
        needed = not options.encoded or bool(options.save_mask)
        picture = open_picture(options.image[0], limits_of(options), needed=needed)
    secured = {} if options.embedded else credentials(options)
    with _target(options) as (target, model), PredictClient(target, model=model, **secured) as client:
        wanted = {"version": options.version, "label": options.label}
        which = {name: value for name, value in wanted.items() if value is not None}
        signatures = client.signatures(timeout=deadline.remaining(), **which)
        signature = signatures.named(options.signature or DEFAULT_SIGNATURE)
        inputs, size = make_inputs(options, given, picture, signature)
        prediction = client.predict(inputs, signature=options.signature, timeout=deadline.remaining(), **which)
    if options.save_mask and picture is not None:
        _save_mask(options, picture, prediction)
    if options.json:
        from tfs_client.cli import json_output

        exits.show(json_output.dumps(report.for_machines(prediction, count=options.top, labels=labels)))
    else:
        exits.show(report.for_people(prediction, count=options.top, labels=labels, size=size))
        if options.save_mask:
            exits.show(f"overlay saved as {options.save_mask}")
    return exits.OK


def _run_bulk(options: Any) -> int:
    """Do that for each of several pictures."""
    from tfs_client.cli.bulk import running

    if options.image is None and not options.input_list:
        raise ConfigError("which pictures? Give --image or --input-list (--help shows examples)")
    labels = read_labels(options.labels) if options.labels else []
    given = dict(map(read_input, options.input))
    secured = {} if options.embedded else credentials(options)
    with _target(options) as (target, model):
        return running.run(options, given, labels, target=target, model=model, secured=secured)


@contextmanager
def _target(options: Any) -> Iterator[tuple[str | list[str], str]]:
    """Where to call which model; with --embedded the server runs as long as the context."""
    if not options.embedded:
        model = options.model or os.environ.get("TFS_MODEL")
        if not model:
            raise ConfigError("which model? Give --model NAME, or set TFS_MODEL")
        yield servers(options.server or os.environ.get("TFS_SERVER") or DEFAULT_SERVER), model
        return
    if options.server:
        raise ConfigError("--embedded serves a model inside this process, --server calls one elsewhere: give one")
    from tfs_client.server import Server
    from tfs_client.server.embedded import MODELS

    model = options.model or DEFAULT_EMBEDDED
    if model not in MODELS:
        raise ConfigError(f"no embedded model {model!r}; there are: {', '.join(sorted(MODELS))}")
    with Server() as server:
        server.add_model(model, MODELS[model]())
        yield server.target, model


def servers(text: str) -> str | list[str]:
    """What --server names: a target; or replicas, with commas between them."""
    if text.startswith(("ipv4:", "ipv6:", "http://", "https://")) or "," not in text:  # they have commas of their own
        return text
    return text.split(",")


def _save_mask(options: Any, picture: Picture, prediction: Prediction) -> None:
    from tfs_client import images

    most = limits_of(options).max_pixels
    for alias, array in prediction.items():  # some are views of one value, of any shape
        scores = SCORES if array.dtype.kind == "f" else 1
        if most is not None and array.size > most * scores:
            raise ImageError(
                f"output {alias!r} has {array.size} values; expected a map of at most {most} (--max-pixels)"
            )
    labels = report.label_map(prediction)
    if labels is None:
        names = ", ".join(f"{alias} {array.dtype} {array.shape}" for alias, array in prediction.items())
        raise ConfigError(f"--save-mask needs an output that is a segmentation map; the outputs are: {names}")
    images.save_picture(images.overlay(picture.decoded(), labels, max_pixels=most), options.save_mask)


def script() -> NoReturn:
    """The console script: run the command and end the process."""
    with exits.Interrupts():
        exits.warn_in_one_line("tfs-predict")
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # it would print what servers send, as it came
        os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # forks, as Ray's, only start programs; see bulk/ray.py
        code = main()
    # At once: client and server are closed, files too, and taking the interpreter apart, with grpc in it, would take
    # as long as the prediction did.
    os._exit(code)


if __name__ == "__main__":
    script()
