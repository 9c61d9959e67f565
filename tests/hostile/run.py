"""Feed the readers, print a table, keep what is at fault: ``make fuzz``.

FUZZ_SECONDS (default 60) is for each reader, FUZZ_READERS names some of them (prefixes, with commas), FUZZ_SEED makes
another sequence (default 1; the same seed gives the same inputs), FUZZ_INPUTS ends a reader after that many inputs.
``--replay FILE`` reads one kept input again. Exits with 1 when anything is at fault.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import sys
from pathlib import Path

from .engine import Fault, Reader, Tally, feed, judged, run
from .readers import all_readers

SHOWN = int(os.environ.get("FUZZ_SHOWN", "6"))  # faults of a reader
FOLDER = Path("fuzz-failures")
MEMORY = 6 << 30  # bytes of address space: what asks for more gets MemoryError, not the machine
HEAD = (
    *("reader", "inputs", "in/s", "results", "refused"),
    *("foreign", "warnings", "wrong", "memory", "slow", "peak", "slowest"),
)


def main(arguments: list[str]) -> int:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    logging.getLogger("tfs_client").setLevel(logging.CRITICAL)  # the server's parts log what they refuse
    if arguments[:1] == ["--replay"]:
        return replay(Path(arguments[1]))
    wanted = [name for name in os.environ.get("FUZZ_READERS", "").split(",") if name]
    readers = [each for each in all_readers() if not wanted or any(each.name.startswith(name) for name in wanted)]
    if unknown := [name for name in wanted if not any(each.name.startswith(name) for each in readers)]:
        wanted = unknown
        known = ", ".join(each.name for each in all_readers())
        print(f"no reader's name begins with {' or '.join(wanted)}; expected some of {known}")
        return 2
    seed, seconds = int(os.environ.get("FUZZ_SEED", "1")), float(os.environ.get("FUZZ_SECONDS", "60"))
    inputs = int(os.environ.get("FUZZ_INPUTS", str(1 << 62)))
    stop = "--first-fault" in arguments
    print(row(HEAD))
    faulty = 0
    for reader in readers:
        try:
            tally = run(reader, seed, seconds=seconds, inputs=inputs, stop_at_fault=stop)
        finally:
            reader.close()
        print(row(cells(tally)), flush=True)
        faulty += bool(tally.faults)
        for fault in list(tally.faults.values())[:SHOWN]:
            report(tally, fault)
        if stop and faulty:
            break
    return 1 if faulty else 0


def cells(tally: Tally) -> tuple[str, ...]:
    """A row of the table. ``peak`` is the largest factor beyond the scratch that is allowed."""
    count = tally.counts
    return (
        tally.reader,
        str(tally.inputs),
        f"{tally.inputs / max(tally.seconds, 1e-9):.0f}",
        str(tally.results),
        ",".join(f"{name.removesuffix('Error')} {many}" for name, many in sorted(tally.refused.items())) or "0",
        str(count["foreign"]),
        str(count["warning"]),
        str(count["wrong"] + count["text"]),
        str(count["memory"]),
        str(count["slow"] + count["hang"]),
        f"{tally.peak / 1e6:.1f} MB" if tally.factor <= 0 else f"{tally.factor:.1f} x",
        f"{tally.slowest * 1e3:.0f} ms",
    )


def row(columns: tuple[str, ...]) -> str:
    widths = (24, 9, 7, 9, 40, 8, 9, 6, 7, 5, 9, 9)
    return " ".join(text.ljust(width) for text, width in zip(columns, widths, strict=True)).rstrip()


def report(tally: Tally, fault: Fault) -> None:
    """Keep an input that is at fault, and say how to read it again."""
    FOLDER.mkdir(exist_ok=True)
    known = len(list(FOLDER.glob(f"{tally.reader}-*.json")))
    path = FOLDER / f"{tally.reader}-{known + 1}.json"
    path.write_text(
        json.dumps(
            {
                "reader": tally.reader,
                "kind": fault.kind,
                "what": fault.what,
                "seed": tally.seed,
                "number": fault.number,
                "replay": f"PYTHONPATH=tests python -m hostile.run --replay {path}",
                "hex": fault.data.hex(),
            },
            indent=1,
        )
    )
    lines = fault.what.replace("\n", " | ")[:300]
    print(f"  {fault.kind}: {lines}\n    {len(fault.data)} bytes, {path}: {fault.data[:80].hex()}", flush=True)


def replay(path: Path) -> int:
    """Read one kept input again."""
    kept = json.loads(path.read_text())
    reader: Reader = next(each for each in all_readers() if each.name == kept["reader"])
    tally = Tally(reader.name, kept["seed"])
    with judged():
        feed(reader, bytes.fromhex(kept["hex"]), tally)
    reader.close()
    print(row(HEAD), row(cells(tally)), sep="\n")
    for fault in tally.faults.values():
        print(f"  {fault.kind}: {fault.what}")
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
