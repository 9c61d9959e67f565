"""The options of a call on top of the client's: credentials and request ids."""

from __future__ import annotations

import pytest

from tfs_client import ConfigError
from tfs_client._codec.model_spec import ModelSpec
from tfs_client._flows.asked import Defaults

KEYS = {"a": "1", "authorization": "Basic x", "x-request-id": "mine"}


def defaults(**options):
    return Defaults(ModelSpec("m"), None, ()).derived(**options)


def test_an_id_in_the_metadata_is_the_request_id():
    client = defaults(metadata=KEYS)
    assert client.asked().request_id == "mine"
    assert client.asked(metadata={"x-request-id": "call's"}).request_id == "call's"
    assert client.asked(metadata={"x-request-id": "call's"}, retry=None).request_id == "call's"
    assert defaults().asked(metadata={"b": "2"}).request_id == ""
    assert client.asked(request_id="own").request_id == "own"


@pytest.mark.parametrize("derive", [Defaults.derived, Defaults.asked], ids=["with_options", "call"])
def test_none_and_false_remove_what_the_metadata_has(derive):
    found = derive(defaults(metadata=KEYS), token=None, request_id=False)
    assert found.metadata == (("a", "1"),)
    assert not found.request_id
    kept = derive(defaults(), token=None, request_id=False, metadata=KEYS)  # of the same call
    assert dict(kept.metadata) == KEYS


@pytest.mark.parametrize("found", ["", None, 5, "ü", "a\nb"])
def test_a_function_must_return_an_id_that_can_be_sent(found):
    def new_id():
        return found

    with pytest.raises(ConfigError, match=r"request id as printable ASCII text from <function .*new_id.*, got"):
        defaults().asked(request_id=new_id)
