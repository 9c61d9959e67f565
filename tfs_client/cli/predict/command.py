"""tfs-predict: send a picture, or any tensors, to a model and print the prediction."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import NoReturn

from tfs_client._flows.configuration.resolved import ARGUMENT, Configuration, Found
from tfs_client._transports.deadline import Deadline
from tfs_client.cli import exits
from tfs_client.cli.configuration import NO_MODEL, client_of, configuration, target_of, timeout_of
from tfs_client.cli.predict import report
from tfs_client.cli.predict.answer_reading import labels_of
from tfs_client.cli.predict.argument_values import read_input
from tfs_client.cli.predict.arguments import DEFAULT_EMBEDDED, PredictOptions, is_bulk, parse
from tfs_client.cli.predict.contradictions import check
from tfs_client.cli.predict.option_words import WORDS, as_options
from tfs_client.cli.predict.single_request import SingleRequest
from tfs_client.errors import ConfigError
from tfs_client.results import Prediction
from tfs_client.signatures import DEFAULT_SIGNATURE

OF_A_JOB = ("model", "version", "label", "signature", "timeout")  # options of a client that a job has itself


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = parse(argv)
    return exits.guarded("tfs-predict", lambda: run(options), WORDS)


def run(options: PredictOptions) -> int:
    """Fetch the signature, convert the inputs to it, predict and print."""
    check(options)
    if is_bulk(options):
        return _run_bulk(options)
    if options.image is None and not options.input:
        raise ConfigError("nothing to send: use --image FILE or --input NAME=VALUE (--help shows examples)")
    options, found = _configured(options)
    deadline = Deadline.after(options.timeout)
    labels = labels_of(options)
    given = dict(map(read_input, options.input))
    data = None if options.image is None else _read(options.image[0])
    with _served(options, found), client_of(found) as client:
        signatures = client.signatures(version=options.version, label=options.label, timeout=deadline.remaining())
        signature = signatures.named(options.signature or DEFAULT_SIGNATURE)
        request = SingleRequest(options, labels, given, data, signature)
        prediction = client.predict(
            request.inputs,
            version=options.version,
            label=options.label,
            signature=options.signature,
            timeout=deadline.remaining(),
        )
    _show(options, request, prediction)
    return exits.OK


def _read(path: str) -> bytes:
    from tfs_client import images

    return images.read_file(path)


def _show(options: PredictOptions, request: SingleRequest, prediction: Prediction) -> None:
    """Print the result, and write the files that the options name."""
    answer, picture = request.answer(prediction), request.picture
    if options.draw is not None and picture is not None:
        request.draw(options.draw, answer)
    if options.html is not None and picture is not None:
        request.write_report(options.html, prediction, answer)
    if picture is not None and picture.into.warning and not options.quiet:
        exits.show_note(f"tfs-predict: warning: {picture.into.warning}")
    assumed = [as_options(sentence) for sentence in request.assumed]
    for sentence in [] if options.quiet else assumed:
        exits.show_note(f"tfs-predict: warning: {sentence}")
    line = "" if picture is None else picture.line
    if options.json:
        from tfs_client.cli import json_output

        preparation = None if picture is None else picture.into.preparation
        exits.show(json_output.dumps(report.for_machines(prediction, answer, line, preparation, assumed, options.draw)))
        return
    exits.show(report.for_people(prediction, answer, "" if options.quiet else line))
    for what, path in (("drawing", options.draw), ("report", options.html)):
        if path is not None:
            exits.show(f"{what} saved as {path}")


def _run_bulk(options: PredictOptions) -> int:
    """Predict several pictures, with a row of results for each."""
    from tfs_client.cli.predict.bulk import run

    if options.image is None and not options.input_list:
        raise ConfigError("no pictures given: use --image or --input-list (--help shows examples)")
    labels = labels_of(options)
    given = dict(map(read_input, options.input))
    options, found = _configured(options)
    with _served(options, found):
        client_of(found).close()  # errors of the configuration name its sources
        own = {name: value for name, value in found.options().items() if name not in OF_A_JOB}
        return run.run(
            options, given, labels, target=target_of(found), model=found.found["model"].value, client_options=own
        )


def _configured(options: PredictOptions) -> tuple[PredictOptions, Configuration]:
    """Return the options, completed by the configuration, and the configuration. Raises ConfigError."""
    names = ("version", "label", "signature", "timeout")
    own = {name: value for name in names if (value := getattr(options, name)) is not None}
    if options.embedded:
        if options.server:
            raise ConfigError(
                "--embedded serves a model in this process, and --server calls another server: use one of them"
            )
        model = options.model or DEFAULT_EMBEDDED
        found = Configuration({"model": model, **own}, environment=None)
        return replace(options, model=model, timeout=timeout_of(found)), found
    found = configuration(options, server=options.server, model=options.model or None, **own)
    found.check()
    values = {key: found.found[key].value for key in ("model", "version", "label", "signature") if key in found.found}
    if not values.get("model"):
        raise ConfigError(NO_MODEL)
    return replace(options, **values, timeout=timeout_of(found)), found


@contextmanager
def _served(options: PredictOptions, found: Configuration) -> Iterator[None]:
    """With --embedded, run the server within the context, and set it as the target."""
    if not options.embedded:
        yield
        return
    from tfs_client.server import Server
    from tfs_client.server.embedded import MODELS

    model = options.model or DEFAULT_EMBEDDED
    if model not in MODELS:
        *others, last = sorted(MODELS)
        raise ConfigError(f"unknown embedded model {model!r}: expected {', '.join(others)} or {last}")
    with Server() as server:
        server.add_model(model, MODELS[model]())
        found.found["server"] = Found(server.target, ARGUMENT)
        yield


def script() -> NoReturn:
    """The console script: run the command and end the process."""
    with exits.Interrupts():
        exits.warn_in_one_line("tfs-predict")
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # it would print text from servers unescaped
        os.environ.setdefault(
            "GRPC_ENABLE_FORK_SUPPORT", "0"
        )  # forks, such as Ray's, only start programs; see bulk/ray_engine.py
        code = main()
    # At once: client, server and files are closed, and shutting down an interpreter with grpc would take as long as the
    # prediction did.
    os._exit(code)
