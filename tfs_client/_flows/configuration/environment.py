"""The variables of the environment that configure a client."""

from __future__ import annotations

from collections.abc import Mapping

from tfs_client._flows.configuration.keys import KEYS, Reader, seconds_of

PROFILE = "TFS_PROFILE"
VARIABLES = {
    "server": "TFS_SERVER",
    "model": "TFS_MODEL",
    "timeout": "TFS_TIMEOUT",
    "token": "TFS_TOKEN",
    "ca": "TFS_CA",
}
"""The variable of each key that has one."""

READERS: Mapping[str, Reader] = {key: KEYS[key] for key in VARIABLES} | {
    "timeout": lambda value, folder: seconds_of(str(value), folder)
}


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the text of each key whose variable is set. Empty variables count as unset."""
    return {key: text for key, name in VARIABLES.items() if (text := environment.get(name, ""))}
