"""The record of a run: a file next to the output with what determines its rows.

It contains the options, the names of classes (their number and hash: a file may have changed), and the preparation of
pictures that followed from the options and the model's signature. --resume compares them, so that a run does not add
different rows. The record also contains the working directory if names of pictures are relative to it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable

from tfs_client._printable import shown
from tfs_client.cli.predict.arguments import PredictOptions
from tfs_client.cli.predict.bulk.safe_files import open_existing, replacing, temporary_of
from tfs_client.cli.predict.contradictions import PREPARATION_OPTIONS
from tfs_client.cli.predict.report import preparation_for_machines
from tfs_client.errors import ConfigError, TFServingError
from tfs_client.images import Labels, Preparation

FOLDER, LABELS, PREPARATION = "folder", "labels", "preparation"
MAX_SIZE = 1 << 26  # bytes; the record contains the values of --input

Record = dict[str, object]

_ADVICE = "Remove it to continue without comparing options, or use --overwrite to start again"

OPTIONS = (
    "version",
    "label",
    "signature",
    "image_input",
    "input",
    *PREPARATION_OPTIONS,
    "encoded",
    "task",
    "output_name",
    "top",
    "labels_offset",
    "softmax",
    "min_score",
    "max_detections",
)


def record_of(
    options: PredictOptions, model: str, labels: Labels | None = None, preparation: Preparation | None = None
) -> Record:
    """Return what determines a row, with the types that JSON has.

    Args:
        options: the command's options.
        model: the name of the model.
        labels: the names of classes; None without any.
        preparation: how pictures become inputs; None if their files are sent.
    """
    found = {name: getattr(options, name) for name in OPTIONS}
    resolved = None if preparation is None else preparation_for_machines(preparation)
    record: Record = json.loads(
        json.dumps({"model": model, **found, LABELS: _described(labels), PREPARATION: resolved})
    )
    return record


def _described(labels: Labels | None) -> object:
    """Return the source of class names, their count, and a hash of their numbers and names."""
    if labels is None:
        return None
    digest = hashlib.sha256()
    for number, name in sorted(labels.names.items()):
        digest.update(f"{number}\0{name}\0".encode("utf-8", "surrogatepass"))
    return {"source": labels.source, "count": len(labels.names), "sha256": digest.hexdigest()}


def path_for(output: str) -> str:
    """Return the path of the record."""
    return f"{output}.run.json"


def files_of(output: str) -> list[str]:
    """Return the paths of the record and of the temporary file that becomes it."""
    return [path_for(output), temporary_of(path_for(output))]


def write(output: str, record: Record) -> None:
    """Write the record atomically."""
    with replacing(path_for(output)) as file:
        file.write(json.dumps(record, indent=2).encode("ascii") + b"\n")


def check(output: str, record: Record) -> None:
    """Raise ConfigError if the output was started with other options. An output without a record passes.

    An option that the record lacks, as an earlier version of this package did not have it, differs if it is set.
    """
    before = _before(output)
    if not before:
        return
    options = [name for name in record if name != PREPARATION]
    if changes := [change for name in options if (change := _change(name, before, record))]:
        raise ConfigError(
            f"{output!r} was started with other options: {'; '.join(changes)}. Use the same options, or --overwrite to "
            "start again"
        )
    if PREPARATION in before and (differing := _differing(before[PREPARATION], record[PREPARATION])):
        raise ConfigError(
            f"{output!r} has rows of pictures that were prepared otherwise, as the model or a preset has changed: "
            f"{differing}. Write to another --output, or use --overwrite to start again"
        )


def _change(name: str, before: Record, record: Record) -> str:
    """Describe how an option differs; empty if it is the same."""
    old, new = before.get(name), record[name]
    if old == new or (name not in before and not _is_set(name, new)):
        return ""
    if name == LABELS:
        return _labels_change(old, new)
    return f"{_flag(name)} was {_said(name, old)} and is now {_said(name, new)}"


def _said(name: str, value: object) -> str:
    """Return what the command line says of an option."""
    if name == "exif" and isinstance(value, bool):
        return "on" if value else "off"
    if value is None or value is False or value == []:
        return "not given"
    if name == "size" and isinstance(value, list):
        return "x".join(map(str, value))
    return "given" if value is True else shown(value)


def _is_set(name: str, value: object) -> bool:
    """Whether an option differs from its default."""
    if name == "exif":
        return value is False
    return value not in (None, False, []) or (value == 0 and value is not False)


def _labels_change(old: object, new: object) -> str:
    """Describe how class names differ; empty if they are the same, in whichever file."""
    if isinstance(old, dict) and isinstance(new, dict):
        if all(old.get(key) == new[key] for key in ("count", "sha256")):
            return ""
        if old.get("count") == new["count"]:
            return f"--labels had other names: was {shown(old.get('source'))} and is now {shown(new['source'])}"
    return f"--labels was {_names(old)} and is now {_names(new)}"


def _names(labels: object) -> str:
    if not isinstance(labels, dict):
        return "not given" if labels is None else shown(labels)
    return f"{shown(labels.get('source'))} with {shown(labels.get('count'))} names"


def _differing(before: object, now: object) -> str:
    """Describe how a preparation differs from another; empty if it does not."""
    if before == now:
        return ""
    if not isinstance(before, dict) or not isinstance(now, dict):
        return f"the preparation was {shown(before)} and is {shown(now)}"
    names = [name for name in now if before.get(name) != now[name] and name != "assumed"]
    return "; ".join(f"{name} was {shown(before.get(name))} and is {shown(now[name])}" for name in names)


def folder_of(output: str, names: Iterable[str]) -> str | None:
    """Return the directory that names of pictures are relative to; None if all are absolute.

    Raises ConfigError if the names in the output are relative to another directory.
    """
    folder = _before(output).get(FOLDER)
    before = folder if isinstance(folder, str) else None
    if all(map(os.path.isabs, names)):
        return before
    here = os.getcwd()
    if before not in (None, here):
        raise ConfigError(
            f"{output!r} has names of pictures relative to the directory {before!r}, and the current directory is "
            f"{here!r}: run the command there, use absolute paths, or --overwrite to start again"
        )
    return here


def _before(output: str) -> Record:
    """Read the record of an output; empty if there is none."""
    path = path_for(output)
    try:
        with open_existing(path) as file:
            data = file.read(MAX_SIZE + 1)
        before = json.loads(data) if len(data) <= MAX_SIZE else None
    except FileNotFoundError:
        return {}
    except TFServingError:
        raise
    except Exception as error:  # I/O errors; a file that is not JSON or is nested too deeply
        raise ConfigError(f"cannot read {path!r}: {error}. {_ADVICE}") from error
    if not isinstance(before, dict) or not isinstance(before.get(FOLDER), str | None):
        raise ConfigError(f"{path!r} was not written by tfs-predict. {_ADVICE}")
    return before


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
