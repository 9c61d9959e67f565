"""What the clients of one session share of signatures, step by step."""

from __future__ import annotations

import numpy as np
import pytest
from driving import GRPC, REST, Client, Driven, metadata, metadata_json

from tfs_client import ModelConfig, ModelServerConfig, Signature, TensorSpec
from tfs_client._flows.session_flows import MOST_CALLERS
from tfs_client.errors import PermissionDeniedError

PREDICT = "POST /v1/models/m:predict"
METADATA = ("GET /v1/models/m/metadata", "/tensorflow.serving.PredictionService/GetModelMetadata")
FLOATS = metadata_json()
VECTOR = TensorSpec("float32", (None,))


class Token:
    """A function that returns a token, without a hash."""

    def __init__(self, token):
        self.token = token

    def __eq__(self, other):
        return self.token == other.token

    def __call__(self):
        return self.token


def predict(client, values=(1.0,), **options):
    return Driven(client.flows.predict(list(values), client.asked(**options)))


def asks(client, **options):
    """Whether the next prediction of numbers fetches the signature first."""
    call = predict(client, **options)
    while not hasattr(call.step, "address"):  # a token function
        call.answer("token")
    address = call.sent.address
    call.close()
    return address in METADATA


def informed(client, reply=FLOATS):
    """The client, which has fetched a signature."""
    call = predict(client)
    while not hasattr(call.step, "address"):
        call.answer("token")
    assert call.sent.address in METADATA
    call.answer(reply)
    call.close()
    return client


def test_a_model_that_is_chosen_by_a_header_has_its_own_dtypes():
    client = Client(REST)
    informed(client.derived(metadata={"tenant": "a"}))
    call = predict(client.derived(metadata={"tenant": "b"}), [16777217.0])
    assert dict(call.sent.metadata)["tenant"] == "b"
    call.answer(metadata_json("DT_DOUBLE"))
    call.answer(b'{"predictions": [16777217.0]}')
    assert call.result.array.dtype == np.float64
    assert call.result.array.tolist() == [16777217.0]


def shared(first, second):
    client = Client(REST)
    informed(client.derived(**first))
    return not asks(client.derived(**second))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {"timeout": 1.0, "cast": True, "model": "m"}),
        ({"metadata": {"tenant": "a"}}, {"metadata": {"tenant": "a"}, "request_id": True}),
        ({"metadata": {"traceparent": "1", "baggage": "x"}}, {"metadata": {"tracestate": "2", "x-request-id": "r"}}),
        ({"token": "t"}, {"token": "t"}),
        ({"token": max}, {"token": max}),
    ],
)
def test_clients_with_the_same_headers_share_signatures(first, second):
    assert shared(first, second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {"metadata": {"tenant": "a"}}),
        ({"token": "t"}, {"token": "u"}),
        ({"token": "t"}, {}),
        ({"token": max}, {"token": min}),
        ({"token": Token("t")}, {"token": Token("t")}),  # what they return may change
        ({"metadata": {"authorization": "a"}}, {"metadata": {"authorization": "b"}}),
    ],
)
def test_clients_with_other_headers_do_not(first, second):
    assert not shared(first, second)


def test_a_function_without_a_hash_is_a_caller_too():
    token = Token("t")
    assert shared({"token": token}, {"token": token})


def test_the_signatures_of_the_last_callers_are_kept():
    client = informed(Client(REST))
    first = informed(client.derived(metadata={"n": "0"}))
    for number in range(1, MOST_CALLERS + 1):
        client.derived(metadata={"n": str(number)})
    assert not asks(first)
    assert asks(client.derived(metadata={"n": "0"}))
    assert len(client._session._predicting) == MOST_CALLERS


def test_a_reload_makes_all_callers_fetch_again():
    reply = metadata(Signature({"x": VECTOR}, {"y": VECTOR}))
    client = informed(Client(GRPC), reply)
    others = [informed(client.derived(metadata={"n": str(number)}), reply) for number in range(3)]
    client._session._predicting.clear()  # only the clients use them
    assert not any(asks(each) for each in (client, *others))
    call = Driven(client.flows.reload(ModelServerConfig([ModelConfig("m", "/m")]), (), client.asked(), wait=False))
    call.answer(b"")
    assert all(asks(each) for each in (client, *others))


def test_a_caller_without_permission_leaves_other_callers_alone():
    client = Client(REST)
    refused = predict(client.derived(token="bad"))
    refused.answer(PermissionDeniedError("HTTP 403"))
    refused.close()
    assert not asks(client.derived(token="bad"))  # over REST the prediction is sent without a signature
    assert asks(client.derived(token="good"))
    assert asks(client, token="call's")
    assert asks(client)


@pytest.mark.parametrize("credentials", [{"token": "bad"}, {"metadata": {"authorization": "Basic bad"}}])
def test_a_call_with_its_own_credentials_leaves_its_client_alone(credentials):
    client = Client(REST, token="good")
    refused = predict(client, **credentials)
    refused.answer(PermissionDeniedError("HTTP 403"))
    assert refused.sent.address == PREDICT
    refused.close()
    assert not asks(client, **credentials)
    assert asks(client)
    informed(client)
    assert not asks(client)


def test_a_refused_token_of_a_function_is_not_remembered():
    client = Client(REST, token=lambda: "of the current user")
    refused = predict(client)
    refused.answer("bad")
    refused.answer(PermissionDeniedError("HTTP 403"))
    refused.close()
    assert asks(client)
