"""protoc --encode as an oracle: how C++ protobuf reads a text. One process answers for many texts.

Run as a program, it reads lines of JSON, ``[message, text in Latin-1]``, and answers each: ``[code, output, errors]``.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf.message import Message

import tfs_client.protos

_REFUSALS = re.compile(r"^input:(.*?)(?=\n(?:input:|Failed to parse input\.))", re.DOTALL | re.MULTILINE)

_NAMES = re.compile("Type URL|type name|percent encode|Extension name")

SCHEMA = Path(tfs_client.protos.__file__).with_name("schema.binpb")


class Protoc:
    """C++ protobuf, which is in the package grpcio-tools."""

    def __init__(self) -> None:
        self._process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout

    def read(self, message: str, text: bytes) -> bytes | str:
        """The serialized message, or ``line:column: reason`` where it refuses the text."""
        self._requests.write(json.dumps([message, text.decode("latin-1")]).encode() + b"\n")
        self._requests.flush()
        code, output, errors = json.loads(self._answers.readline())
        if code == 0:
            return output.encode("latin-1")
        reasons = errors.encode("latin-1").decode("utf-8", "backslashreplace")
        return next(refusal for refusal in _REFUSALS.findall(reasons) if ": warning: " not in refusal)

    def agrees(self, proto: Message, text: bytes, refusal: str) -> bool:
        """Whether it reads a text as this message or, if there is a refusal, refuses it so, at the same place."""
        want = self.read(proto.DESCRIPTOR.full_name, text)
        if "invalid UTF-8" in refusal:
            return True  # C++ protobuf reads on, but messages in Python cannot hold such strings
        if isinstance(want, bytes):
            same = type(proto).FromString(want).SerializeToString(deterministic=True)
            return not refusal and same == proto.SerializeToString(deterministic=True)
        # In brackets, it reports a bad token after them before a bad name, unless a blank is between.
        return want == refusal or bool(refusal and _NAMES.search(want + refusal))

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=60)


def _answer(message: str, text: str) -> tuple[int, str, str]:
    from grpc_tools import _protoc_compiler

    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        given.write(text.encode("latin-1"))
        given.seek(0)
        kept = [(os.dup(number), number) for number in range(3)]
        for file, number in ((given, 0), (out, 1), (errors, 2)):
            os.dup2(file.fileno(), number)
        arguments = ["protoc", f"--descriptor_set_in={SCHEMA}", f"--encode={message}"]
        try:
            code = _protoc_compiler.run_main([argument.encode() for argument in arguments])
        finally:
            for copy, number in kept:
                os.dup2(copy, number)
                os.close(copy)
        out.seek(0)
        errors.seek(0)
        return code, out.read().decode("latin-1"), errors.read().decode("latin-1")


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(_answer(*json.loads(line))), flush=True)
