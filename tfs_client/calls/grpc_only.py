"""Calls that REST does not have."""

from __future__ import annotations

from typing import Any

from tfs_client.errors import UnimplementedError


class GrpcOnly:
    """The REST face of a call that has none."""

    method: str

    def write_rest(self) -> tuple[str, bytes]:
        """Raises UnimplementedError."""
        raise UnimplementedError(
            f"REST has no {self.method}",
            self.method,
            hint="gRPC has it: give the server's gRPC port as the target, e.g. 'host:8500'.",
        )

    def read_rest(self, reply: bytes) -> Any:
        """Never called: there is no reply to a request that cannot be written."""
        raise UnimplementedError(f"REST has no {self.method}", self.method)
