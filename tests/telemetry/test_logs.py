"""Logs: what the client reports about its calls, and what never appears in them."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress

import numpy as np
import pytest
from calling import GRPC, REST, STYLES, calling
from scripted import MODEL, Refusal, answer_all, serving, target_of
from tcp import free_port

from tfs_client import (
    AsyncPredictClient,
    CallError,
    PredictClient,
    RetryPolicy,
    StatusCode,
    TensorSpec,
    TFServingError,
    UnavailableError,
)
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._flows.retries import Budget, attempts
from tfs_client._flows.telemetry.masking import Masking, without_inputs
from tfs_client._flows.telemetry.models_log import ModelsLog
from tfs_client._flows.telemetry.retry_log import RetryLog
from tfs_client._transports.connection import Connection
from tfs_client._transports.deadline import Deadline
from tfs_client._transports.log_records import write
from tfs_client._transports.replicas import Replicas
from tfs_client._transports.rest_http import summary
from tfs_client._transports.steps import Send, Sleep
from tfs_client._transports.targets import checked_target
from tfs_client.telemetry import log_output
from tfs_client.telemetry.logs import VARIABLE
from tfs_client.testing import FakeServer

X = {"x": np.ones((2, 3), np.float32)}
Y = {"x": np.ones(3, np.float32)}
VECTOR = TensorSpec("float32", (None,))
FAST = RetryPolicy(attempts=3, initial_backoff=0.005)


class Records(logging.Handler):
    """Keeps what was logged."""

    def __init__(self):
        super().__init__()
        self.all = []

    def emit(self, record):
        self.all.append(record)

    def of(self, topic, level=logging.DEBUG):
        return [one for one in self.all if one.name == f"tfs_client.{topic}" and one.levelno >= level]

    def texts(self, topic, level=logging.INFO):
        return [one.getMessage() for one in self.of(topic, level)]


@pytest.fixture
def records():
    """What the package logs. The levels are as they were afterwards."""
    names = ("", "tfs_client", "tfs_client.calls")
    levels = {name: logging.getLogger(name).level for name in names}
    handler = Records()
    logging.getLogger("tfs_client").addHandler(handler)
    yield handler
    logging.getLogger("tfs_client").removeHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@contextmanager
def client_of(style, script=answer_all, **options):
    """A client of a scripted server."""
    with (
        serving(style, script) as server,
        calling(style, target_of(style, server.port), model=MODEL, **options) as client,
    ):
        yield client


def log_all():
    logging.getLogger("tfs_client").setLevel(logging.DEBUG)


@pytest.mark.parametrize("style", STYLES)
def test_a_call_is_one_line_with_all_its_facts(style, double, records):
    log_all()
    with calling(style, double, model="double", request_id=lambda: "id-7") as client:
        client.predict({"x": np.ones(3, np.float32)})
    (record,) = records.of("calls")
    assert record.levelno == logging.DEBUG
    assert (record.method, record.model, record.code, record.rows, record.attempts) == ("Predict", "double", "OK", 3, 1)
    assert record.version == (1 if style in GRPC else None)  # replies over REST do not name it
    assert (record.target, record.transport) == (target(style, double), style.partition("-")[0])
    assert record.request_id == "id-7"
    (call,) = double.calls
    assert (call.method, call.model) == ("Predict", "double")
    assert min(record.bytes_out, record.bytes_in) > 20
    assert 0 < record.encode + record.wait + record.decode <= record.seconds
    line = record.getMessage()
    assert line.startswith("Predict call=")
    assert "\n" not in line
    for part in ("model=double", "rows=3", "code=OK", "attempts=1", "request_id=id-7", f"target={record.target}"):
        assert f" {part}" in line


def target(style, server):
    return server.rest_url if style in REST else server.target


@pytest.mark.parametrize("style", STYLES)
def test_levels_may_change_while_a_client_is_used(style, double, records):
    with calling(style, double, model="double") as client:
        for number, name in enumerate(("", "tfs_client", "tfs_client.calls")):
            client.predict(Y)
            assert len(records.of("calls")) == number
            logging.getLogger(name).setLevel(logging.DEBUG)
            client.predict(Y)
            assert len(records.of("calls")) == number + 1
            logging.getLogger(name).setLevel(logging.WARNING)


@pytest.mark.parametrize("style", STYLES)
def test_normal_operation_logs_no_warning(style, double, records):
    log_all()
    with calling(style, double, model="double", retry=RetryPolicy()) as client:
        client.wait_until_ready()
        client.predict([1.0, 2.0])
        client.signatures()
        client.status()
    assert [one.getMessage() for one in records.all if one.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("style", STYLES)
def test_a_failed_call_is_one_debug_line(style, records):
    def script(call):
        raise Refusal(StatusCode.NOT_FOUND, "gone\r\nINFO forged\x1b[2J")

    log_all()
    with client_of(style, script) as client, pytest.raises(CallError):
        client.predict(X)
    (record,) = records.of("calls")
    assert (record.levelno, record.code, record.error) == (logging.DEBUG, "NOT_FOUND", "NotFoundError")
    assert "gone" in record.details
    assert all(text.isprintable() for text in (record.getMessage(), record.details, record.hint))


@pytest.mark.parametrize("style", STYLES)
def test_each_retried_attempt_is_a_warning(style, records):
    def script(call):
        if call.number < 3:
            raise Refusal(StatusCode.UNAVAILABLE, "the server is\nstarting")

    with client_of(style, script, retry=FAST, request_id=lambda: "id-7") as client:
        client.predict(X)
    first, second = records.of("retries")
    assert [one.levelno for one in (first, second)] == [logging.WARNING] * 2
    assert [(one.attempt, one.most) for one in (first, second)] == [(1, 3), (2, 3)]
    assert (first.method, first.model, first.code) == ("Predict", MODEL, "UNAVAILABLE")
    assert first.request_id == "id-7"
    assert 0 < first.pause < 1
    assert "Predict of model 'm' failed with UNAVAILABLE: the server is" in first.getMessage()
    assert "attempt 1 of 3" in first.getMessage()
    assert first.getMessage().isprintable()


@pytest.mark.parametrize(("waits", "first"), [(None, logging.WARNING), (True, logging.INFO)])
def test_a_call_that_waits_for_a_server_logs_that_once(waits, first, records):
    """It looks for a server several times a second. A user who asked to wait is not warned."""
    log_all()
    log = RetryLog(Masking(Connection(checked_target("server.test:8500"))))
    send = Send("/tensorflow.serving.PredictionService/Predict", b"", Deadline(30.0))
    flow = attempts(send, FAST, Budget(FAST), waits=waits, log=log, model="m")
    step = next(flow)
    for _ in range(3):
        assert step is send
        error = UnavailableError("nobody\nthere", "Predict")
        error.unreached = True
        assert isinstance(flow.throw(error), Sleep)
        step = flow.send(None)
    flow.close()
    lines = records.of("retries")
    assert [line.levelno for line in lines] == [first, logging.DEBUG, logging.DEBUG]
    message = lines[0].getMessage()
    assert (
        message
        == r"Predict of model 'm' cannot reach the server: nobody\nthere; it is sent again when one is reachable"
    )


@pytest.mark.parametrize("style", ["grpc", "rest-aio"])
def test_batches_log_the_refusals_of_a_busy_server_once_per_period(style, records):
    def script(call):
        if call.number < 3:
            raise Refusal(StatusCode.UNAVAILABLE, "The batch scheduling queue to which this task was submitted is full")

    with client_of(style, script) as client:
        client.predict_batched({"x": np.ones(1, np.float32)}, batch_size=1)
    (record,) = records.of("retries")
    assert "the batch slows down" in record.getMessage()
    assert record.refused == 1


@pytest.mark.parametrize("style", STYLES)
def test_losing_a_connection_and_reconnecting_is_logged(style, records):
    log_all()
    server = FakeServer(port=free_port(), rest_port=free_port())
    server.add_model("double", lambda x: 2 * x, inputs={"x": VECTOR}, outputs={"y": VECTOR})
    with server, calling(style, server, model="double") as client:
        client.predict(Y)
        client.predict(Y)
        server.stop()
        for _ in range(2):
            with pytest.raises(CallError):
                client.predict(Y)
        server.start()
        client.wait_until_ready()
        client.predict(Y)
        where = target(style, server)
    lines = records.of("connections")
    texts = [line.getMessage() for line in lines]
    assert texts[:2] == [f"connected to {where}", f"lost the connection to {where}"]
    assert texts[2].startswith(f"reconnected to {where} after ")
    assert texts[3:] == [f"closed the connection to {where}"]
    assert [line.levelno for line in lines] == [logging.INFO] * 3 + [logging.DEBUG]


def test_addresses_of_replicas_are_logged_when_they_change(monkeypatch, records):
    log_all()
    found = {"a": ["10.0.0.1"], "b": ["10.0.0.2"]}

    def look_up(host, port, **options):
        if not found[host]:
            raise OSError
        return [(0, 0, 0, "", (address, port)) for address in found[host]]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    replicas = Replicas(["a:1", "b:2"])
    replicas.moved()
    replicas.moved()
    found.update(a=["10.0.0.3"], b=[])
    replicas.moved()
    replicas.moved()
    assert records.texts("connections") == [
        "the addresses of a:1, b:2 are ipv4:10.0.0.1:1,10.0.0.2:2",
        "cannot resolve b:2; keeping the known addresses",
        "the addresses of a:1, b:2 are ipv4:10.0.0.2:2,10.0.0.3:1, before ipv4:10.0.0.1:1,10.0.0.2:2",
    ]


@pytest.mark.parametrize("style", GRPC)
def test_another_version_is_logged(style, fake_server, records):
    log_all()
    spec = {"inputs": {"x": VECTOR}, "outputs": {"y": VECTOR}}
    fake_server.add_model("m", lambda x: x, version=1, **spec)
    with calling(style, fake_server, model="m") as client:
        client.predict(Y)
        fake_server.add_model("m", lambda x: x, version=2, **spec)
        client.predict(Y)
        client.predict(Y)
    assert records.texts("models") == ["model 'm': now answered by version 2, before by version 1"]
    assert (records.of("models")[0].version, records.of("models")[0].before) == (2, 1)


@pytest.mark.parametrize("style", ["grpc", "rest"])
def test_fetched_signatures_are_logged_and_then_their_changes(style, fake_server, records):
    log_all()
    fake_server.add_model("m", lambda x: {"y": x}, inputs={"x": VECTOR}, outputs={"y": VECTOR})
    with calling(style, fake_server, model="m") as client:
        client.signatures()
        client.signatures()
        fake_server.add_model("m", lambda z: {"y": z}, version=2, inputs={"z": VECTOR}, outputs={"y": VECTOR})
        client.signatures()
    assert records.texts("models") == [
        "fetched the signatures of model 'm': serving_default",
        "the signatures of model 'm' changed: serving_default",
    ]
    assert "again" in records.texts("models", logging.DEBUG)[1]


@pytest.mark.parametrize("style", ["grpc", "rest"])
def test_signatures_that_calls_fetch_again_and_again_are_warned_of_once(style, double, records):
    with calling(style, double, model="double") as client:
        for _ in range(12):
            with pytest.raises(CallError):  # the refusal is compared with fresh signatures
                client.predict({"z": np.ones(1, np.float32)})
    (warning,) = records.of("models", logging.WARNING)
    assert "the signatures of model 'double' were fetched 10 times within 60 s" in warning.getMessage()


def test_clients_of_many_callers_are_warned_of_together(double, records):
    log_all()
    with PredictClient(double.rest_url, model="double") as client:
        for number in range(12):  # each caller has signatures of its own
            client.with_options(token=f"t{number}").predict({"x": np.ones(1, np.float32)})
    first, warning = records.of("models", logging.INFO)
    assert first.getMessage() == "fetched the signatures of model 'double': serving_default"
    assert warning.levelno == logging.WARNING


def test_what_the_log_remembers_of_models_is_bounded(records):
    log = ModelsLog()
    for version in range(1000):
        log.looked_up(ModelSpec("m", version), 0.0)
    assert len(log._models) <= 256


def test_the_rate_of_fetches_that_is_warned_of(records):
    now, spec = [0.0], ModelSpec("m")
    log = ModelsLog(lambda: now[0])
    for _ in range(100):  # one every seven seconds is not too many
        now[0] += 7
        log.looked_up(spec, now[0] - 0.1)
    assert not records.all
    for _ in range(30):
        now[0] += 5
        log.looked_up(spec, now[0] - 0.1)
    assert len(records.all) == 3  # in 150 seconds: one in each period


def test_look_ups_that_overlap_count_once(records):
    now, spec = [0.0], ModelSpec("m")
    log = ModelsLog(lambda: now[0])
    for turn in range(1, 10):  # 50 at a time
        for place in range(50):
            now[0] = turn + place / 100
            log.looked_up(spec, turn - place / 100)
    assert not records.all
    log.looked_up(spec, now[0])
    assert len(records.all) == 1


@pytest.mark.parametrize("style", ["rest-aio", "rest-futures"])
def test_calls_that_begin_together_are_not_warned_of(style, records):
    with serving("rest") as server:
        address = target_of("rest", server.port)
        if style == "rest-aio":

            async def gathered():
                async with AsyncPredictClient(address, model=MODEL, timeout=20) as client:
                    await asyncio.gather(*(client.predict(X) for _ in range(15)))

            asyncio.run(gathered())
        else:
            with PredictClient(address, model=MODEL, timeout=20) as client:
                for future in [client.predict_future(X) for _ in range(15)]:
                    future.result(20)
    assert records.of("models", logging.WARNING) == []


def test_versions_that_alternate_are_not_logged_for_every_call(records):
    log_all()
    now, spec = [0.0], ModelSpec("m")
    log = ModelsLog(lambda: now[0])
    for turn in range(100):
        log.answered(spec, turn % 2 + 1)
    assert len(records.all) == 4
    now[0] += 61
    log.answered(spec, 1)
    assert len(records.all) == 5


def test_large_json_is_warned_of_once_per_model(fake_server, records):
    for name in ("m", "n"):
        fake_server.add_model(name, lambda x: {"y": x[:1]}, inputs={"x": VECTOR}, outputs={"y": VECTOR})
    large = {"x": np.full(200_000, 0.1234567, np.float32)}
    with calling("rest", fake_server, rest_format="columnar") as client:
        with pytest.warns(UserWarning, match="gRPC"):
            client.predict(large, model="m")
        client.predict(large, model="m")
        client.predict(large, model="n")
    lines = records.of("calls", logging.WARNING)
    assert [line.model for line in lines] == ["m", "n"]
    assert "MB of JSON" in lines[0].getMessage()


# --- secrets ---------------------------------------------------------------------------------------------------------

TOKEN, OTHER, PASSWORD = "tok-5f1c9e77", "meta-81b2cc04", "pass-w0rd-3d9a"
INPUT = b"input-66c1f0ab"
LONG_TOKEN = "eyJhbGciOiJIUzI1NiJ9.UEFZTE9BRFBBWUxPQUQ.SIGNATURESIGNATURE1"


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("given", ["token", "other"])
def test_secrets_are_in_no_log(style, given, records, caplog):
    """Whatever the server quotes in its errors. Other loggers are searched, too: those of httpx, grpc and asyncio."""
    logging.getLogger().setLevel(logging.DEBUG)
    log_all()

    def script(call):
        sent = call.metadata.get("authorization", "")
        basic = base64.b64decode(sent.removeprefix("Basic ")).decode() if sent.startswith("Basic ") else ""
        text = f"{sent} {basic} {call.metadata.get('x-tenant')} {sent.encode().hex()}"
        if call.number < 3:
            raise Refusal(StatusCode.UNAVAILABLE, f"no {text} now")
        if call.number > 3:
            raise Refusal(StatusCode.INVALID_ARGUMENT, f'{text} JSON Value: "{INPUT.decode()}" Type: String')

    metadata = {"x-tenant": OTHER}
    options = {"metadata": metadata}
    if given == "token":
        options["token"] = lambda: TOKEN
    elif style in GRPC:
        metadata["authorization"] = f"Bearer {TOKEN}"
    with serving(style, script) as server:
        address = target_of(style, server.port)
        if given == "other" and style in REST:
            address = address.replace("://", f"://someone:{PASSWORD}@")
        with calling(style, address, model=MODEL, retry=FAST, **options) as client:
            client.predict(X)
            for inputs in (X, {"x": [INPUT]}, {"x": [INPUT, 1]}, [[INPUT]]):
                with suppress(CallError, TFServingError):
                    client.predict(inputs)
    assert len(records.of("retries")) == 2
    assert len(records.of("calls")) > 2
    found = everything(records.all + caplog.records)
    assert "[secret]" in found
    sent = f"Bearer {TOKEN}".encode()
    user = base64.b64encode(f"someone:{PASSWORD}".encode()).decode()
    for secret in (TOKEN, OTHER, PASSWORD, user, INPUT.decode(), sent.hex()):
        assert secret not in found


def everything(lines):
    """All that is known of log records: their attributes, as text and as JSON."""
    formatters = log_output.JsonFormatter(), log_output.TextFormatter(), logging.Formatter()
    texts = [formatter.format(line) for formatter in formatters for line in lines]
    return "\n".join([*texts, *(repr(vars(line)) for line in lines)])


def test_passwords_of_proxies_are_hidden():
    target = checked_target("server.test:8500")
    masking = Masking(Connection(target, proxy=f"http://someone:{PASSWORD}@proxy.test:3128"))
    credentials = base64.b64encode(f"someone:{PASSWORD}".encode()).decode()
    text = masking.masked(f"Basic {credentials} refused: {PASSWORD}")
    assert text.startswith("Basic [secret]")
    assert text.endswith(" refused: [secret]")
    assert credentials not in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('JSON Value: "a \\" b" Type: String is not', "JSON Value: [input] Type: String is not"),
        (
            'x: JSON Value: {"a": [1, 2]} and JSON object: [3] end',
            "x: JSON Value: [input] and JSON object: [input] end",
        ),
        ('JSON Value: {"a": [1, 2', "JSON Value: [input]"),
        ("JSON Value: 12.5e3 Type: Number", "JSON Value: [input] Type: Number"),
        ("JSON object: does not have named input: x", "JSON object: does not have named input: x"),
        ("JSON Value: " + "[" * 5000, "JSON Value: [input]"),
    ],
)
def test_inputs_that_a_server_quotes_are_left_out(text, shown):
    assert without_inputs(text) == shown


@pytest.mark.parametrize("place", [0, 30, 50, 90, 96])
def test_no_part_of_a_token_stays_where_a_page_of_a_proxy_is_cut(place):
    page = "refused " + "x" * place + f": Bearer {LONG_TOKEN}, which is unknown" + " and more" * 9
    shown = summary(page.encode())
    assert shown.startswith("refused")
    assert len(shown) <= 100
    assert LONG_TOKEN in shown or LONG_TOKEN[:4] not in shown


@pytest.mark.parametrize("form", [str, lambda text: base64.b64encode(text.encode()).decode()])
def test_no_part_of_a_secret_stays_where_a_long_text_is_cut(form):
    masking = Masking(Connection(checked_target("server.test:8500")))
    secret, metadata = form(LONG_TOKEN), (("authorization", f"Bearer {LONG_TOKEN}"),)
    for place in range(7900, 9000, 11):
        text = "-" * place + secret + "-" * 20_000 + secret + "-" * place
        masked = masking.masked(text, metadata)
        assert set(masked) <= set("-… [secret]")
        assert 14_000 < len(masked) < 17_000


def test_the_end_of_a_long_text_is_left_out_if_it_may_be_of_an_input():
    masking = Masking(Connection(checked_target("server.test:8500")))
    quoted = ", ".join(["12345678"] * 3000)
    assert masking.masked(f"JSON Value: [{quoted}] Type: Array") == "JSON Value: [input] …"


def test_long_texts_are_masked_in_bounded_time():
    masking = Masking(Connection(checked_target("server.test:8500")))
    text = masking.masked(TOKEN + "%41" * 1_000_000 + TOKEN, (("authorization", f"Bearer {TOKEN}"),))
    assert TOKEN not in text
    assert len(text) < 20_000


# --- TFS_CLIENT_LOG --------------------------------------------------------------------------------------------------


@pytest.fixture
def package():
    """The package's logger, whose handlers and level are as before afterwards."""
    package, root = logging.getLogger("tfs_client"), logging.getLogger()
    before = package.handlers[:], package.level, root.handlers[:], root.level
    yield package
    package.handlers[:], root.handlers[:] = before[0], before[2]
    package.setLevel(before[1])
    root.setLevel(before[3])


@pytest.mark.parametrize(
    ("value", "level", "is_json"),
    [
        ("debug", "DEBUG", False),
        ("INFO", "INFO", False),
        ("warning", "WARNING", False),
        ("json", "DEBUG", True),
        ("json:info", "INFO", True),
        (" info, json ", "INFO", True),
    ],
)
def test_values_of_the_variable(value, level, is_json, package, capsys):
    log_output.set_up(value)
    assert logging.getLevelName(package.level) == level
    logging.getLogger("tfs_client.calls").warning("one %s", "line", extra={"model": "m"})
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    if is_json:
        fields = json.loads(line)
        assert fields.pop("time").endswith("+00:00")
        assert fields == {"level": "WARNING", "logger": "tfs_client.calls", "message": "one line", "model": "m"}
    else:
        assert line.endswith(" WARNING tfs_client.calls: one line\n")


@pytest.mark.parametrize("value", ["verbose", "debug,info", "json:", "json json", "debug;x", "\x1b[2J"])
def test_other_values_are_one_warning(value, package, capsys):
    log_output.set_up(value)
    if value == "json:":
        assert package.level == logging.DEBUG
        return
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "expected debug, info, warning or json" in lines[0]
    assert lines[0].isprintable()
    assert package.level != logging.DEBUG


@pytest.mark.parametrize("when", ["before", "after"])
def test_nothing_is_printed_twice_if_the_program_logs_too(when, package, capsys):
    root = logging.getLogger()
    root.handlers[:] = []
    if when == "before":
        logging.basicConfig(format="own: %(message)s", stream=sys.stderr)
    log_output.set_up("debug")
    if when == "after":
        logging.basicConfig(format="own: %(message)s", stream=sys.stderr)
    logging.getLogger("tfs_client.calls").debug("once")
    assert capsys.readouterr().err == "own: once\n"


@pytest.mark.parametrize("verdict", [False, LookupError])
def test_what_a_filter_of_the_program_rejects_is_printed(verdict, package, capsys):
    def rejecting(record):
        if verdict:
            raise verdict
        return False

    root = logging.getLogger()
    root.handlers[:] = [logging.StreamHandler(sys.stderr)]
    root.handlers[0].addFilter(rejecting)
    log_output.set_up("debug")
    write(logging.getLogger("tfs_client.calls"), logging.DEBUG, "once")
    assert "DEBUG tfs_client.calls: once\n" in capsys.readouterr().err


def test_a_log_file_of_the_program_does_not_silence_standard_error(package, tmp_path, capsys):
    root = logging.getLogger()
    root.handlers[:] = [logging.FileHandler(tmp_path / "log", encoding="utf-8")]
    log_output.set_up("debug")
    logging.getLogger("tfs_client.calls").debug("once")
    root.handlers[0].close()
    assert capsys.readouterr().err.endswith("DEBUG tfs_client.calls: once\n")
    assert (tmp_path / "log").read_text(encoding="utf-8") == "once\n"


PROGRAM = """
import logging, sys
from tfs_client import PredictClient, RetryPolicy
with PredictClient("127.0.0.1:1", model="m", retry=RetryPolicy(initial_backoff=0.005), timeout=0.2) as client:
    try:
        client.predict({})
    except Exception:
        print(len(logging.getLogger("tfs_client").handlers))
"""


def test_a_program_prints_what_the_variable_says():
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, VARIABLE: "info"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert run.stdout == "1\n"
    (line,) = run.stderr.splitlines()
    assert " WARNING tfs_client.retries: Predict of model 'm' cannot reach the server: " in line


QUIET = """
import logging
import tfs_client.client
from tfs_client._flows.telemetry.hooks import Reports, checked_hooks
for topic in ("calls", "retries", "connections", "models"):
    logging.getLogger(f"tfs_client.{topic}").warning("of calls")
logging.getLogger("tfs_client.server.http").warning("of a server")
Reports(checked_hooks(lambda record: 1 / 0), {}).give(None)
"""


def test_without_configuration_only_failures_that_no_call_reports_are_printed():
    run = subprocess.run([sys.executable, "-c", QUIET], capture_output=True, text=True, timeout=60, check=True)
    assert "of calls" not in run.stderr
    assert run.stderr.startswith("of a server\nhook <lambda> failed")
    assert "ZeroDivisionError" in run.stderr
