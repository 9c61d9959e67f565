"""The system calls of a prediction, beside those of a bare gRPC call; skipped without strace."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace"),
]

SERVER = Path(__file__).parent.parent / "guards" / "fixed_reply_server.py"
PROGRAM = """
import sys
import grpc, numpy
from tfs_client import PredictClient
from tfs_client._codec import predict_messages
from tfs_client._codec.model_spec import ModelSpec
target, kind, calls = sys.argv[1], sys.argv[2], int(sys.argv[3])
x = numpy.zeros(10, numpy.float32)
request = predict_messages.write_request(ModelSpec("m"), {"x": x})
with PredictClient(target, model="m") as client, grpc.insecure_channel(target) as channel:
    channel.unary_unary("/fixed/Reply")(predict_messages.write_response(ModelSpec("m", 1), {"y": x}), timeout=30)
    bare = channel.unary_unary("/fixed/Any")
    for _ in range(calls):
        client.predict({"x": x}) if kind == "predict" else bare(request, timeout=30)
"""
SCHEDULING = {"futex", "sched_yield"}  # their number depends on the load of the machine


def system_calls(target, kind, calls):
    """The number of system calls of a program that makes so many calls."""
    traced = ["strace", "-f", "-c", "-U", "name,calls", sys.executable, "-c", PROGRAM, target, kind, str(calls)]
    ran = subprocess.run(traced, capture_output=True, text=True, timeout=120, check=False)
    if "ptrace" in ran.stderr and "not permitted" in ran.stderr:
        pytest.skip("strace is not permitted here")
    assert ran.returncode == 0, ran.stderr
    counted = dict(re.findall(r"^(\w+) +(\d+)$", ran.stderr, re.MULTILINE))
    return sum(int(number) for name, number in counted.items() if name not in SCHEDULING | {"total"})


def test_a_prediction_makes_no_system_call_besides_those_of_grpc():
    with subprocess.Popen(
        [sys.executable, str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        target = f"127.0.0.1:{server.stdout.readline().strip()}"
        few, many = 100, 500
        predict, bare = (
            (system_calls(target, kind, many) - system_calls(target, kind, few)) / (many - few)
            for kind in ("predict", "bare")
        )
        server.stdin.close()
        server.wait(30)
    assert bare > 1
    assert predict < bare + 0.5
