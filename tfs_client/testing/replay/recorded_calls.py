"""RecordedCalls: the calls of a recording, and which of them answers a call of a fake server."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import replace

from tfs_client._codec import predict_messages
from tfs_client._printable import shown
from tfs_client.errors import ConfigError, DecodeError, RecordingError, StatusCode
from tfs_client.options import check_flag
from tfs_client.recordings.compared_inputs import check_compared
from tfs_client.recordings.contents import choices_of, inputs_of
from tfs_client.recordings.episodes import LOGGED, Episode
from tfs_client.recordings.matching import Matcher, Rules
from tfs_client.recordings.recording_file import RecordingFile
from tfs_client.recordings.records import answered_version
from tfs_client.server.servable import Servable
from tfs_client.signatures import DEFAULT_SIGNATURE
from tfs_client.testing.replay.recorded_models import RecordedModels, RecordedServable, servable_of_requests


class RecordedCalls:
    """The calls of one recording, and which of them have answered.

    Args:
        path: the recording.
        rules: when a recorded call answers a call.
        repeats: whether the last matching one answers again when all are used up; look-ups always do.

    Attributes:
        models: the models that the recording shows.

    Raises DecodeError for a damaged recording, RecordingError for one that cannot be opened or has no replies,
    ConfigError for arguments of other types, and for a name in the rules' ``inputs`` that no recorded call has.
    """

    # A recorded call that asked for some of the outputs answers calls that ask for these or fewer. It answers a call
    # that asks for all only if the recorded metadata shows that it has all: the caller of another one would get an
    # incomplete reply without noticing. Calls over REST ask for all.

    def __init__(self, path: str | os.PathLike[str], rules: Rules, *, repeats: bool = True) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise ConfigError(f"expected the path of a recording, got {shown(path)}")
        check_flag("repeats", repeats)
        self.path: str = os.fspath(path)
        self._episodes = RecordingFile.read(path).episodes
        if self._episodes and all(each.reply is None and each.code is StatusCode.OK for each in self._episodes):
            raise RecordingError(
                f"the recording {self.path!r} has requests and no replies, as a warmup file has: record the calls with "
                "record= or tfs-admin record"
            )
        check_compared(self._episodes, rules)
        self.models: RecordedModels = RecordedModels.of(self._episodes)
        others = tuple(name for name in rules.match if name != "outputs")
        self._others = replace(rules, match=others)
        self._repeats = repeats
        self._lock = threading.Lock()
        same = replace(rules, match=(*others, "outputs"))
        self._same = Matcher(self._episodes, same, repeats=repeats)
        self._look_ups = Matcher([each for each in self._episodes if each.method not in LOGGED], same, repeats=True)
        self._with_outputs: dict[frozenset[str], Matcher] = {}  # by what a call asks for
        self._used: set[int] = set()  # ids of episodes

    def take(self, wanted: Episode) -> Episode | None:
        """Return the recorded call that answers a call, if any; best one that asked for the same outputs."""
        if wanted.method not in LOGGED:
            return self._look_ups.take(wanted)
        with self._lock:
            for call in self._readings(wanted):
                found = self._taken(self._same, call)
                if found is None and wanted.method == "Predict":
                    found = self._taken(self._having(_asked(wanted)), call)
                if found is not None:
                    self._used.add(id(found))
                    return found
        return None

    def _taken(self, matcher: Matcher, call: Episode) -> Episode | None:
        """Take a call from a matcher, which does not know those that another one has used up."""
        found = matcher.take(call)
        while found is not None and not self._repeats and id(found) in self._used:
            found = matcher.take(call)
        return found

    def missing(self, wanted: Episode) -> str:
        """Describe a call that the recording does not have: the nearest recorded one, and how it differs."""
        return f"the recording {self.path!r} {self._same.missing(wanted)}"

    def has(self, method: str, model: str) -> bool:
        """Whether there is a call of this method and model."""
        return any(each.method == method and each.spec.name == model for each in self._episodes)

    def servable(self, model: str) -> Servable:
        """Return a servable to read requests over REST that no served version is for."""
        own = {key: each for key, each in self.models.versions.items() if key[0] == model}
        if own:
            return own[max(own)]
        return servable_of_requests(each for each in self._episodes if each.spec.name == model)

    def unused(self) -> list[Episode]:
        """Return the calls of models that have not answered any, in order."""
        return [each for each in self._episodes if each.method in LOGGED and id(each) not in self._used]

    def _having(self, asked: frozenset[str]) -> Matcher:
        """Return the recorded predictions whose replies have the outputs that a call asks for; none for all."""
        if asked not in self._with_outputs:
            found = [each for each in self._episodes if each.method == "Predict" and self._has(each, asked)]
            self._with_outputs.setdefault(asked, Matcher(found, self._others, repeats=self._repeats))
        return self._with_outputs[asked]

    def _has(self, recorded: Episode, asked: frozenset[str]) -> bool:
        try:
            own = _asked(recorded)
            if recorded.reply is None:
                return not own  # what failed may have been one of its outputs
            wanted = self._of_signature(recorded) if own and not asked else asked
            return wanted is not None and wanted <= _outputs(recorded.reply)
        except DecodeError:
            return False

    def _of_signature(self, recorded: Episode) -> frozenset[str] | None:
        """Return all outputs that a call could have asked for; None if no recorded metadata shows them."""
        name, version = recorded.spec.name, answered_version(recorded)
        version = recorded.spec.version if version is None else version
        servable = self.servable(name) if version is None else self.models.versions.get((name, version))
        if not isinstance(servable, RecordedServable) or servable.signature_defs is None:
            return None
        signature = servable.signatures.get(recorded.spec.signature or DEFAULT_SIGNATURE)
        return None if signature is None else frozenset(signature.outputs)

    def _readings(self, wanted: Episode) -> Iterator[Episode]:
        """Yield a call, and over REST also those with the same JSON: ``[]`` is an array of shape (0,), (0, 2) …"""
        yield wanted
        if wanted.transport != "rest" or wanted.method != "Predict":
            return
        inputs = inputs_of(wanted)
        empty = {alias: array for alias, array in inputs.items() if not array.size}
        if not empty:
            return
        tried = {frozenset((alias, array.shape) for alias, array in empty.items())}
        for recorded in self._episodes:
            if recorded.method != "Predict" or recorded.spec.name != wanted.spec.name:
                continue
            try:
                others = inputs_of(recorded)
            except DecodeError:
                continue
            alike = {
                alias: array.reshape(others[alias].shape)
                for alias, array in empty.items()
                if alias in others and _in_json(others[alias].shape) == _in_json(array.shape)
            }
            shapes = frozenset((alias, array.shape) for alias, array in (empty | alike).items())
            if shapes not in tried:
                tried.add(shapes)
                yield replace(wanted, request=predict_messages.write_request(wanted.spec, {**inputs, **alike}))


def _asked(call: Episode) -> frozenset[str]:
    return frozenset(alias for (alias,) in choices_of(call))


def _outputs(reply: bytes) -> frozenset[str]:
    return frozenset(predict_messages.read_response(reply)[1])


def _in_json(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the part of a shape that JSON shows: nothing within an axis without elements."""
    return shape[: shape.index(0) + 1] if 0 in shape else shape
