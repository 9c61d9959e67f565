"""Calls that exist only over gRPC."""

from __future__ import annotations

from typing import Any

from tfs_client.errors import UnimplementedError


class GrpcOnly:
    """Base class of calls that REST does not have: refuses to write them."""

    method: str

    def write_rest(self) -> tuple[str, bytes]:
        """Raise UnimplementedError."""
        raise UnimplementedError(
            f"REST does not have {self.method}",
            self.method,
            hint="Use gRPC: give the server's gRPC port as the target, e.g. 'host:8500'.",
        )

    def read_rest(self, reply: bytes) -> Any:
        """Raise UnimplementedError; never called, because no request was sent."""
        raise UnimplementedError(f"REST does not have {self.method}", self.method)
