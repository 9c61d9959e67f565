"""The log of tfs-serve: the lines of a real start, and the environment variables that change it."""

from __future__ import annotations

import io
import json
import logging

import httpx
import pytest
from served_program import Program, put_scale, until

from tfs_client.cli.serve import log
from tfs_client.cli.serve.log import ALWAYS_LOGGED, VERBOSE, Formatter, log_to_stderr
from tfs_client.server import Server, ServerConfig

OWN = "tfs_client.server"
REQUESTS = VERBOSE["http_server"]


@pytest.fixture
def configured(monkeypatch):
    """Sets logging up as tfs-serve does in an environment; gives what it writes. All is as before after the test."""
    names = ["", "tfs_client", REQUESTS, *ALWAYS_LOGGED]
    levels = {name: logging.getLogger(name).level for name in names}
    handlers = list(logging.getLogger().handlers)

    def configure(**environment):
        written = io.StringIO()
        monkeypatch.setattr(log.sys, "stderr", written)
        log_to_stderr(environment)
        return written

    yield configure
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    logging.getLogger().handlers[:] = handlers


@pytest.mark.parametrize(
    ("value", "letters"),
    [("", "IWEF"), ("0", "IWEF"), ("1", "WEF"), (" 2", "EF"), ("3", "F"), ("99", "F"), ("-1", "IWEF"), ("x", "IWEF")],
)
def test_the_minimum_level_silences_all_lines_except_those_that_scripts_wait_for(configured, value, letters):
    written = configured(TF_CPP_MIN_LOG_LEVEL=value)
    for level in (logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        logging.getLogger(OWN).log(level, "own")
    for name in ALWAYS_LOGGED:
        logging.getLogger(name).info("awaited")
    lines = written.getvalue().splitlines()
    assert [line.split(" ")[2] for line in lines if line.endswith("] own")] == list(letters)
    assert len([line for line in lines if line.endswith("awaited")]) == len(ALWAYS_LOGGED)


@pytest.mark.parametrize(
    ("variables", "shown"),
    [
        ({}, False),
        ({"TF_CPP_VMODULE": "http_server=1"}, True),
        ({"TF_CPP_VMODULE": "a=1,http_server=2"}, True),
        ({"TF_CPP_VMODULE": "http_server=1,http_server=0"}, False),
        ({"TF_CPP_VMODULE": "http_server=x"}, False),
        ({"TF_CPP_VMODULE": "http_server"}, False),
        ({"TF_CPP_VMODULE": "http=1"}, False),
        ({"TF_CPP_MAX_VLOG_LEVEL": "1"}, True),
        ({"TF_CPP_MAX_VLOG_LEVEL": "0"}, False),
        ({"TF_CPP_VMODULE": "http_server=1", "TF_CPP_MIN_LOG_LEVEL": "3"}, True),
    ],
)
def test_requests_are_logged_if_the_environment_asks_for_them(configured, variables, shown):
    written = configured(**variables)
    logging.getLogger(REQUESTS).debug("Processing")
    logging.getLogger(OWN).debug("other")
    lines = written.getvalue().splitlines()
    assert [line.rpartition("] ")[2] for line in lines] == ["Processing"] * shown
    assert all(": I " in line for line in lines)


def test_scripts_that_wait_for_the_ports_find_them_in_a_quiet_log(configured):
    written = configured(TF_CPP_MIN_LOG_LEVEL="3")
    with Server(ServerConfig(rest_port=0)) as server:
        rest_port = server.rest_url.rpartition(":")[2]
        assert [line.rpartition("] ")[2] for line in written.getvalue().splitlines()] == [
            f"Running gRPC ModelServer at 127.0.0.1:{server.port} ...",
            f"Exporting HTTP/REST API at:localhost:{rest_port} ...",
            "NET_LOG: Entering the event loop ...",
        ]


def test_the_line_of_the_event_loop_has_no_prefix_and_stays_one_line():
    record = logging.LogRecord(ALWAYS_LOGGED[-1], logging.INFO, __file__, 1, "[a : 1] %s", ("x\ny\x1b",), None)
    assert Formatter().format(record) == r"[a : 1] x\ny\x1b"


ORDER = """\
Building single TensorFlow model file config:  model_name: scale model_base_path: {base}
Adding/updating models.
 (Re-)adding model: scale
Successfully reserved resources to load servable {{name: scale version: 1}}
Approving load for servable version {{name: scale version: 1}}
Loading servable version {{name: scale version: 1}}
No warmup data file found at {base}/1/assets.extra/tf_serving_warmup_requests
Successfully loaded servable version {{name: scale version: 1}}
Finished adding/updating models
Using InsecureServerCredentials
Running gRPC ModelServer at 127.0.0.1:{port} ...
Exporting HTTP/REST API at:localhost:{rest_port} ...
[evhttp_server.cc : 250] NET_LOG: Entering the event loop ...
"""


def test_the_lines_of_a_start_are_the_model_servers_in_its_order(monkeypatch, tmp_path):
    """With requests as well, and the access log on standard output."""
    monkeypatch.setenv("TF_CPP_VMODULE", "http_server=1")
    base = tmp_path / "scale"
    put_scale(base, 1, 3.0)
    flags = ("--model_name=scale", f"--model_base_path={base}", "--model_platform=python", "--access_log=-")
    program = Program(tmp_path, *flags, rest=True)
    try:
        program.until_logged("NET_LOG: Entering the event loop ...\n")
        wanted = ORDER.format(base=base, port=program.port, rest_port=program.rest_port).splitlines()
        said = [line.partition(": I tfs_client/")[2].partition("] ")[2] or line for line in program.log.splitlines()]
        assert [line for line in said if line in wanted] == wanted
        assert program.log.splitlines()[-1] == wanted[-1]
        httpx.post(f"{program.rest_url}/v1/models/scale:predict", content=b'{"instances": [1]}').raise_for_status()
        program.until_logged("] Processing HTTP request: POST /v1/models/scale:predict body: 18 bytes.\n")
        until(lambda: program.out.endswith("\n"))
        assert json.loads(program.out)["model"] == "scale"
    finally:
        program.close()
