"""Errors of files and loads, with the model server's status codes and texts."""

from __future__ import annotations

import errno
import os

from tfs_client.errors import (
    CallError,
    FailedPreconditionError,
    PermissionDeniedError,
    StatusCode,
    TFServingError,
    call_error,
)
from tfs_client.server.model_failures import details_of, message_of, text_of

# TensorFlow's table of system errors (tensorflow/core/platform/errors.cc), those that files can cause.
BY_ERRNO = {
    errno.ENOENT: StatusCode.NOT_FOUND,
    errno.EACCES: StatusCode.PERMISSION_DENIED,
    errno.EPERM: StatusCode.PERMISSION_DENIED,
    errno.ENOTDIR: StatusCode.FAILED_PRECONDITION,
    errno.EISDIR: StatusCode.FAILED_PRECONDITION,
    errno.ENAMETOOLONG: StatusCode.INVALID_ARGUMENT,
    errno.ENOSPC: StatusCode.RESOURCE_EXHAUSTED,
    errno.EMFILE: StatusCode.RESOURCE_EXHAUSTED,
    errno.ENOMEM: StatusCode.RESOURCE_EXHAUSTED,
}


class MissingPackageError(FailedPreconditionError):
    """A load needs a package that is not installed. It is not retried."""


class ForbiddenPathError(PermissionDeniedError):
    """A model may not be loaded from this directory. The load is not retried."""


NOT_RETRIED = (MissingPackageError, ForbiddenPathError)


def file_error(error: OSError, path: str) -> CallError:
    """Return TensorFlow's error for a file that cannot be read: ``<path>; No such file or directory``."""
    named = error.filename if isinstance(error.filename, str) else path
    number = error.errno if isinstance(error.errno, int) else 0  # a model's code may set it to anything
    code = BY_ERRNO.get(number, StatusCode.UNKNOWN)
    return call_error(code, f"{named}; {os.strerror(number) if number else message_of(error)}")


def load_error(error: BaseException, path: str) -> CallError:
    """Convert any error of a version to an error with a code.

    A CallError keeps its code; an OSError and a MemoryError have codes of TensorFlow's. Other errors of this package
    are about the contents of files, so INVALID_ARGUMENT; all others are UNKNOWN.
    """
    if isinstance(error, CallError):
        details = details_of(error)
        if error.code and details is error.details:
            return error
        return call_error(error.code or StatusCode.UNKNOWN, details)
    if isinstance(error, OSError):
        return file_error(error, path)
    if isinstance(error, MemoryError):
        return call_error(StatusCode.RESOURCE_EXHAUSTED, f"{path}: not enough memory")
    code = StatusCode.INVALID_ARGUMENT if isinstance(error, TFServingError) else StatusCode.UNKNOWN
    return call_error(code, text_of(error))


def status_text(error: CallError) -> str:
    """Format an error as ``NOT_FOUND: the text``, as statuses appear in logs and in other texts."""
    return f"{error.code.name}: {error.details}"
