"""The library's errors as MLflow has them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2 as codes

from ..errors import (
    AccessDeniedError,
    ContentError,
    ModfileError,
    NotFoundError,
    RegistryError,
    UsageError,
    VerificationError,
    WorkspaceError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_CODES = (
    (NotFoundError, codes.RESOURCE_DOES_NOT_EXIST),
    (AccessDeniedError, codes.PERMISSION_DENIED),
    (VerificationError, codes.DATA_LOSS),
    (RegistryError, codes.TEMPORARILY_UNAVAILABLE),
    ((UsageError, ContentError, WorkspaceError), codes.INVALID_PARAMETER_VALUE),
)


@contextmanager
def translated() -> Iterator[None]:
    """Let errors of the library become MLflow's.

    Raises:
        MlflowException: for any of them.
    """
    try:
        yield
    except ModfileError as error:
        code = next((code for kinds, code in _CODES if isinstance(error, kinds)), codes.INTERNAL_ERROR)
        raise MlflowException(str(error), code) from error
