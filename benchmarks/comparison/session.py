"""Session: one run over the rows of calls, with the programs of all libraries."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from comparison.alternation import Effort, Participants, flows, single_calls
from comparison.catalogue import OWN, Library, excluded, floor
from comparison.environments import ROOT, MissingError, python_of, variables
from comparison.messages import Messages, messages, wrong_request
from comparison.programs import ClientProgram, ProgramError, UnsupportedError
from comparison.rows import Row
from comparison.servers import Servers

MEMORY_CALLS = 20


class WrongTreeError(Exception):
    """A program imported tfs_client from elsewhere than it should."""


class WrongRequestError(Exception):
    """A server received other values than the row has."""


class Session:
    """The programs of the libraries, which live over all rows.

    Attributes:
        libraries: by name, the versions of each library, or why it is "missing" here, or why it "failed" to start.
    """

    def __init__(self, libraries: Sequence[Library], servers: Servers) -> None:
        self._servers = servers
        self._programs: dict[Library, ClientProgram] = {}
        self.libraries: dict[str, dict[str, Any]] = {}
        for library in libraries:
            try:
                self._programs[library] = self._program(library)
                self.libraries[library.name] = self._programs[library].hello
            except MissingError as error:
                self.libraries[library.name] = {"missing": str(error)}
                print(f"left out: {library.name}: {error}")
            except (ProgramError, WrongTreeError) as error:
                self.libraries[library.name] = {"failed": str(error)}
                print(f"FAILED: {library.name}: {error}")

    @property
    def present(self) -> list[Library]:
        """The libraries that run here."""
        return list(self._programs)

    def measure(self, row: Row, effort: Effort) -> dict[str, Any]:
        """Measure one row."""
        with TemporaryDirectory() as directory:
            sent = messages(row.call)
            sent.save(Path(directory))
            self._servers.answer(row.call, sent)
            found: dict[str, Any] = {"group": row.group, "name": row.name, "floor": floor(row).name}
            found |= {"pictures": row.pictures, "results": {}, "unsupported": {}, "failed": {}}
            programs = {}
            for library, program in self._programs.items():
                try:
                    if reason := excluded(library, row.call):
                        raise UnsupportedError(reason)
                    self._prepare(library, program, row, directory, check=True)
                    self._check_request(library, row, sent)
                    programs[library] = program
                except UnsupportedError as error:
                    found["unsupported"][library.name] = str(error)
                except (ProgramError, WrongRequestError) as error:
                    found["failed"][library.name] = str(error)
            del sent
            if floor(row) not in programs:
                found["failed"].setdefault(floor(row).name, "the floor of this row was not measured")
                return found
            if row.memory:
                return found | {"kind": "memory"} | self._memory(list(programs), row, directory)
            by_name = {library.name: library for library in programs}

            def connect(name: str) -> None:
                self._prepare(by_name[name], programs[by_name[name]], row, directory, check=False)

            taking_part = Participants({library.name: program for library, program in programs.items()}, connect)
            measured: dict[str, Any]
            if row.in_flight is None:
                found["kind"], measured = "calls", single_calls(taking_part, effort)
            else:
                found["kind"], measured = "flow", flows(taking_part, row.in_flight, effort)
            found["failed"] |= taking_part.failed
            if (base := measured.get(floor(row).name)) is not None:
                found["results"] = {name: one.result(base) for name, one in measured.items()}
            return found

    def close(self) -> None:
        """End all programs."""
        for program in self._programs.values():
            program.close()

    def _program(self, library: Library) -> ClientProgram:
        python = python_of(library.environment)
        environment = variables(library.environment, library.tree)
        program = ClientProgram(python, library.module, *library.arguments, environment=environment)
        imported, tree = program.hello.pop("imported"), library.tree or ROOT
        if imported is not None and Path(imported).resolve().parent != (tree / "tfs_client").resolve():
            program.close()
            raise WrongTreeError(f"expected tfs_client of {tree}, got {imported}")
        return program

    def _prepare(self, library: Library, program: ClientProgram, row: Row, directory: str, *, check: bool) -> None:
        program.ask(
            "prepare",
            target=self._servers.target(row.call, library.kserve),
            style=row.call.style,
            rest=row.call.server != "grpc",
            directory=directory,
            check=check,
        )

    def _check_request(self, library: Library, row: Row, sent: Messages) -> None:
        got = self._servers.last_request(row.call, library.kserve)
        if library == OWN and got is not None and got != sent.request:
            raise WrongRequestError(f"{library.name} and the floor sent different bytes")
        if got is not None and (wrong := wrong_request(row.call, sent, got, library.kserve)):
            raise WrongRequestError(f"{library.name} sent something else: {wrong}")

    def _memory(self, libraries: list[Library], row: Row, directory: str) -> dict[str, Any]:
        """The peak memory of new processes; all have read the arrays of the row."""
        found: dict[str, Any] = {"results": {}, "failed": {}}
        for library in libraries:
            try:
                with closing(self._program(library)) as program:
                    self._prepare(library, program, row, directory, check=False)
                    program.ask("call", times=MEMORY_CALLS)
                    found["results"][library.name] = program.ask("peak")
            except ProgramError as error:
                found["failed"][library.name] = str(error)
        if (base := found["results"].get(floor(row).name)) is not None:
            for one in found["results"].values():
                one["ratio"] = one["bytes"] / base["bytes"]
        return found
