"""The loop: make an input, read it, judge what came of it, and keep what is at fault.

Nothing here knows a format. A reader under test is a ``Reader``; what the loop counts is a ``Tally``.
"""

from __future__ import annotations

import contextlib
import signal
import time
import traceback
import tracemalloc
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tfs_client.errors import TFServingError

MEMORY_EVERY = 64  # inputs of which one is read under tracemalloc; large inputs all are
LARGE = 8192  # bytes of a large input
GROWTH = 8  # bytes that a reader may allocate for each byte it reads
SCRATCH = 2 << 20  # bytes on top of it
SLOW = 2.0  # CPU seconds for one input
HANG = 20.0  # CPU seconds after which an input is given up
MAX_TEXT = 4096  # bytes of an error's text
FAULTS_KEPT = 20  # different ones of a reader


class NotJudged(Exception):
    """The reference has no opinion of an input."""


class Hung(BaseException):
    """The reader did not come back."""


@dataclass(frozen=True)
class Reader:
    """A door for foreign bytes.

    Attributes:
        name: what FUZZ_READERS calls it.
        make: one more input.
        read: the reader itself; it returns a value or raises TFServingError.
        wrong: what is wrong with the value, or with the refusal (value None, the error given); "" where all is well.
        growth, scratch: the bound on the memory of ``read``; growth 0 means there is none.
        wire: whether it is one of the readers that need a million inputs.
        refusals: what else it may raise by contract, such as argparse's errors.
        cost: how many times slower than a plain reader it is; the base suite has as many times fewer inputs for it.
        close: called at the end.
    """

    name: str
    make: Callable[[Random], bytes]
    read: Callable[[bytes], Any]
    wrong: Callable[[bytes, Any, Exception | None], str] = lambda data, value, error: ""
    growth: float = GROWTH
    scratch: int = SCRATCH
    wire: bool = False
    refusals: tuple[type[Exception], ...] = ()
    cost: int = 1
    close: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Fault:
    """An input that is at fault. ``kind`` is one of foreign, warning, wrong, memory, slow, hang, text."""

    kind: str
    what: str
    data: bytes
    number: int


@dataclass
class Tally:
    """What became of the inputs of one reader.

    Attributes:
        faults: the first input of every different fault.
        factor: the largest ratio of allocated bytes, less the scratch that is allowed, to the input's.
        slowest: seconds of the slowest input.
    """

    reader: str
    seed: int
    inputs: int = 0
    results: int = 0
    seconds: float = 0.0
    refused: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    faults: dict[str, Fault] = field(default_factory=dict)
    factor: float = 0.0
    peak: int = 0
    slowest: float = 0.0

    def note(self, kind: str, what: str, data: bytes) -> None:
        """Count a fault, and keep its input when it is a new one, or shorter than the known one."""
        self.counts[kind] += 1
        key = f"{kind}: {what.splitlines()[0][:120] if what else ''}" if kind != "wrong" else f"wrong: {what[:40]}"
        known = self.faults.get(key)
        if known is None and len(self.faults) >= FAULTS_KEPT:
            return
        if known is None or len(data) < len(known.data):
            self.faults[key] = Fault(kind, what, data, self.inputs)


def run(
    reader: Reader, seed: int, *, seconds: float = 1e9, inputs: int = 1 << 62, stop_at_fault: bool = False
) -> Tally:
    """Feed a reader until the time is over or the inputs are through."""
    rng, tally = Random(f"{reader.name} {seed}"), Tally(reader.name, seed)
    started = time.monotonic()
    end = started + seconds
    with judged():
        while tally.inputs < inputs and (tally.inputs % 16 or time.monotonic() < end):
            tally.inputs += 1
            feed(reader, reader.make(rng), tally)
            if stop_at_fault and tally.faults:
                break
    tally.seconds = time.monotonic() - started
    return tally


def feed(reader: Reader, data: bytes, tally: Tally) -> None:
    """One input."""
    value: Any = None
    error: Exception | None = None
    measured = reader.growth and (len(data) > LARGE or not tally.inputs % MEMORY_EVERY)
    if measured:
        tracemalloc.start()
    signal.setitimer(signal.ITIMER_PROF, HANG)
    began = time.perf_counter()
    try:
        value = reader.read(data)
        tally.results += 1
    except TFServingError as refusal:
        error = refusal
        tally.refused[type(refusal).__name__] += 1
    except Warning as warning:
        error = warning
        tally.note("warning", _where(warning), data)
    except Hung:
        tally.note("hang", f"no result after {HANG:.0f} CPU seconds", data)
        return
    except reader.refusals as refusal:
        error = refusal
        tally.refused[type(refusal).__name__] += 1
    except Exception as foreign:
        error = foreign
        tally.note("foreign", _where(foreign), data)
    finally:
        took = time.perf_counter() - began
        signal.setitimer(signal.ITIMER_PROF, 0)
        if measured:
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            _judge_memory(reader, data, peak, tally)
    if took > tally.slowest:
        tally.slowest = took
        if took > SLOW and not measured:
            _judge_time(reader, data, tally)
    if isinstance(error, TFServingError):
        _judge_text(error, data, tally)
    if error is None or isinstance(error, TFServingError):
        try:
            what = reader.wrong(data, value, error)
        except (NotJudged, MemoryError):  # a reference may need more memory than there is
            what = ""
        except Exception as failure:  # warnings too, from the use of a value
            what = f"accepted what the reference cannot read: {type(failure).__name__} {failure}\n{value!r:.200}"
        if what:
            tally.note("wrong", what, data)


def _judge_memory(reader: Reader, data: bytes, peak: int, tally: Tally) -> None:
    tally.peak = max(tally.peak, peak)
    tally.factor = max(tally.factor, (peak - reader.scratch) / max(1, len(data)))
    if peak > reader.growth * len(data) + reader.scratch:
        tally.note("memory", f"more than {reader.growth} x input + {reader.scratch >> 20} MB\n{peak} bytes", data)


def _judge_time(reader: Reader, data: bytes, tally: Tally) -> None:
    """Whether it was the reader that took so long, or others on this machine."""
    began = time.process_time()
    with contextlib.suppress(Exception):
        reader.read(data)
    if (took := time.process_time() - began) > SLOW:
        tally.note("slow", f"more than {SLOW:.0f} CPU seconds for an input\n{took:.1f} s", data)


def _judge_text(error: Exception, data: bytes, tally: Tally) -> None:
    text = str(error)
    if len(text) > MAX_TEXT or len(text.encode(errors="replace")) > MAX_TEXT:
        tally.note("text", f"{type(error).__name__} has more than {MAX_TEXT} bytes of text", data)
    if not text.isprintable() and any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t" for c in text):
        tally.note("text", f"{type(error).__name__} has control characters in its text\n{text[:200]!r}", data)
    if isinstance(error.__cause__, MemoryError):
        tally.note("memory", f"MemoryError behind {type(error).__name__}\n{text[:300]}", data)


def _where(error: BaseException) -> str:
    """The class, the place in the package, and the text."""
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if "tfs_client" in frame.filename and "hostile" not in frame.filename]
    frame = (inside or frames)[-1]
    place = f"{frame.filename.rpartition('tfs_client/')[2]}:{frame.lineno}"
    return f"{type(error).__name__} in {place}\n{str(error)[:500]}"


@contextlib.contextmanager
def judged() -> Iterator[None]:
    """Warnings are errors, and what hangs is given up, within this block."""

    def give_up(number: int, frame: Any) -> None:
        raise Hung

    before = signal.signal(signal.SIGPROF, give_up)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            # protobuf has Python read the escapes of its text, which warns of those that it does not know
            warnings.filterwarnings("ignore", ".*invalid.*escape sequence", DeprecationWarning)
            warnings.simplefilter("ignore", ResourceWarning)  # numpy.load leaves files open when it fails
            warnings.filterwarnings("ignore", "Type google._upb._message", DeprecationWarning)
            yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
