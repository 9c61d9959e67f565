"""Recording: the calls of clients, recorded in a file, answered from it, or compared with it."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any
from weakref import WeakSet

import numpy as np

from tfs_client._codec import predict_messages
from tfs_client._codec.dtypes import Array
from tfs_client._codec.values import as_array
from tfs_client._printable import counted, shown
from tfs_client.errors import ConfigError, EncodeError, RecordingError, StatusCode
from tfs_client.options import check_flag
from tfs_client.recordings import contents
from tfs_client.recordings.compared_inputs import check_compared
from tfs_client.recordings.differences import differences
from tfs_client.recordings.episodes import Episode
from tfs_client.recordings.matching import MATCH, Call, Matcher, Rules
from tfs_client.recordings.outcomes import same_status, signature_differences
from tfs_client.recordings.recording_file import RecordingFile

MODES = ("none", "once", "new_episodes", "all", "rewrite", "verify")
EXAMPLES = "examples"  # the alias of serialized examples for ``redact``
MOST_LISTED = 10  # calls in an error text

Redact = Callable[[Mapping[str, Array], str, str], Mapping[str, Any]]
"""Takes inputs by alias, the method and the model; returns the inputs to record."""


class Recording:
    """A recording that clients write to or are answered from.

    Args:
        path: the file, in TensorFlow's TFRecord format; PATH.json is written beside it.
        mode: what happens to a call:

            - "none": the recording answers it. A call that it does not have raises RecordingError.
            - "once": the server answers it and it is recorded, if the file did not exist at the first call; otherwise
              as "none".
            - "new_episodes": the recording answers it if it can; else the server does, and it is recorded.
            - "all": the server answers it, and it is recorded, after those that the file has.
            - "rewrite": as "all", but the first call replaces the file.
            - "verify": the server answers it, and RecordingError is raised if the recorded reply differs: outputs,
              signatures, the code of an error, and its text, except between gRPC and REST and where no server answered.
              The versions that answer, and the states of versions, are not compared. ``close`` reports calls that the
              recording does not have, and recorded ones that were not made.

        match: what must match besides the method: some of "model", "version" (and label), "signature", "outputs" (those
            asked for) and "inputs".
        rtol, atol: the tolerance for floats, in inputs and, with "verify", in outputs:
            ``atol + rtol * abs(recorded)``.
        inputs: the only inputs to compare, such as ``("x",)``; of calls on examples the only features.
        metadata: keys of the calls' metadata whose values must be equal, too.
        redact: a function that gets the inputs by alias, the method and the model, and returns the inputs to record
            instead. Calls are matched by what it returns. It may leave out inputs, and change their dtypes and shapes;
            then the recording answers calls, but is of no use as a warmup file or for tfs-admin replay. Calls on
            examples have one input, "examples", an array of serialized tf.Examples; it returns as many, in a list or an
            array of dtype object.
        repeats: whether the last matching recorded call answers again when all are used up. By default each answers
            one call, in order, and the next call raises RecordingError.

    Attributes:
        path: the file.
        mode: the mode.

    Several clients and threads may share a recording. With mode "verify" the last one that closes calls ``close``. If
    clients follow each other, use the recording as a context manager around them all: then only its end calls
    ``close``. Pickling it pickles its arguments, and whether it records; a copy knows only its own calls, so the end of
    its clients reports those that the recording does not have, and not those that were not made.

    Metadata whose key contains "token", "secret", "password", "key" or "credential", authorization and cookies are
    never recorded.

    Raises ConfigError for invalid arguments. At the first call, a file that is damaged raises DecodeError, one that
    cannot be opened RecordingError, and a name in ``inputs`` that no recorded call has ConfigError; the last one not
    with mode "new_episodes".
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        mode: str = "once",
        *,
        match: Sequence[str] = MATCH,
        rtol: float = 0.0,
        atol: float = 0.0,
        inputs: Sequence[str] | None = None,
        metadata: Sequence[str] = (),
        redact: Redact | None = None,
        repeats: bool = False,
    ) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise ConfigError(f"expected the path of a recording, got {shown(path)}")
        if mode not in MODES:
            raise ConfigError(f"expected a mode among {', '.join(MODES)}, got {shown(mode)}")
        check_flag("repeats", repeats)
        if redact is not None and not callable(redact):
            raise ConfigError(f"expected redact= as a function, got {shown(redact)}")
        self.path: str = os.fspath(path)
        self.mode: str = mode
        self._rules = Rules(match, rtol, atol, inputs, metadata)
        self._redact = redact
        self._repeats = repeats
        self._records: bool | None = None  # whether calls are recorded; None until the first call
        self._is_copy = False
        self._new = mode == "rewrite"  # whether the first call that is recorded replaces the file
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._lock = threading.RLock()
        self._file = RecordingFile(self.path)
        self._matcher: Matcher | None = None
        self._missing: list[str] = []
        self._users: WeakSet[object] = WeakSet()
        self._entered = 0

    def _abandon(self) -> tuple[object, ...]:
        """In a forked process: take a new lock, and continue with what the parent has used."""
        left = self._lock, self._users
        self._lock = threading.RLock()
        self._users = WeakSet()  # the parent's clients have more calls than this process sees
        if self._matcher is not None:
            self._matcher.renew_lock()
        return left

    # --- calls ---------------------------------------------------------------------------------------------------

    @property
    def replays(self) -> bool:
        """Whether the recording answers all calls, so that no server is needed."""
        self._begin()
        return self.mode == "none" or (self.mode == "once" and not self._records)

    @property
    def waits(self) -> bool:
        """Whether pauses between polls are of use: not if recorded calls answer them, each once."""
        return not self.replays or self._repeats

    def redacted(self, call: Episode) -> Episode:
        """Return a call as it is recorded and matched."""
        if self._redact is None or not call.request:
            return call
        if call.method == "Predict":
            request, given = predict_messages.read_request(call.request), contents.inputs_of(call)
            inputs = {alias: _tensor(alias, values) for alias, values in self._redacted(given, call).items()}
            data = predict_messages.write_request(request.spec or call.spec, inputs, request.outputs)
        elif call.method in contents.ON_EXAMPLES:
            examples = contents.examples_of(call.request)
            found = self._redacted({EXAMPLES: contents.string_array(examples)}, call)
            data = contents.with_examples(call.request, _examples(found, len(examples)))
        else:
            return call
        return replace(call, request=data)

    def replayed(self, call: Episode) -> Episode | None:
        """Return the recorded call that answers a call; None if the server is to answer it.

        Raises RecordingError for a call that the recording does not have, where it answers all.
        """
        self._begin()
        if self._matcher is None or self.mode == "verify":
            return None
        found = self._matcher.take(call)
        if found is None and self.replays:
            raise self._miss(call)
        if found is not None and found.code is StatusCode.OK and found.reply is None:
            if not self.replays:
                return None
            raise RecordingError(
                f"the recording {self.path!r} has a warmup request, without a reply, for {Call(found, self._rules)}: "
                "record the call, with mode='rewrite'"
            )
        return found

    def record(self, ended: Episode) -> None:
        """Record a call that the server answered, or compare it with the recorded one.

        Raises RecordingError if the answers differ.
        """
        self._begin()
        if self.mode == "verify":
            self._verify(ended)
            return
        try:
            with self._lock:
                if self._new:
                    RecordingFile.write(self.path, [ended])
                    self._new = False
                    return
            self._file.append(ended)
        except OSError as error:
            raise RecordingError(f"the recording {self.path!r} cannot be written: {error.strerror or error}") from error

    @property
    def episodes(self) -> tuple[Episode, ...]:
        """The recorded calls that answer; none while calls are only recorded."""
        self._begin()
        return () if self._matcher is None else tuple(self._matcher.episodes)

    # --- clients -------------------------------------------------------------------------------------------------

    def attach(self, user: object) -> None:
        """Note an open client."""
        with self._lock:
            self._users.add(user)

    def detach(self, user: object) -> None:
        """Note the end of a client; of the last one, ``close``, unless the recording is used as a context manager."""
        with self._lock:
            known = user in self._users
            self._users.discard(user)
            ends = known and not self._users and not self._entered
        if ends and self.mode == "verify":
            self._check(unused=not self._is_copy)

    # --- checks --------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise RecordingError for calls that the recording does not have, and for recorded ones that were not made.

        Metadata look-ups are ignored. No-op while calls are only recorded.
        """
        self._check(unused=self.mode != "new_episodes")

    def _check(self, *, unused: bool) -> None:
        self._begin()
        left = self._matcher.unused() if unused and self._matcher is not None else []
        with self._lock:
            missing = list(self._missing)
        parts = []
        if missing:
            parts.append(f"does not have {counted(len(missing), 'calls')} of this run:\n{_lines(missing)}")
        if left:
            calls = [str(Call(episode, self._rules)) for episode in left]
            parts.append(f"has {counted(len(left), 'calls')} not made in this run:\n{_lines(calls)}")
        if parts:
            raise RecordingError(f"the recording {self.path!r} " + "\nand ".join(parts))

    def close(self) -> None:
        """With mode "verify", ``check``; no-op otherwise. The files are closed after each call.

        The last client that closes does the same.
        """
        if self.mode == "verify":
            self.check()

    def __enter__(self) -> Recording:
        self._entered += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._entered -= 1
        if error is None:
            self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {
            name: value
            for name, value in self.__dict__.items()
            if name not in ("_lock", "_file", "_matcher", "_missing", "_users", "_entered")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._is_copy = True
        self._start_afresh()

    def __repr__(self) -> str:
        return f"Recording({self.path!r}, mode={self.mode!r})"

    # --- inside --------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """At the first call, find out whether there is a file, and read it."""
        if self._matcher is not None or self._records:
            return
        with self._lock:
            if self._matcher is not None or self._records:
                return
            exists = self._file.exists
            if self.mode in ("all", "rewrite") or (self.mode == "once" and not exists and self._records is None):
                self._check_folder()
                self._records = True
                return
            if self.mode == "new_episodes":
                self._check_folder()
            elif not exists:
                why = "it is empty" if os.path.exists(self.path) else os.strerror(errno.ENOENT)
                raise RecordingError(
                    f"the recording {self.path!r} cannot be read: {why}; record it with mode='once' or mode='rewrite'"
                )
            episodes = RecordingFile.read(self.path).episodes if exists else ()
            if self.mode != "new_episodes":  # whose later calls may have other inputs
                check_compared(episodes, self._rules)
            self._records = False
            self._matcher = Matcher(episodes, self._rules, repeats=self._repeats)

    def _check_folder(self) -> None:
        folder = os.path.dirname(os.path.abspath(self.path))
        if not os.path.isdir(folder):
            raise RecordingError(f"the recording {self.path!r} cannot be written: the folder {folder!r} does not exist")

    def _miss(self, call: Episode) -> RecordingError:
        assert self._matcher is not None
        text = self._matcher.missing(call)
        self._note_missing(call)
        return RecordingError(
            f"the recording {self.path!r} {text}\n"
            "Record it with mode='new_episodes', or everything anew with mode='rewrite'."
        )

    def _note_missing(self, call: Episode) -> None:
        if call.method != "GetModelMetadata":
            with self._lock:
                self._missing.append(str(Call(call, self._rules)))

    def _verify(self, got: Episode) -> None:
        assert self._matcher is not None
        recorded = self._matcher.take(got)
        if recorded is None:
            self._note_missing(got)
            return
        if why := self._apart(recorded, got):
            raise RecordingError(
                f"the server does not answer as in the recording {self.path!r}: {Call(got, self._rules)}\n{why}"
            )

    def _apart(self, recorded: Episode, got: Episode) -> str:
        """Describe how the outcomes of a call differ; "" if they do not."""
        same_transport = recorded.transport == got.transport
        # The text of a call that did not reach the server is about the connection, which may be another one.
        texts = [("" if each.unreached else each.details) for each in (recorded, got)]
        if not same_status((recorded.code, texts[0]), (got.code, texts[1]), same_transport=same_transport):
            return f"recorded {_outcome(recorded)}, got {_outcome(got)}"
        if recorded.reply is None or got.reply is None:
            return ""
        if got.method == "GetModelMetadata":
            from tfs_client._calls.metadata import GetModelMetadata

            before, now = (GetModelMetadata(each.spec).read(each.reply or b"") for each in (recorded, got))
            return "\n".join(f"{each.alias}: {each.reason}" for each in signature_differences(before, now))
        expected, found = contents.outputs_of(recorded), contents.outputs_of(got)
        apart = differences(expected, found, rtol=self._rules.rtol, atol=self._rules.atol)
        return "\n".join(f"output {each}" for each in apart)

    def _redacted(self, inputs: Mapping[str, Array], call: Episode) -> Mapping[str, Any]:
        """Return what ``redact`` makes of inputs. Raises ConfigError if that is not a mapping by alias."""
        assert self._redact is not None
        found = self._redact(inputs, call.method, call.spec.name)
        if not isinstance(found, Mapping) or not all(isinstance(alias, str) for alias in found):
            raise ConfigError(f"expected a mapping of inputs from redact=, got {shown(found)}")
        return found


def _outcome(episode: Episode) -> str:
    return "OK" if episode.code is StatusCode.OK else f"{episode.code.name}: {shown(episode.details, 300)}"


def _tensor(alias: str, values: object) -> Array:
    """Return a redacted input. Raises ConfigError for values that cannot become a tensor."""
    try:
        return as_array(values)
    except EncodeError as error:
        raise ConfigError(f"redact= returned values of input {alias!r} that cannot become a tensor: {error}") from error


def _examples(found: Mapping[str, Any], count: int) -> list[bytes]:
    """Return redacted examples. Raises ConfigError for anything but ``count`` serialized ones."""
    expected = f"expected {EXAMPLES!r} from redact= as a list or an array of dtype object, with {count} serialized "
    expected += f"example{'s' * (count != 1)}"
    if list(found) != [EXAMPLES]:
        raise ConfigError(f"{expected}; got {shown(list(found))}")
    values = found[EXAMPLES]
    # numpy's own byte strings lose zeros at their end, and are therefore not accepted.
    is_array = isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype == object
    if not (is_array or isinstance(values, (list, tuple))) or not all(type(each) is bytes for each in values):
        raise ConfigError(f"{expected}; got {shown(values)}")
    if len(values) != count:
        raise ConfigError(f"{expected}; got {len(values)}")
    return list(values)


def _lines(texts: Sequence[str]) -> str:
    more = [f"and {len(texts) - MOST_LISTED} more"] if len(texts) > MOST_LISTED else []
    return "\n".join(f"  {text}" for text in [*texts[:MOST_LISTED], *more])
