"""Errors of files and of loading, as the status codes and texts that the model server would give."""

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
from tfs_client.server.failures import details_of, said, text_of

# TensorFlow's table of system errors (tensorflow/core/platform/errors.cc), as far as files know them.
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
    """A load that needs a package which is not installed, so that trying again is of no use."""


class ForbiddenPathError(PermissionDeniedError):
    """A directory that this model may not be loaded from, so that trying again is of no use."""


FINAL = (MissingPackageError, ForbiddenPathError)


def file_error(error: OSError, path: str) -> CallError:
    """What the runtime says of a file that it cannot read: ``<path>; No such file or directory``."""
    named = error.filename if isinstance(error.filename, str) else path
    number = error.errno if isinstance(error.errno, int) else 0  # code of a model may put anything there
    code = BY_ERRNO.get(number, StatusCode.UNKNOWN)
    return call_error(code, f"{named}; {os.strerror(number) if number else said(error)}")


def load_error(error: BaseException, path: str) -> CallError:
    """Whatever went wrong with a version, as an error with a code.

    A CallError says it itself. Our own errors blame what is in the files, others the program.
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
    """``NOT_FOUND: the text``, as statuses are written in logs and inside of other texts."""
    return f"{error.code.name}: {error.details}"
