"""The spelling of options: the command line that has these values, the inverse of their types."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any


def spelled(options: Mapping[str, object]) -> str:
    """Return options as a command line has them, such as ``--rate 100,200 --bound 50ms``.

    Args:
        options: values by the name of their field in BenchOptions. None and False are left out.
    """
    return " ".join(word for name, value in options.items() for word in _words(name, value))


def _words(name: str, value: Any) -> Iterable[str]:
    flag = "--" + name.replace("_", "-")
    if value is None or (value is False and name != "exif"):
        return
    if (value is True and name != "exif") or (name == "json" and value == "-"):
        yield flag
    elif name == "shape":
        for alias, sizes in value:
            yield from (flag, shlex.quote(f"{alias}={_separated('?' if size is None else size for size in sizes)}"))
    elif name in _REPEATED:
        for each in value:
            yield from (flag, shlex.quote(str(each)))
    elif name in _LISTS:
        yield from (flag, *(shlex.quote(str(each)) for each in value))
    else:
        yield from (flag, shlex.quote(_SPELLINGS.get(name, _plain)(value)))


def _plain(value: object) -> str:
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _separated(values: Iterable[object]) -> str:
    return ",".join(map(_plain, values))


def _seconds(value: float) -> str:
    factor, unit = (1, "s") if value >= 1 or not value else (1e3, "ms") if value >= 1e-3 else (1e6, "us")
    return f"{_plain(float(value * factor))}{unit}"


def _percent(share: float) -> str:
    return _plain(100.0 * share)


def _on_off(value: bool) -> str:
    return "on" if value else "off"


def _size(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))


def _ramp(ends: Sequence[float]) -> str:
    return ":".join(map(_plain, ends))


_SPELLINGS: dict[str, Callable[[Any], str]] = {
    **dict.fromkeys(("duration", "warmup", "bound"), _seconds),
    **dict.fromkeys(("quantile", "precision", "tolerance"), _percent),
    **dict.fromkeys(("concurrency", "rate", "mean", "std"), _separated),
    "exif": _on_off,
    "ramp": _ramp,
    "size": _size,
}
_REPEATED = ("input",)
_LISTS = ("image", "inputs")
