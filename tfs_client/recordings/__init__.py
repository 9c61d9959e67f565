"""Recordings: record a client's calls in files, replay them, and compare them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfs_client.recordings.episodes import Episode as Episode
    from tfs_client.recordings.recording import Recording as Recording
    from tfs_client.recordings.recording_file import DamagedRecordingError as DamagedRecordingError
    from tfs_client.recordings.recording_file import RecordingFile as RecordingFile

_HOME_OF = {
    "DamagedRecordingError": "recording_file",
    "Episode": "episodes",
    "Recording": "recording",
    "RecordingFile": "recording_file",
}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'tfs_client.recordings' has no attribute {name!r}")
    value = getattr(import_module(f"tfs_client.recordings.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
