"""Readiness, step by step: looks at a server that is starting, and when to stop looking."""

from __future__ import annotations

import pytest
from driving import REST, Client, Driven, metadata_json, status_json

from tfs_client import DeadlineExceededError, FailedPreconditionError, NotFoundError, PermissionDeniedError
from tfs_client._flows.readiness import NOT_AGAIN, POLL_INTERVAL
from tfs_client.errors import InvalidArgumentError, UnavailableError

STATUS = "GET /v1/models/m"
AVAILABLE = status_json((1, "AVAILABLE", ""))
LOADING = status_json((1, "LOADING", ""))
FAILED = status_json((1, "END", "no such file"))
ENDED = 1e-9  # seconds; over before the first answer


def is_ready(**options):
    client = Client(REST)
    return Driven(client.flows.is_ready(client.asked(signature=None, **options)))


def waiting(target=REST, **options):
    client = Client(target)
    return Driven(client.flows.wait_until_ready(client.asked(signature=None, **options)))


def test_a_model_with_an_available_version_is_ready():
    look = is_ready()
    assert look.sent.address == STATUS
    assert look.sent.wait_for_ready is False
    look.answer(AVAILABLE)
    assert look.result is True


@pytest.mark.parametrize("answer", [LOADING, FAILED, UnavailableError("starting"), NotFoundError("no model")])
def test_a_model_that_is_loading_missing_or_failed_is_not_ready(answer):
    look = is_ready()
    look.answer(answer)
    assert look.result is False


def test_permanent_errors_are_raised():
    look = is_ready()
    with pytest.raises(PermissionDeniedError):
        look.answer(PermissionDeniedError("no"))


def test_a_label_is_looked_for_in_the_metadata():
    look = is_ready(label="stable")
    assert look.sent.address == "GET /v1/models/m/labels/stable/metadata"
    look.answer(metadata_json())
    assert look.result is True
    look = is_ready(label="stable")
    look.answer(InvalidArgumentError("Unrecognized servable version label: stable"))
    assert look.result is False


def test_waiting_polls_again_after_a_pause():
    wait = waiting()
    for answer in (UnavailableError("starting"), NotFoundError("no model"), LOADING):
        assert wait.sent.address == STATUS
        wait.answer(answer)
        assert 0 < wait.slept <= POLL_INTERVAL
        wait.answer(None)
    wait.answer(AVAILABLE)
    assert wait.step is None


def test_waiting_ends_when_the_server_could_not_load_the_model():
    wait = waiting()
    with pytest.raises(FailedPreconditionError, match="no such file") as caught:
        wait.answer(FAILED)
    assert caught.value.hint == NOT_AGAIN


def test_waiting_continues_if_another_replica_may_load_the_model():
    client = Client(["a:1", "b:1"])
    wait = Driven(client.flows.wait_until_ready(client.asked()))
    from tfs_client.protos.tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse

    failed = GetModelStatusResponse()
    failed.model_version_status.add(version=1, state=50).status.error_code = 2
    wait.answer(failed.SerializeToString())
    assert wait.slept > 0


@pytest.mark.parametrize(
    ("last", "reason"),
    [(NotFoundError("no model"), "no model"), (DeadlineExceededError("late"), "version 1.*LOADING")],
)
def test_a_waits_error_gives_the_last_reason_other_than_the_timeout(last, reason):
    client = Client(REST)
    asked = client.asked(timeout=1000.0)
    wait = Driven(client.flows.wait_until_ready(asked))
    wait.answer(LOADING)
    wait.answer(None)
    asked.deadline.at = asked.deadline.started  # the deadline passes
    with pytest.raises(DeadlineExceededError, match=rf"model 'm' at http.* was not ready within 1000 s: .*{reason}"):
        wait.answer(last)


def test_a_server_that_was_never_reached_is_reported_as_such():
    unreached = UnavailableError("connection refused")
    unreached.unreached = True
    wait = waiting(timeout=ENDED)
    unreached.hint = "Nothing answered at localhost."
    with pytest.raises(DeadlineExceededError, match=r"connection refused\. Nothing answered at localhost\.") as caught:
        wait.answer(unreached)
    assert caught.value.unreached
