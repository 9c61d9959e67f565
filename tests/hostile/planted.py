"""Does the harness find what it should? ``make fuzz-check`` plants faults in a copy of the package, one at a time.

Each patch replaces one exact text, and it is an error if the source no longer has the text. Prints how many seconds the
harness took to find each, and exits with 1 when one is not found within 60.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60


@dataclass(frozen=True)
class Patch:
    """A fault: which text of which file becomes which, and which readers may find it."""

    name: str
    file: str
    old: str
    new: str
    readers: str


PATCHES = (
    Patch(
        "a varint of nine bytes loses its ninth",
        "_codec/varints.py",
        "    if longest > 8:\n",
        "    if longest > 9:\n",
        "tensor",
    ),
    Patch(
        "a length that goes beyond the message is not checked",
        "_codec/wire.py",
        "                size, at = read_varint(data, at, end)\n            stop = at + size\n",
        "                size, at = read_varint(data, at, end)\n            stop = min(end, at + size)\n",
        "tensor,predict-reply",
    ),
    Patch(
        "halves are read in the wrong byte order",
        "_codec/tensors.py",
        'np.dtype("<u2"), count).view(dtype)',
        'np.dtype("<u2"), count).byteswap().view(dtype)',
        "tensor",
    ),
    Patch(
        "the last value is repeated without a bound",
        "_codec/tensors.py",
        "> budget:\n        raise DecodeError(",
        "> budget << 20:\n        raise DecodeError(",
        "tensor",
    ),
    Patch(
        "a second packed piece of a field is dropped",
        "_codec/repeated.py",
        "            self._append(field, self._whole(field, start, stop))\n",
        "            self._whole(field, start, stop)\n",
        "tensor",
    ),
    Patch(
        "pieces of a message are merged in the wrong order",
        "_codec/wire.py",
        'b"".join(data[start:stop] for start, stop in spans)',
        'b"".join(data[start:stop] for start, stop in reversed(spans))',
        "predict-request,metadata",
    ),
    Patch(
        "text that is not UTF-8 is accepted",
        "_codec/wire.py",
        '        return str(data[start:stop], "utf-8")\n',
        '        return str(data[start:stop], "utf-8", "replace")\n',
        "model-spec,predict-reply",
    ),
    Patch(
        "bools of JSON are taken for numbers",
        "_codec/rest_json.py",
        "    if not set(map(type, flat)) <= wanted:\n",
        "    if not set(map(type, flat)) <= wanted | {bool}:\n",
        "rest-predict-one",
    ),
    Patch(
        "pictures of any format are decoded",
        "images/formats.py",
        "    raise ImageError(_refusal(_name_of(data), formats))\n",
        '    return Image.open(io.BytesIO(data), formats=["ICO", "PCX", "SGI", "TGA", "DDS"])\n',
        "picture",
    ),
    Patch(
        "the checksum of a record is not looked at",
        "_codec/tfrecord.py",
        "        if body[size:] != _checksum(record):\n",
        "        if False:\n",
        "tfrecord",
    ),
    Patch(
        "strings of a FlexBuffer may be longer than the data",
        "server/backends/flexbuffers.py",
        "or self._left < 0:",
        "or False:",
        "flexbuffer",
    ),
    Patch(
        "the server takes the last of members that repeat a name",
        "server/rest/json_reader.py",
        "            if _count_members(value) == len(_MEMBER.findall(text)):\n",
        "            if True:\n",
        "server-predict",
    ),
)


def main(arguments: list[str]) -> int:
    """Plant each fault, or those whose names have a word of the arguments in them, and look for it."""
    chosen = [patch for patch in PATCHES if not arguments or any(word in patch.name for word in arguments)]
    missed = 0
    for patch in chosen:
        seconds = sought(patch)
        missed += seconds is None
        print(f"{patch.name:60} {'not found' if seconds is None else f'found after {seconds:.1f} s'}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} found within {SECONDS} s")
    return 1 if missed else 0


def sought(patch: Patch) -> float | None:
    """The seconds until the harness finds the fault, start of the program included; None when it does not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(ROOT / "tfs_client", folder / "tfs_client", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(ROOT / "tests" / "hostile", folder / "hostile", ignore=shutil.ignore_patterns("__pycache__"))
        plant(patch, folder / "tfs_client")
        started = time.monotonic()
        environment = {
            **os.environ,
            "PYTHONPATH": name,
            "FUZZ_READERS": patch.readers,
            "FUZZ_SECONDS": str(SECONDS / len(patch.readers.split(",")) if "," in patch.readers else SECONDS),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        command = [sys.executable, "-m", "hostile.run", "--first-fault"]
        try:
            done = subprocess.run(command, cwd=name, env=environment, capture_output=True, timeout=SECONDS + 20)
        except subprocess.TimeoutExpired:
            return None
        took = time.monotonic() - started
        if done.returncode not in (0, 1) or b"Traceback" in done.stderr:
            raise RuntimeError(f"{patch.name}: the harness itself failed\n{done.stderr.decode()[-2000:]}")
        return took if done.returncode == 1 and took <= SECONDS else None


def plant(patch: Patch, package: Path) -> None:
    """Change the copy. Raises LookupError where the source has changed: then the patch must follow it."""
    path = package / patch.file
    text = path.read_text()
    if text.count(patch.old) != 1:
        raise LookupError(f"{patch.name}: expected {patch.old!r} once in {patch.file}, got it {text.count(patch.old)}x")
    path.write_text(text.replace(patch.old, patch.new))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
