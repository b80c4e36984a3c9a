"""What the server says besides content: errors as the distribution specification has them ("Error Codes"), JSON."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from .. import strictjson
from ..errors import ContentError, InvalidReferenceError, NotFoundError, VerificationError
from .refusals import BusyError, ConflictError, FullError, MissingError, OutOfOrderError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..errors import ModfileError

JSON = "application/json"
_MOST_NAMED = 100


class Code(Enum):
    """An error's code, the status that goes with it, and what it says if there is nothing more to say."""

    BLOB_UNKNOWN = (404, "there is no such blob in this repository")
    BLOB_UPLOAD_INVALID = (400, "the upload cannot go on")
    BLOB_UPLOAD_UNKNOWN = (404, "there is no such upload; begin a new one")
    DIGEST_INVALID = (400, "the digest is not that of the content, or is none")
    MANIFEST_BLOB_UNKNOWN = (404, "the manifest names content that is not in this repository")
    MANIFEST_INVALID = (400, "the manifest breaks its format")
    MANIFEST_UNKNOWN = (404, "there is no such manifest in this repository")
    NAME_INVALID = (400, "this is no name of a repository or tag")
    NAME_UNKNOWN = (404, "there is no such repository")
    SIZE_INVALID = (400, "the length is not that of the content")
    UNAUTHORIZED = (401, "log in first")
    DENIED = (403, "this is not allowed here")
    UNSUPPORTED = (405, "this is not supported")
    TOOMANYREQUESTS = (429, "too much at once; try again later")
    UNKNOWN = (500, "the registry failed")

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        self.message = message


class Refusal(Exception):
    """A request that is not granted.

    Args:
        code: what is wrong, for programs.
        message: what is wrong, for people; the code's own sentence unless it is said.
        status: the HTTP status, unless it is the code's own.
        detail: more of it, any JSON.
        headers: what the answer says besides.
    """

    def __init__(
        self,
        code: Code,
        message: str = "",
        *,
        status: int = 0,
        detail: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message or code.message)
        self.code = code
        self.status = status or code.status
        self.detail = detail
        self.headers = dict(headers or {})

    def body(self) -> bytes:
        """Return the answer's body."""
        return error_body(self.code, str(self), self.detail)

    def response(self) -> Response:
        """Return the answer."""
        return Response(self.body(), self.status, self.headers, JSON)


def error_body(code: Code, message: str, detail: object = None) -> bytes:
    """Return the JSON that tells of one error."""
    error: dict[str, Any] = {"code": code.name, "message": message}
    if detail is not None:
        error["detail"] = detail
    return strictjson.dump({"errors": [error]})


def json_response(value: object, headers: Mapping[str, str] | None = None, media_type: str = JSON) -> Response:
    """Return a document as an answer; its Content-Type has no parameters."""
    return Response(strictjson.dump(value), 200, dict(headers or {}), media_type)


def empty(status: int, headers: Mapping[str, str]) -> Response:
    """Return an answer without a body."""
    return Response(b"", status, dict(headers))


def refusal_for(error: ModfileError, unknown: Code, malformed: Code) -> Refusal:
    """Return what the server says to an error of the library's.

    Args:
        error: what went wrong.
        unknown: the code for what is not there.
        malformed: the code for what breaks its format.
    """
    headers: dict[str, str] = {}
    match error:
        case MissingError():
            detail = [str(digest) for digest in error.missing[:_MOST_NAMED]]
            return Refusal(Code.MANIFEST_BLOB_UNKNOWN, str(error), detail=detail)
        case NotFoundError():
            return Refusal(unknown)
        case InvalidReferenceError():
            return Refusal(Code.NAME_INVALID, str(error))
        case VerificationError():
            return Refusal(Code.DIGEST_INVALID, str(error))
        case ContentError():
            return Refusal(malformed, str(error))
        case OutOfOrderError():
            headers["Range"] = f"0-{max(error.size - 1, 0)}"
            return Refusal(Code.BLOB_UPLOAD_INVALID, str(error), status=416, headers=headers)
        case ConflictError():
            return Refusal(Code.BLOB_UPLOAD_INVALID, str(error), status=409)
        case BusyError():
            return Refusal(Code.TOOMANYREQUESTS, str(error), headers={"Retry-After": "10"})
        case FullError():
            return Refusal(Code.DENIED, "there is no room in the registry for this", status=507)
        case _:  # its message may name paths of this machine, which are nobody's business
            return Refusal(Code.UNKNOWN)
