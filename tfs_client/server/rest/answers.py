"""The API methods over REST: from the body of a request to the body of its reply."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from tfs_client.server.call_record import ServedCall
from tfs_client.server.methods import Methods
from tfs_client.server.rest import predict_requests, replies, status_json
from tfs_client.server.rest.example_requests import examples_request
from tfs_client.server.rest.routes import Route

Answer = Callable[[Route, bytes, ServedCall], bytes]


class Answers:
    """Makes the reply to a call, in a thread of the pool. Raises CallError."""

    def __init__(self, methods: Methods) -> None:
        self._methods = methods
        self._by_method: Mapping[str, Answer] = {
            "Predict": self._predict,
            "Classify": self._classify,
            "Regress": self._regress,
            "GetModelStatus": self._status,
            "GetModelMetadata": self._metadata,
        }

    def __call__(self, route: Route, body: bytes, call: ServedCall) -> bytes:
        """Return the body of the reply."""
        return self._by_method[route.method](route, body, call)

    def _predict(self, route: Route, body: bytes, call: ServedCall) -> bytes:
        root = predict_requests.read_body(body)
        spec = replace(route.spec, signature=predict_requests.signature_name(root))
        outputs, _ = self._methods.predict(
            spec, lambda found: predict_requests.predict_request(root, spec, found), call
        )
        return replies.predictions(outputs, predict_requests.form_of(root))

    def _classify(self, route: Route, body: bytes, call: ServedCall) -> bytes:
        request = examples_request(predict_requests.read_body(body), "classify")
        spec = replace(route.spec, signature=request.signature)
        return replies.classes(self._methods.classify(spec, request.joined, call)[0])

    def _regress(self, route: Route, body: bytes, call: ServedCall) -> bytes:
        request = examples_request(predict_requests.read_body(body), "regress")
        spec = replace(route.spec, signature=request.signature)
        return replies.values(self._methods.regress(spec, request.joined, call)[0])

    def _status(self, route: Route, body: bytes, call: ServedCall) -> bytes:
        return status_json.status(self._methods.status(route.spec, call))

    def _metadata(self, route: Route, body: bytes, call: ServedCall) -> bytes:
        with self._methods.found(route.spec, call) as handle:
            return status_json.metadata(handle)
