"""RecordingFile: calls in a TFRecord file of PredictionLogs, with a JSON sidecar.

The TFRecord file has the successful calls of models, and nothing else: TensorFlow reads it, and a model server accepts
it as warmup requests. The sidecar, PATH.json, has the order of all calls and whatever has no PredictionLog
(``sidecar``). A TFRecord file without a sidecar is a recording, too.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from dataclasses import replace
from typing import BinaryIO, NamedTuple

from tfs_client._codec import regular_files, tfrecord
from tfs_client._printable import counted, shown
from tfs_client.errors import ConfigError, DecodeError, RecordingError, StatusCode
from tfs_client.recordings import in_place, records, replacement, sidecar
from tfs_client.recordings.episodes import LOGGED, LOOKUPS, Episode
from tfs_client.recordings.file_lock import locked

_ADVICE = "RecordingFile.write(path, error.episodes) keeps the calls that can be read; or delete the file"


class DamagedRecordingError(DecodeError):
    """A recording is damaged, for example cut off.

    Attributes:
        path: the damaged file, the TFRecord file or its sidecar.
        offset: where the damage begins, in bytes.
        episodes: all calls that can be read.
    """

    def __init__(self, path: str, offset: int, why: str, episodes: Iterable[Episode] = ()) -> None:
        self.path: str = path
        self.offset: int = offset
        self.episodes: tuple[Episode, ...] = tuple(episodes)
        self._why = why
        count = f"; {counted(len(self.episodes), 'calls')} can be read" if self.episodes else ""
        super().__init__(f"the recording {path!r} is damaged at offset {offset}: {why}{count}. {_ADVICE}")

    def __reduce__(self) -> tuple[object, ...]:
        return DamagedRecordingError, (self.path, self.offset, self._why, self.episodes)


class RecordingFile:
    """A recording on disk. Threads and processes may append to it and read it at the same time.

    Args:
        path: the TFRecord file; the sidecar is ``path`` with ".json" added. Neither needs to exist.

    Attributes:
        path: the TFRecord file.
        sidecar: the JSON file.
        episodes: the calls that ``read`` has found, in order; empty before.

    Raises ConfigError for a path that no file can have.
    """

    # What must hold: whoever holds the lock of the TFRecord file sees both files whole, or damaged by a program that
    # was killed while it wrote. So
    #
    # - a call is appended to the TFRecord file first, then to the sidecar. Records that the sidecar does not mention
    #   are calls, too, so a program that is killed in between loses nothing. Empty files are as good as none;
    # - an append that fails restores both ends, and one that finds a damaged end raises instead of hiding the damage;
    # - both files are replaced together (``replacement``), and never a PATH.json that is something else;
    # - an entry has the checksum of its record, so files that do not belong together are noticed.

    def __init__(self, path: str | os.PathLike[str]) -> None:
        found = os.fspath(path) if isinstance(path, os.PathLike) else path
        if not isinstance(found, str) or not found or "\0" in found:
            raise ConfigError(f"expected the path of a recording, got {shown(found)}")
        self.path: str = found
        self.sidecar: str = f"{self.path}.json"
        self.episodes: tuple[Episode, ...] = ()
        self._known = (0, 0, 0, 0)  # device, inode, end, and number of records of the TFRecord file

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> RecordingFile:
        """Read a recording.

        Raises DamagedRecordingError, a DecodeError with the offset and with all calls that can be read; RecordingError
        if neither file exists, one cannot be opened, or the sidecar is another program's file.
        """
        found = cls(path)
        try:
            found.episodes = tuple(found._read())
        except OSError as error:
            raise RecordingError(f"the recording {found.path!r} cannot be read: {error.strerror or error}") from error
        return found

    @classmethod
    def write(cls, path: str | os.PathLike[str], episodes: Iterable[Episode]) -> None:
        """Write a whole recording, and replace the one at this path. If this fails, the old one stays.

        A program that is killed between the replacement of both files leaves the new sidecar with ".unfinished" added
        to its name. It is read there, and the next call that is written puts it in its place.

        Raises ConfigError for a call that the format cannot hold; RecordingError if there are files of another kind,
        which would be lost; OSError.
        """
        file = cls(path)
        place = os.path.realpath(file.path)
        entries: list[bytes] = []
        frames: list[bytes] = []
        for episode in episodes:
            entry, frame = _entry(episode, len(frames))
            entries.append(sidecar.line(entry))
            frames += [] if frame is None else [frame]
        regular_files.check(file.sidecar)
        is_new = not os.path.lexists(place)
        with locked(place) as old:
            try:
                if is_new:
                    replacement.discard(file.path, file.sidecar)
                file._check_kind(old)
                replacement.replace_both(file.path, b"".join(frames), file.sidecar, sidecar.document(entries))
            except BaseException:
                if is_new and not os.fstat(old.fileno()).st_size:
                    in_place.remove_if_empty(place)
                raise

    @property
    def exists(self) -> bool:
        """Whether there is a recording: the TFRecord file or the sidecar, of which one is not empty."""
        return any(map(in_place.size, (self.path, replacement.sidecar_of(self.path, self.sidecar))))

    def append(self, episode: Episode) -> None:
        """Add a call. Its record and its entry are in the files when this returns.

        Raises DamagedRecordingError if the files do not end as they should; RecordingError if the sidecar is another
        program's file; ConfigError for a call that the format cannot hold; OSError.
        """
        _check(episode)
        regular_files.check(self.sidecar)
        is_new = not os.path.lexists(self.path)
        with locked(self.path) as file:
            end, count = self._end_of(file)
            entry, frame = _entry(episode, count)
            line = sidecar.line(entry)
            try:
                if is_new:
                    replacement.discard(self.path, self.sidecar)
                replacement.finish(self.path, self.sidecar)
                if frame is not None:
                    in_place.write_at(file, end, frame)
                self._append_entry(line)
            except BaseException:
                if not self._ends_with(line):  # an interrupt may come when all is written
                    file.truncate(end)
                    if is_new and not end:
                        in_place.remove_if_empty(self.path)
                raise
            if frame is not None:
                self._know(file, end + len(frame), count + 1)

    # --- the sidecar ---------------------------------------------------------------------------------------------

    def _append_entry(self, line: bytes) -> None:
        is_new = not os.path.lexists(self.sidecar)
        with open(self.sidecar, "r+b", buffering=0, opener=in_place.created) as file:
            size = file.seek(0, os.SEEK_END)
            if size == 0:
                try:
                    in_place.write_or_restore(file, 0, sidecar.document([line]), b"")
                except BaseException:
                    if is_new:
                        in_place.remove_if_empty(self.sidecar)
                    raise
                return
            end = size - len(sidecar.CLOSING)
            file.seek(0)
            is_ours = file.read(len(sidecar.HEADER)) == sidecar.HEADER
            file.seek(max(end, 0))
            if is_ours and file.read() == sidecar.CLOSING:
                comma = b"," if end > len(sidecar.HEADER) else b""
                in_place.write_or_restore(file, end, comma + b"\n" + line + sidecar.CLOSING, sidecar.CLOSING)
                return
            file.seek(0)
            data = in_place.all_of(file)
        self._check_sidecar(data)
        try:
            others = sidecar.objects(data)
        except DecodeError as error:
            offset = sidecar.read(data).offset
            raise DamagedRecordingError(self.sidecar, offset, str(error)) from None
        # An editor has changed the line breaks; the document is written anew.
        replacement.replace_one(self.sidecar, sidecar.document([*map(sidecar.dumped, others), line]))

    def _ends_with(self, line: bytes) -> bool:
        """Return whether the sidecar's last entry is this one."""
        end = line + sidecar.CLOSING
        try:
            with open(self.sidecar, "rb") as file:
                file.seek(max(file.seek(0, os.SEEK_END) - len(end), 0))
                return file.read() == end
        except OSError:
            return False

    def _check_kind(self, file: BinaryIO) -> None:
        """Raise RecordingError if one of the files that are to be replaced is not of a recording."""
        try:
            with open(replacement.sidecar_of(self.path, self.sidecar), "rb") as other:
                data = other.read(len(sidecar.HEADER))
                self._check_sidecar(data if data == sidecar.HEADER else data + other.read())
        except FileNotFoundError:
            if not os.fstat(file.fileno()).st_size:
                return
            try:
                tfrecord.length_in(file.read(tfrecord.HEADER))
            except DecodeError as error:
                raise RecordingError(
                    f"{self.path!r} is not replaced, because it is not a TFRecord file: {error}; delete it, or choose "
                    "another path for the recording"
                ) from None

    def _check_sidecar(self, data: bytes) -> None:
        if why := sidecar.foreign(data):
            raise RecordingError(
                f"{self.sidecar!r} is not the sidecar of the recording {self.path!r}: {why}; move it away, or choose "
                "another path for the recording"
            )

    # --- the TFRecord file ---------------------------------------------------------------------------------------

    def _end_of(self, file: BinaryIO) -> tuple[int, int]:
        """Return the end of the TFRecord file and the number of its records; only new ones are visited."""
        status = os.fstat(file.fileno())
        device, inode, end, count = self._known
        if (device, inode) != (status.st_dev, status.st_ino) or end > status.st_size:
            end = count = 0
        end, count, why = _skipped(file, end, count, status.st_size)
        if why:  # or the file was written anew in its place
            end, count, why = _skipped(file, 0, 0, status.st_size)
        if why:
            raise DamagedRecordingError(self.path, end, why)
        self._know(file, end, count)
        return end, count

    def _know(self, file: BinaryIO, end: int, count: int) -> None:
        status = os.fstat(file.fileno())
        self._known = status.st_dev, status.st_ino, end, count

    # --- reading -------------------------------------------------------------------------------------------------

    def _read(self) -> list[Episode]:
        regular_files.check(self.sidecar)
        try:
            with locked(self.path, shared=True) as file, os.fdopen(os.dup(file.fileno()), "rb") as buffered:
                found, lines = _read_records(buffered), self._lines()
        except FileNotFoundError:
            found, lines = _Records([], 0), self._lines()
            if lines is None:
                raise
        episodes, damage = self._in_order(found, lines or sidecar.Lines([]))
        if damage is not None:
            raise DamagedRecordingError(*damage, episodes)
        return episodes

    def _lines(self) -> sidecar.Lines | None:
        try:
            with open(replacement.sidecar_of(self.path, self.sidecar), "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return None
        self._check_sidecar(data)
        return sidecar.read(data) if data else None

    def _in_order(self, found: _Records, lines: sidecar.Lines) -> tuple[list[Episode], tuple[str, int, str] | None]:
        """Merge records and entries. A record without an entry comes where it was written.

        Returns also the first damage: the file, the offset, and the reason.
        """
        logs = found.logs
        damage = [] if found.why is None else [(self.path, found.end, found.why)]
        mentioned = {entry.record for entry, _ in lines.entries}
        loose = [number for number in range(len(logs)) if number not in mentioned]
        episodes: list[Episode] = []
        used: set[int] = set()
        for entry, offset in lines.entries:
            number = entry.record
            while loose and loose[0] < (entry.after if number is None else number):
                episodes.append(logs[loose.pop(0)].episode)
            if number is None:
                episodes.append(entry.episode)
            elif number >= len(logs):
                damage.append((self.path, found.end, f"expected record {number}, which its sidecar mentions"))
            elif number in used:
                damage.append((self.sidecar, offset, f"record {number} has two entries"))
            else:
                used.add(number)
                log = logs[number]
                if log.belongs_to(entry):
                    whole = replace(entry.episode, request=log.episode.request, reply=log.episode.reply)
                else:
                    whole = log.episode
                    damage.append((self.sidecar, offset, f"record {number} is not the one of this entry"))
                episodes.append(whole)
        episodes += [logs[number].episode for number in loose]
        if lines.error is not None:
            damage.append((self.sidecar, lines.offset, lines.error))
        return episodes, damage[0] if damage else None


# --- one call ----------------------------------------------------------------------------------------------------


def _check(episode: Episode) -> None:
    """Raise ConfigError for a call that the format cannot hold."""
    known = (*LOGGED, *LOOKUPS)
    if episode.method not in known:
        raise ConfigError(f"expected a call of {', '.join(known)}, got {shown(episode.method)}")
    succeeded = episode.code is StatusCode.OK
    if not succeeded and episode.reply is not None:
        raise ConfigError(f"expected a call with a reply or an error, got a reply and {episode.code.name}")
    if succeeded and episode.reply is None and episode.method not in LOGGED:
        raise ConfigError(f"expected the reply of {episode.method}, got none")


def _entry(episode: Episode, number: int) -> tuple[sidecar.Entry, bytes | None]:
    """Return what the sidecar says about a call after ``number`` records, and its framed record, if it has one."""
    _check(episode)
    if not records.is_record(episode):
        return sidecar.Entry(episode, after=number), None
    try:
        frame = tfrecord.framed(records.write(episode))
    except ValueError as error:
        raise ConfigError(f"the call of {episode.method} cannot be recorded: {error}") from None
    return sidecar.Entry(episode, number, _checksum_in(frame)), frame


def _checksum_in(frame: bytes) -> int:
    (checksum,) = struct.unpack("<I", frame[-tfrecord.FOOTER :])
    return int(checksum)


# --- files -------------------------------------------------------------------------------------------------------


class _Record(NamedTuple):
    """A record that was read, and its masked checksum."""

    episode: Episode
    checksum: int

    def belongs_to(self, entry: sidecar.Entry) -> bool:
        return self.episode.method == entry.episode.method and entry.checksum in (None, self.checksum)


class _Records(NamedTuple):
    """The records up to the first damaged one: where they end, and why the next one cannot be read."""

    logs: list[_Record]
    end: int
    why: str | None = None


def _read_records(file: BinaryIO) -> _Records:
    file.seek(0)
    size = os.fstat(file.fileno()).st_size
    found: list[_Record] = []
    end = 0
    try:
        for record in tfrecord.read(file):
            file.seek(-tfrecord.FOOTER, os.SEEK_CUR)
            found.append(_Record(records.read(record), _checksum_in(file.read(tfrecord.FOOTER))))
            end += tfrecord.HEADER + len(record) + tfrecord.FOOTER
    except tfrecord.CutOffRecordError as error:
        return _Records(found, end, _cut_off("record", error.expected, error.got))
    except DecodeError as error:
        return _Records(found, end, str(error))
    why = _cut_off("header of a record", tfrecord.HEADER, size - end) if end < size else None
    return _Records(found, end, why)


def _cut_off(what: str, expected: int, got: int) -> str:
    return f"the {what} is cut off: expected {expected} bytes, got {got}"


def _skipped(file: BinaryIO, end: int, count: int, size: int) -> tuple[int, int, str]:
    """Walk from the end of a record to the end of the file, by the lengths of the records.

    Returns also why it does not get there; "" if it does.
    """
    while end < size:
        file.seek(end)
        try:
            length = tfrecord.length_in(file.read(tfrecord.HEADER))
        except DecodeError as error:
            return end, count, str(error)
        whole = tfrecord.HEADER + length + tfrecord.FOOTER
        if end + whole > size:
            return end, count, _cut_off("last record", whole, size - end)
        end, count = end + whole, count + 1
    return end, count, ""
