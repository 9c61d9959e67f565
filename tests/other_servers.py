"""Imitations of other servers that have TensorFlow Serving's REST API, or a part of it, by their documented replies.

Each serves one model, ``m``: x, float32 (?, 2), gives y = x[0] + x[1]. They share no code with the tiny server.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

JSON, HTML = "application/json", "text/html"


@dataclass
class Reply:
    """What a server answers."""

    status: int
    body: Any
    content_type: str = JSON

    def encoded(self) -> bytes:
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()


Script = Callable[[str, str, Any], Reply]


@dataclass
class Running:
    """A server that runs.

    Attributes:
        url: what a client takes as its target.
        script: what it answers to method, path and JSON body; it may be replaced.
        requests: what came, method and path in one text.
        bodies: the JSON of the requests to ``:predict``.
    """

    script: Script
    url: str = ""
    requests: list[str] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)

    def count(self, end: str) -> int:
        """How many requests there were for a path that ends so."""
        return sum(request.endswith(end) for request in self.requests)


@contextlib.contextmanager
def running(script: Script) -> Iterator[Running]:
    """A server on loopback that follows a script."""
    state = Running(script)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def answer(self) -> None:
            data = self.rfile.read(int(self.headers.get("content-length") or 0))
            body = json.loads(data) if data else None
            state.requests.append(f"{self.command} {self.path}")
            if body is not None:
                state.bodies.append(body)
            reply = state.script(self.command, self.path, body)
            encoded = reply.encoded()
            self.send_response(reply.status)
            self.send_header("content-type", reply.content_type)
            self.send_header("content-length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)

        do_GET = do_POST = answer

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *arguments: Any) -> None:
            """Say nothing: clients may hang up."""

    with Server(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


# --- OpenVINO Model Server -------------------------------------------------------------------------------------------


def camel_tensor(name: str, *sizes: int, dtype: str = "DT_FLOAT") -> dict[str, Any]:
    """A TensorInfo as protobuf's JSON writes it by default."""
    dims = [{"size": str(size), "name": ""} for size in sizes]
    return {"dtype": dtype, "tensorShape": {"dim": dims, "unknownRank": False}, "name": name}


OVMS_METADATA = {
    "modelSpec": {"name": "m", "signatureName": "", "version": "3"},
    "metadata": {
        "signature_def": {
            "@type": "type.googleapis.com/tensorflow.serving.SignatureDefMap",
            "signatureDef": {
                "serving_default": {
                    "inputs": {"x": camel_tensor("x", -1, 2)},
                    "outputs": {"y": camel_tensor("y", -1)},
                    "methodName": "",
                }
            },
        }
    },
}


def sums(body: Any) -> list[float]:
    """What the model gives, in either form of request."""
    rows = body["instances"] if "instances" in body else body["inputs"]
    rows = rows["x"] if isinstance(rows, dict) else [row["x"] if isinstance(row, dict) else row for row in rows]
    return [float(first + second) for first, second in rows]


def ovms(method: str, path: str, body: Any) -> Reply:
    """OpenVINO Model Server: metadata in lowerCamelCase, the rest as TensorFlow Serving has it."""
    if method == "POST" and path == "/v1/models/m:predict":
        return Reply(200, {"predictions" if "instances" in body else "outputs": sums(body)})
    if path == "/v1/models/m/metadata":
        return Reply(200, OVMS_METADATA)
    if path == "/v1/models/m":
        status = {"error_code": "OK", "error_message": "OK"}
        return Reply(200, {"model_version_status": [{"version": "3", "state": "AVAILABLE", "status": status}]})
    return Reply(404, {"error": "Model with requested name is not found"})


# --- KServe's v1 protocol --------------------------------------------------------------------------------------------


def kserve(method: str, path: str, body: Any, ready: Any = True) -> Reply:
    """KServe's v1 protocol: readiness and prediction, and nothing else."""
    if path.startswith("/v1/models/") and "/" not in path.removeprefix("/v1/models/"):
        model, _, verb = path.removeprefix("/v1/models/").partition(":")
        if model != "m":
            return Reply(404, {"error": f"Model with name {model} does not exist."})
        if method == "GET" and not verb:
            return Reply(200, {"name": "m", "ready": ready})
        if method == "POST" and verb == "predict":
            return Reply(200, {"predictions": sums(body)})
    return Reply(404, {"detail": "Not Found"})


def kserve_starting(method: str, path: str, body: Any) -> Reply:
    """KServe while the model is being loaded."""
    return Reply(503, {"error": "Model with name m is not ready."})


# --- gateways --------------------------------------------------------------------------------------------------------


def gateway(refusal: Reply) -> Script:
    """Lets only ``:predict`` through to TensorFlow Serving, and answers everything else itself."""

    def answer(method: str, path: str, body: Any) -> Reply:
        if method == "POST" and path == "/v1/models/m:predict":
            return Reply(200, {"predictions" if "instances" in body else "outputs": sums(body)})
        if method == "POST" and path.endswith(":predict"):
            model = path.split("/")[-1].partition(":")[0]
            return Reply(404, {"error": f"Servable not found for request: Latest({model})"})
        return refusal

    return answer


NO_METADATA = {
    "404 page": Reply(404, "<html><title>404 Not Found</title></html>", HTML),
    "404 JSON": Reply(404, {"message": "no Route matched with those values"}),
    "404 error": Reply(404, {"error": "no such route"}),
    "403": Reply(403, {"message": "Missing Authentication Token"}),
    "405": Reply(405, "Method Not Allowed", "text/plain"),
    "501": Reply(501, {"error": "not implemented"}),
    "400 of an old server": Reply(400, {"error": "Malformed request: GET /v1/models/m/metadata"}),
    "200 page": Reply(200, "<html><title>Welcome</title></html>", HTML),
    "200 text": Reply(200, "OK", "text/plain"),
    "200 JSON": Reply(200, {"name": "m", "platform": "sklearn"}),
    "200 JSON with other metadata": Reply(200, {"metadata": {"puid": "1"}}),
}
