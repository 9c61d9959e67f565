"""Matching: which recorded call answers a call."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import NamedTuple

import numpy as np

from tfs_client._codec import expansion
from tfs_client._codec.dtypes import Array, row_of
from tfs_client._printable import counted, listed, shown
from tfs_client.errors import ConfigError, DecodeError
from tfs_client.recordings.contents import choices_of, input_of, inputs_of
from tfs_client.recordings.differences import (
    Difference,
    check_tolerances,
    comparable,
    differences,
    equal,
    is_inexact,
    wide,
)
from tfs_client.recordings.episodes import LOGGED, Episode
from tfs_client.recordings.probes import Probes
from tfs_client.recordings.secrets import is_secret
from tfs_client.signatures import DEFAULT_SIGNATURE, shape_text

MATCH = ("model", "version", "signature", "outputs", "inputs")
"""What a call and a recorded one have in common, besides the method."""

MOST_COMPARED = 20  # recorded calls that an error compares with the call
Layout = frozenset[tuple[str, int, tuple[int, ...]]]


@dataclass(frozen=True)
class Rules:
    """When a recorded call matches a call.

    Args:
        match: what must be equal, among MATCH. "version" includes the label, "signature" the tasks of MultiInference,
            "outputs" those that the call asks for.
        rtol, atol: floats may differ by ``atol + rtol * abs(recorded)``.
        inputs: the only inputs, or features, to compare; None for all.
        metadata: keys whose values must be equal, too.

    Raises ConfigError.
    """

    match: Sequence[str] = MATCH
    rtol: float = 0.0
    atol: float = 0.0
    inputs: Sequence[str] | None = None
    metadata: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in ("match", "inputs", "metadata"):
            given = getattr(self, name)
            if given is not None:
                names = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else (given,)
                if not all(isinstance(each, str) for each in names):
                    raise ConfigError(f"expected {name}= as names, got {shown(given)}")
                object.__setattr__(self, name, names)
        if unknown := [each for each in self.match if each not in MATCH]:
            raise ConfigError(f"expected match= among {', '.join(MATCH)}, got {shown(unknown[0])}")
        check_tolerances(self.rtol, self.atol)
        if secret := [key for key in self.metadata if is_secret(key)]:
            raise ConfigError(
                f"metadata {secret[0]!r} is never recorded, because it may be a secret: leave it out of metadata="
            )

    @property
    def exact(self) -> bool:
        """Whether matching inputs are equal."""
        return self.rtol == self.atol == 0


class Call:
    """A call with its tensors, which are decoded when they are first needed."""

    def __init__(self, episode: Episode, rules: Rules) -> None:
        self.episode = episode
        self._rules = rules

    @cached_property
    def inputs(self) -> dict[str, Array] | DecodeError:
        """The inputs to compare, or why they cannot be read."""
        try:
            found = inputs_of(self.episode)
        except DecodeError as error:
            return error
        wanted = self._rules.inputs
        return found if wanted is None else {alias: found[alias] for alias in found if input_of(alias) in wanted}

    @cached_property
    def layout(self) -> Layout | None:
        """Aliases, dtypes and shapes of the inputs to compare; None if they cannot be read or are not compared."""
        if "inputs" not in self._rules.match or not isinstance(self.inputs, dict):
            return None
        return frozenset((alias, row_of(array.dtype).number, array.shape) for alias, array in self.inputs.items())

    @cached_property
    def key(self) -> object:
        """What calls with equal inputs share, however their messages are encoded, if these are not overstated."""
        if "inputs" not in self._rules.match:
            return None
        if not isinstance(self.inputs, dict):
            return self.episode.request
        from hashlib import sha256  # slow to import

        digest = sha256()
        for alias, array in sorted(self.inputs.items()):
            digest.update(repr((alias, row_of(array.dtype).number, array.shape)).encode("utf-8", "surrogatepass"))
            few = expansion.collapsed(array, array)[0] if expansion.is_overstated(array) else array
            for piece in _values_of(few):
                digest.update(piece)
        return digest.digest()

    @cached_property
    def overstated(self) -> bool:
        """Whether an array declares far more values than it holds. Its key depends on how it is encoded."""
        return isinstance(self.inputs, dict) and any(map(expansion.is_overstated, self.inputs.values()))

    @cached_property
    def traits(self) -> dict[str, object]:
        """Everything to compare except the inputs, by what it is called in texts."""
        episode, rules = self.episode, self._rules
        spec, found = episode.spec, dict[str, object]()
        if "model" in rules.match:
            found["model"] = spec.name
        if "version" in rules.match:
            found |= {"version": spec.version, "label": spec.label}
        try:
            choices: object = choices_of(episode)
        except DecodeError:
            choices = episode.request
        if "signature" in rules.match and episode.method in LOGGED:
            if episode.method == "MultiInference":
                found["tasks"] = choices
            else:
                found["signature"] = spec.signature or DEFAULT_SIGNATURE
        if "outputs" in rules.match and episode.method == "Predict":
            found["outputs"] = tuple(alias for (alias,) in choices) or "all" if isinstance(choices, tuple) else choices
        for key in rules.metadata:
            found[f"metadata {key!r}"] = sorted(str(value) for name, value in episode.metadata if name == key)
        return found

    @property
    def group(self) -> Hashable:
        """The key of all calls that differ from this one in the values of inputs at most."""
        traits = ((name, tuple(value) if isinstance(value, list) else value) for name, value in self.traits.items())
        return self.episode.method, tuple(traits), self.layout

    def __str__(self) -> str:
        spec = self.episode.spec
        which = (
            f" version {spec.version}" if spec.version is not None else f" label {spec.label!r}" if spec.label else ""
        )
        signature = f", signature {shown(spec.signature)}" if spec.signature else ""
        text = f"{self.episode.method} of model {shown(spec.name)}{which}{signature}"
        if isinstance(self.inputs, dict) and self.inputs:
            inputs = [f"{alias} {row_of(a.dtype).readable} {shape_text(a.shape)}" for alias, a in self.inputs.items()]
            text += f" on {listed(inputs)}"
        return text


class Matcher:
    """The recorded calls, of which each answers one call, in order. May be used from any thread.

    Args:
        episodes: the recorded calls.
        rules: when one matches.
        repeats: whether the last matching one answers again when all are used up.
    """

    # Comparing each call with all recorded ones would take quadratic time. So calls that differ only in the values of
    # their inputs form a group, in which a key finds those with equal values. Calls are compared one by one only if
    # there is a tolerance, and then only the few that a look at some of their values does not rule out.

    def __init__(self, episodes: Iterable[Episode], rules: Rules, *, repeats: bool = False) -> None:
        self.rules = rules
        self._repeats = repeats
        self._calls = [Call(episode, rules) for episode in episodes]
        self._lock = threading.Lock()
        self._used = np.zeros(len(self._calls), bool)
        self._by_method: dict[str, list[int]] = defaultdict(list)
        for number, call in enumerate(self._calls):
            self._by_method[call.episode.method].append(number)
        self._groups: dict[str, dict[Hashable, _Group]] = {}  # by method

    @property
    def episodes(self) -> list[Episode]:
        """The recorded calls."""
        return [call.episode for call in self._calls]

    def take(self, wanted: Episode) -> Episode | None:
        """Return the recorded call that answers this one, and use it up; None without one.

        Look-ups of metadata are not used up, because clients cache them for a while.
        """
        call = Call(wanted, self.rules)
        group = self._groups_of(wanted.method).get(call.group)
        if group is None:
            return None
        near = self._near(group, call)
        equal_ones = group.equal.get(call.key, _EqualCalls())
        with self._lock:
            number = equal_ones.next_unused() if near is None else self._first_near(near[~self._used[near]], call)
            if number is not None:
                self._used[number] = True
        if number is None and (self._repeats or wanted.method == "GetModelMetadata"):
            number = equal_ones.last if near is None else self._first_near(near[::-1], call)
        return None if number is None else self._calls[number].episode

    def unused(self) -> list[Episode]:
        """Return the recorded calls that have not answered any, except look-ups of metadata."""
        with self._lock:
            used = self._used.tolist()
        return [
            call.episode
            for call, is_used in zip(self._calls, used, strict=True)
            if not is_used and call.episode.method != "GetModelMetadata"
        ]

    def missing(self, wanted: Episode) -> str:
        """Describe a call that no recorded one answers: the nearest one, and how it differs."""
        call = Call(wanted, self.rules)
        text = f"does not have this call: {call}."
        groups = self._groups_of(wanted.method)
        if (group := groups.get(call.group)) is not None:
            near = self._near(group, call)
            if near is None:
                count = len(group.equal.get(call.key, _EqualCalls()).numbers)
            else:
                count = sum(self._is_near(number, call) for number in near.tolist())
            if count:
                return (
                    f"has this call {counted(count, 'times')}, used up already: {call}. With repeats=True, the last "
                    "one answers again."
                )
        if not groups:
            return f"{text} It has {counted(len(self._calls), 'calls')}, but none of {wanted.method}."
        numbers = islice(self._nearest_first(groups, call), MOST_COMPARED)
        apart, number = min((self._apart(self._calls[number], call), number) for number in numbers)
        lines = "\n".join(apart.lines).replace("\n", "\n  ")
        return f"{text} The nearest recorded call is number {number}, {self._calls[number]}:\n  {lines}"

    def renew_lock(self) -> None:
        """In a forked process: take a new lock, because a thread of the parent may hold the old one."""
        self._lock = threading.Lock()

    # --- inside --------------------------------------------------------------------------------------------------

    def _groups_of(self, method: str) -> dict[Hashable, _Group]:
        with self._lock:
            if method not in self._groups:
                groups: dict[Hashable, _Group] = {}
                for number in self._by_method.get(method, ()):
                    call = self._calls[number]
                    groups.setdefault(call.group, _Group(call)).add(number, call)
                self._groups[method] = groups
            return self._groups[method]

    def _near(self, group: _Group, call: Call) -> Array | None:
        """Return the recorded calls whose inputs may be near those of a call, in order; None where keys decide."""
        if call.layout is None or (self.rules.exact and not (group.overstated or call.overstated)):
            return None
        return np.asarray(np.array(group.numbers)[self._probes_apart(group, call) == 0])

    def _probes_apart(self, group: _Group, call: Call) -> Array:
        """Return for each call of a group with the call's layout how many probes differ."""
        assert isinstance(call.inputs, dict)
        with self._lock:
            if group.probes is None:
                recorded = (self._calls[number].inputs for number in group.numbers)
                readable = (inputs for inputs in recorded if isinstance(inputs, dict))  # all, as their layout shows
                group.probes = Probes(readable, self.rules.rtol, self.rules.atol)
        return group.probes.apart(call.inputs)

    def _first_near(self, numbers: Array, call: Call) -> int | None:
        return next((number for number in numbers.tolist() if self._is_near(number, call)), None)

    def _is_near(self, number: int, call: Call) -> bool:
        recorded = self._calls[number]
        if isinstance(recorded.inputs, DecodeError) or isinstance(call.inputs, DecodeError):
            return False
        if call.overstated and recorded.key == call.key:
            return True
        try:
            return equal(recorded.inputs, call.inputs, rtol=self.rules.rtol, atol=self.rules.atol)
        except DecodeError:  # a tensor that declares far more values than it holds
            return False

    def _nearest_first(self, groups: Mapping[Hashable, _Group], call: Call) -> Iterator[int]:
        """Yield recorded calls, first those that have most in common with a call."""

        def distance(group: _Group) -> tuple[int, int]:
            other = group.first
            traits = sum(other.traits.get(name) != value for name, value in call.traits.items())
            return traits, len((other.layout or frozenset()) ^ (call.layout or frozenset()))

        for group in sorted(groups.values(), key=distance):
            if call.layout is not None and group.first.layout == call.layout:
                places = np.argsort(self._probes_apart(group, call), kind="stable")
                yield from (group.numbers[place] for place in places)
            else:
                yield from group.numbers

    def _apart(self, recorded: Call, call: Call) -> _Distance:
        lines = [
            f"{name}: recorded {shown(recorded.traits.get(name))}, got {shown(value)}"
            for name, value in call.traits.items()
            if recorded.traits.get(name) != value
        ]
        found = self._of_inputs(recorded, call) if "inputs" in self.rules.match else []
        share = sum(each.differing / each.size if each.size else 1.0 for each in found if isinstance(each, Difference))
        lines += [f"input {each}" if isinstance(each, Difference) else str(each) for each in found]
        return _Distance(len(lines), share, lines)

    def _of_inputs(self, recorded: Call, call: Call) -> Sequence[Difference | DecodeError]:
        if isinstance(recorded.inputs, DecodeError):
            return [recorded.inputs]
        if isinstance(call.inputs, DecodeError):
            return [call.inputs]
        try:
            return differences(recorded.inputs, call.inputs, rtol=self.rules.rtol, atol=self.rules.atol)
        except DecodeError as error:  # a tensor that declares far more values than it holds
            return [error]


class _EqualCalls:
    """Recorded calls with equal inputs, in order. They are used up in this order."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self._next = 0

    def next_unused(self) -> int | None:
        """Use one up, and return its number; None if all are used up."""
        if self._next == len(self.numbers):
            return None
        self._next += 1
        return self.numbers[self._next - 1]

    @property
    def last(self) -> int | None:
        """The number of the last one; None without any."""
        return self.numbers[-1] if self.numbers else None


class _Group:
    """Recorded calls that differ only in the values of their inputs, in order."""

    def __init__(self, first: Call) -> None:
        self.first = first
        self.numbers: list[int] = []
        self.equal: dict[object, _EqualCalls] = {}  # by key
        self.overstated = False
        self.probes: Probes | None = None

    def add(self, number: int, call: Call) -> None:
        """Add a recorded call."""
        self.numbers.append(number)
        self.equal.setdefault(call.key, _EqualCalls()).numbers.append(number)
        self.overstated = self.overstated or call.overstated


class _Distance(NamedTuple):
    """How far two calls are apart: the number of aspects, the share of values, and the texts."""

    aspects: int
    values: float
    lines: list[str]


def _values_of(array: Array) -> Iterable[bytes]:
    """Return the values as bytes that are the same for equal values: NaN equals NaN, and 0 equals -0."""
    array = comparable(array)
    if array.dtype == object:
        strings = [bytes(value) for value in array.flat]
        return [str(list(map(len, strings))).encode(), *strings]
    if is_inexact(array):
        array = array if array.dtype.kind in "fc" else wide(array)
        array = np.atleast_1d(array + array.dtype.type(0))
        array[np.isnan(array)] = np.nan
    return [array.tobytes()]
