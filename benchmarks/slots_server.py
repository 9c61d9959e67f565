"""A model server with a number of slots, over gRPC and REST, that refuses requests at once when all slots are taken.

It queues nothing, like a model server over its thread quota, and reports "busy" in one of several forms. Each request
takes a slot for a fixed time, in which the processor is idle, so that the client's own limits show late. It runs in a
separate process; its first line of output has its gRPC port and its REST port, and it stops at the end of its standard
input.

The model ``m`` doubles x, float32 of any number of columns; ``grey`` returns the largest value of each picture, and
``single`` does so for one picture at a time. A message to ``/bench/Configure`` configures it, and the reply has the
counts since the previous one.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
from processes import started

from tfs_client import TensorSpec
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._codec.predict_messages import read_request, write_response
from tfs_client.protos.tensorflow_serving.apis import get_model_metadata_pb2
from tfs_client.server.signature_messages import signature_def
from tfs_client.signatures import Signature

CODES = {"RESOURCE_EXHAUSTED": grpc.StatusCode.RESOURCE_EXHAUSTED, "UNAVAILABLE": grpc.StatusCode.UNAVAILABLE}
STATUSES = {"RESOURCE_EXHAUSTED": 429, "UNAVAILABLE": 503}
FULL = (
    "The batch scheduling queue to which this task was submitted is full; currently 4 batches enqueued and "
    "max_enqueued_batches is 4"
)
FORMS = {
    "threads": ("RESOURCE_EXHAUSTED", "Server Threadpool Exhausted"),
    "empty": ("RESOURCE_EXHAUSTED", ""),
    "queue": ("UNAVAILABLE", FULL),
}
UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)]


def _signature(inputs: dict[str, TensorSpec], outputs: dict[str, TensorSpec]) -> dict[str, Signature]:
    return {"serving_default": Signature(inputs, outputs)}


MODELS = {
    "m": _signature({"x": TensorSpec("float32", (None, None))}, {"y": TensorSpec("float32", (None, None))}),
    "grey": _signature({"image": TensorSpec("uint8", (None, None, None, 3))}, {"grey": TensorSpec("uint8", (None,))}),
    "single": _signature({"image": TensorSpec("uint8", (1, None, None, 3))}, {"grey": TensorSpec("uint8", (1,))}),
}


class Slots:
    """Taken and free slots, and the counts of requests."""

    def __init__(self) -> None:
        self.busy = 0
        self.configure({})

    def configure(self, wanted: dict[str, Any]) -> None:
        """Set the given options; resets all others to their defaults."""
        self.slots = wanted.get("slots", 4)
        self.seconds = wanted.get("seconds", 0.01)
        self.code, self.text = FORMS[wanted.get("form", "threads")]
        self.wait = wanted.get("wait")
        self.answered = self.refused = 0

    async def taken(self) -> bool:
        """Take a slot, keep it for its time, and free it; returns False if all are taken."""
        if self.busy >= self.slots:
            self.refused += 1
            return False
        self.busy += 1
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.busy -= 1
        self.answered += 1
        return True

    @property
    def counts(self) -> dict[str, int]:
        """The counts since the last configuration."""
        return {"answered": self.answered, "refused": self.refused}


def outputs_of(inputs: dict[str, Any]) -> dict[str, Any]:
    """The output of a model."""
    if "image" in inputs:
        return {"grey": inputs["image"].reshape(len(inputs["image"]), -1).max(axis=1)}
    return {"y": 2 * inputs["x"]}


# --- gRPC --------------------------------------------------------------------------------------------------------


class Handlers(grpc.GenericRpcHandler):  # type: ignore[type-arg, unused-ignore]
    """Handlers for Predict, GetModelMetadata and the configuration."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots

    def service(self, call: Any) -> Any:
        name = call.method.rpartition("/")[2]
        methods = {"Predict": self._predict, "GetModelMetadata": self._metadata, "Configure": self._configure}
        return grpc.unary_unary_rpc_method_handler(methods[name]) if name in methods else None

    async def _predict(self, request: bytes, context: Any) -> bytes:
        slots = self._slots
        if not await slots.taken():
            if slots.wait is not None:
                context.set_trailing_metadata((("grpc-retry-pushback-ms", str(int(slots.wait * 1000))),))
            await context.abort(CODES[slots.code], slots.text)
        asked = read_request(request)
        assert asked.spec is not None
        inputs = {alias: asked.tensor(alias) for alias in asked.inputs}
        return write_response(ModelSpec(asked.spec.name, 1), outputs_of(inputs))

    async def _metadata(self, request: bytes, context: Any) -> bytes:
        asked = get_model_metadata_pb2.GetModelMetadataRequest.FromString(request)
        reply = get_model_metadata_pb2.GetModelMetadataResponse()
        reply.model_spec.name = asked.model_spec.name
        reply.model_spec.version.value = 1
        found = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in MODELS[asked.model_spec.name].items():
            found.signature_def[name].CopyFrom(signature_def(signature))
        reply.metadata["signature_def"].Pack(found)
        return reply.SerializeToString()

    async def _configure(self, request: bytes, context: Any) -> bytes:
        counts = self._slots.counts
        self._slots.configure(json.loads(request))
        return json.dumps(counts).encode()


# --- REST --------------------------------------------------------------------------------------------------------


def _infos(specs: dict[str, TensorSpec]) -> dict[str, Any]:
    def info(name: str, spec: TensorSpec) -> dict[str, Any]:
        sizes = [{"size": "-1" if size is None else str(size), "name": ""} for size in spec.shape or ()]
        shape = {"dim": sizes, "unknown_rank": False}
        return {"dtype": {"float32": "DT_FLOAT", "uint8": "DT_UINT8"}[str(spec.dtype)], "tensor_shape": shape}

    return {name: {**info(name, spec), "name": f"{name}:0"} for name, spec in specs.items()}


def metadata_of(model: str) -> bytes:
    """The reply to ``GET …/metadata``."""
    signatures = {
        name: {
            "inputs": _infos(dict(signature.inputs)),
            "outputs": _infos(dict(signature.outputs)),
            "method_name": signature.method_name,
        }
        for name, signature in MODELS[model].items()
    }
    spec = {"name": model, "signature_name": "", "version": "1"}
    return json.dumps({"model_spec": spec, "metadata": {"signature_def": {"signature_def": signatures}}}).encode()


async def serve_rest(slots: Slots, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of a connection."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            first, *lines = head.decode("latin-1").splitlines()
            headers = dict(line.lower().split(": ", 1) for line in lines if line)
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            path = first.split()[1]
            further = ""
            if path.endswith("/metadata"):
                status, reply = 200, metadata_of(path.split("/")[-2])
            elif await slots.taken():
                rows = np.asarray(json.loads(body)["instances"], np.float32)
                status, reply = 200, json.dumps({"predictions": (2 * rows).tolist()}).encode()
            else:
                status, reply = STATUSES[slots.code], json.dumps({"error": slots.text}).encode()
                further = "" if slots.wait is None else f"retry-after: {slots.wait:g}\r\n"
            writer.write(
                f"HTTP/1.1 {status} -\r\ncontent-type: application/json\r\n{further}"
                f"content-length: {len(reply)}\r\n\r\n".encode()
                + reply
            )
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main() -> None:
    slots = Slots()
    server = grpc.aio.server(options=UNLIMITED)
    server.add_generic_rpc_handlers((Handlers(slots),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    rest = await asyncio.start_server(lambda *both: serve_rest(slots, *both), "127.0.0.1", 0, limit=1 << 24)
    print(port, rest.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    rest.close()
    await server.stop(0)


class Running:
    """The server, as a handle in the client's process.

    Attributes:
        target: for clients over gRPC.
        url: for clients over REST.
    """

    def __init__(self, port: str, rest_port: str) -> None:
        self.target, self.url = f"127.0.0.1:{port}", f"http://127.0.0.1:{rest_port}"
        self._channel = grpc.insecure_channel(self.target)

    def configure(self, **wanted: Any) -> dict[str, int]:
        """Set slots, seconds, form or wait; returns the answered and refused requests since the last call."""
        call = self._channel.unary_unary("/bench/Configure")
        found: dict[str, int] = json.loads(call(json.dumps(wanted).encode(), timeout=20))
        return found

    def close(self) -> None:
        """Close the channel that sends configurations."""
        self._channel.close()


@contextmanager
def running() -> Iterator[Running]:
    """Run the server in a separate process."""
    with started(__file__) as (_, ports):
        server = Running(*ports)
        try:
            yield server
        finally:
            server.close()


if __name__ == "__main__":
    asyncio.run(main())
