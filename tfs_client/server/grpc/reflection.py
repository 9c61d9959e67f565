"""gRPC's server reflection (grpc/reflection/v1/reflection.proto), for tools without .proto files.

The versions v1 and v1alpha differ only in their names. Source of the answers: gRPC's own services, such as
src/python/grpcio_reflection/grpc_reflection/v1alpha/_base.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import grpc

from tfs_client.errors import DecodeError, ResourceExhaustedError, UnauthenticatedError
from tfs_client.server.access.security import check_caller
from tfs_client.server.grpc.messages import parse, plain
from tfs_client.server.grpc.streams import Stream, Streams

if TYPE_CHECKING:
    from google.protobuf.descriptor import FileDescriptor, MethodDescriptor
    from google.protobuf.descriptor_pool import DescriptorPool

    from tfs_client.protos.grpc.reflection.v1 import reflection_pb2 as schema

SERVICES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")

MAX_REQUEST = 1 << 16  # bytes of an inflated request; it contains only a name


class ReflectionService:
    """Answers the questions of tools about services and messages.

    Args:
        services: the full names of the services that the server offers, without those of reflection.
        token: what callers must send; None: nothing.
    """

    def __init__(self, services: Sequence[str], token: str | None = None) -> None:
        self._services = sorted((*services, *SERVICES))
        self._token = token

    def handlers(self, streams: Streams) -> tuple[grpc.GenericRpcHandler[bytes, bytes], ...]:
        """Return the handlers for a grpc.Server."""
        methods = {"ServerReflectionInfo": streams.handler(self._serve)}
        return tuple(grpc.method_handlers_generic_handler(service, methods) for service in SERVICES)

    def _serve(self, stream: Stream) -> None:
        try:
            check_caller(self._token, stream.metadata)
            while (request := stream.read()) is not None:
                if not stream.write(self.answer(plain(request, MAX_REQUEST))):
                    return
        except UnauthenticatedError as error:
            stream.end(grpc.StatusCode.UNAUTHENTICATED, error.details)
        except (DecodeError, ResourceExhaustedError) as error:
            stream.end(grpc.StatusCode.INTERNAL, f"the request is not a ServerReflectionRequest: {error}")
        else:
            stream.end()

    def answer(self, data: bytes) -> bytes:
        """Answer a ServerReflectionRequest with a ServerReflectionResponse. Raises DecodeError."""
        from tfs_client.protos.grpc.reflection.v1.reflection_pb2 import (
            ServerReflectionRequest,
            ServerReflectionResponse,
        )

        request = parse(ServerReflectionRequest, data)
        response = ServerReflectionResponse(valid_host=request.host, original_request=request)
        try:
            self._fill(response, request)
        except KeyError:
            response.error_response.error_code = grpc.StatusCode.NOT_FOUND.value[0]
            response.error_response.error_message = grpc.StatusCode.NOT_FOUND.value[1]
        return response.SerializeToString()

    def _fill(self, response: schema.ServerReflectionResponse, request: schema.ServerReflectionRequest) -> None:
        """Fill in the answer. Raises KeyError for names and numbers that the schema does not contain."""
        from tfs_client.protos import pool

        schema = pool()
        asked = request.WhichOneof("message_request")
        if asked == "list_services":
            for service in self._services:
                response.list_services_response.service.add(name=service)
        elif asked == "file_by_filename":
            _fill_files(response, schema.FindFileByName(request.file_by_filename))
        elif asked == "file_containing_symbol":
            _fill_files(response, _file_of(schema, request.file_containing_symbol))
        elif asked == "file_containing_extension":
            extended = schema.FindMessageTypeByName(request.file_containing_extension.containing_type)
            number = request.file_containing_extension.extension_number
            found = schema.FindExtensionByNumber(extended, number)
            _fill_files(response, schema.FindFileContainingSymbol(found.full_name))
        elif asked == "all_extension_numbers_of_type":
            extended = schema.FindMessageTypeByName(request.all_extension_numbers_of_type)
            numbers = response.all_extension_numbers_response
            numbers.base_type_name = extended.full_name
            numbers.extension_number.extend(sorted(each.number for each in schema.FindAllExtensions(extended)))
        else:
            response.error_response.error_code = grpc.StatusCode.INVALID_ARGUMENT.value[0]
            response.error_response.error_message = grpc.StatusCode.INVALID_ARGUMENT.value[1]


def _file_of(schema: DescriptorPool, symbol: str) -> FileDescriptor:
    try:
        return schema.FindFileContainingSymbol(symbol)
    except KeyError:  # also raised for methods
        method: MethodDescriptor = schema.FindMethodByName(symbol)
        return method.containing_service.file


def _fill_files(response: schema.ServerReflectionResponse, file: FileDescriptor) -> None:
    """Add a file, followed by all that it imports."""
    found: dict[str, bytes] = {}

    def add(file: FileDescriptor) -> None:
        found[file.name] = file.serialized_pb
        for dependency in file.dependencies:
            if dependency.name not in found:
                add(dependency)

    add(file)
    response.file_descriptor_response.file_descriptor_proto.extend(found.values())
