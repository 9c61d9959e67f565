"""A server of fixed replies, and the replies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import grpc
import numpy as np
import pytest

from tfs_client._codec import predict_messages
from tfs_client._codec.model_spec import ModelSpec


class FixedReplies:
    """The server's address, and what it answers."""

    def __init__(self, target):
        self.target = target

    def answer_with(self, array, *, typed):
        reply = predict_messages.write_response(ModelSpec("m", 1, None, "serving_default"), {"y": array}, typed=typed)
        unlimited = [("grpc.max_send_message_length", -1)]
        with grpc.insecure_channel(self.target, options=unlimited) as channel:
            channel.unary_unary("/fixed/Reply")(reply, timeout=30)


@pytest.fixture(scope="package")
def server_of_fixed_replies():
    program = [sys.executable, str(Path(__file__).with_name("fixed_reply_server.py"))]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        yield FixedReplies(f"127.0.0.1:{running.stdout.readline().strip()}")
        running.stdin.close()
        running.wait(30)


@pytest.fixture
def fixed(server_of_fixed_replies):
    """The server, with a small reply."""
    server_of_fixed_replies.answer_with(np.float32([[1, 2]]), typed=True)
    return server_of_fixed_replies
