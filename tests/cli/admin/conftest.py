"""Running tfs-admin in this process, without the variables of the environment that it reads."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tfs_client.cli.admin import command

VARIABLES = ("TFS_SERVER", "TFS_MODEL", "TFS_TIMEOUT", "TFS_TOKEN", "TFS_CA", "TFS_PROFILE")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


class Ran:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def line(self) -> str:
        """What a failure said: one line, in the command's name."""
        assert self.err.count("\n") == 1, self.err
        assert self.err.startswith("tfs-admin: ")
        return self.err


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run the command; gives exit code, output and error output."""

    def run(*arguments: object) -> Ran:
        code = command.main([str(argument) for argument in arguments])
        return Ran(code, *capsys.readouterr())

    return run
