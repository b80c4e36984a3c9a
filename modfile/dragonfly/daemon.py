"""A Dragonfly daemon on this machine, over gRPC."""

from __future__ import annotations

import re
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any

import grpc

from .. import strictjson
from ..errors import (
    AccessDeniedError,
    ConnectionLostError,
    ContentError,
    ModfileError,
    NotFoundError,
    RegistryError,
    UsageError,
    VerificationError,
)
from ..registry.failures import is_transient, one_line
from .messages import DOWNLOAD_TASK, PRIORITY, DownloadTaskRequest, DownloadTaskResponse

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ..content import Descriptor
    from ..progress import Meter

_LARGEST_ANSWER = 64 << 20  # a task's first answer lists its pieces, 25,000 of them for 100 GB
_OPTIONS = (
    ("grpc.enable_http_proxy", 0),  # the daemon is on this machine, whatever HTTP_PROXY says
    ("grpc.max_receive_message_length", _LARGEST_ANSWER),
    ("grpc.max_reconnect_backoff_ms", 1000),  # pauses between tries are the caller's
)
_DETAILS = "grpc-status-details-bin"
_QUERY = re.compile(r"(https?://[^\s?\"'()]*)\?[^\s\"'()]*")


class Daemon:
    """Downloads into files. For use by many threads at once.

    Args:
        endpoint: as the user says it.
        target: the same as gRPC's name.
        stall_timeout: seconds without a sign of life after which a download counts as broken.
    """

    def __init__(self, endpoint: str, target: str, stall_timeout: float) -> None:
        self._endpoint = endpoint
        self._stall_timeout = stall_timeout
        self._channel = grpc.insecure_channel(target, options=_OPTIONS)
        self._download_task = self._channel.unary_stream(
            DOWNLOAD_TASK,
            request_serializer=DownloadTaskRequest.SerializeToString,
            response_deserializer=DownloadTaskResponse.FromString,
        )
        self._answered = False

    def close(self) -> None:
        """Stop the downloads that are under way, and hang up."""
        self._channel.close()

    def download(self, url: str, headers: Mapping[str, str], path: Path, content: Descriptor, meter: Meter) -> None:
        """Have a blob written to a file that is not there yet, and wait until it is whole.

        Raises:
            VerificationError: the blob has another size than is said.
            NotFoundError, AccessDeniedError: the registry said so to the daemon.
            RegistryError: there is no daemon, or it cannot bring the blob.
            ConnectionLostError: the download broke off or stalled; another try may help.
        """
        call = self._call(_request(url, headers, path))
        answers: SimpleQueue[Any] = SimpleQueue()
        Thread(target=_forward, args=(call, answers), name="dragonfly", daemon=True).start()
        left = content.size
        try:
            while (answer := self._next(answers, path, content)) is not None:
                if isinstance(answer, grpc.RpcError):
                    raise self._failure(answer, content, headers)
                self._answered = True
                _check_size(answer, content)
                if done := min(left, answer.download_piece_finished_response.piece.length):
                    left -= done
                    meter.advance(done)
        finally:
            call.cancel()
        if left:  # pieces that the daemon had are not told of
            meter.advance(left)

    def _call(self, request: Any) -> Any:
        try:
            return self._download_task(request)
        except ValueError as error:
            raise RegistryError("the connection to Dragonfly was closed") from error

    def _next(self, answers: SimpleQueue[Any], path: Path, content: Descriptor) -> Any:
        """Return the next answer, an error, or None at the end; while the file changes, that is waited for."""
        seen = _trace(path)
        while True:
            try:
                return answers.get(timeout=self._stall_timeout)
            except Empty:
                before, seen = seen, _trace(path)
                if seen == before:
                    raise ConnectionLostError(f"Dragonfly's download of {content.digest} stalled") from None

    def _failure(self, error: Any, content: Descriptor, headers: Mapping[str, str]) -> ModfileError:
        code, said = error.code(), _without_secrets(error.details() or "", headers)
        if code is grpc.StatusCode.UNAVAILABLE:
            if self._answered:
                return ConnectionLostError(f"the Dragonfly daemon at {self._endpoint} went away ({said})")
            return RegistryError(
                f"no Dragonfly daemon answers at {self._endpoint} ({said}); "
                "start dfdaemon, or go without --dragonfly-endpoint"
            )
        if code is grpc.StatusCode.UNIMPLEMENTED:
            return RegistryError(
                f"what answers at {self._endpoint} does not have Dragonfly's download service ({said})"
            )
        text = f"Dragonfly could not bring {content.digest}: {said or code.name}"
        status = _registry_status(error)
        if status in (401, 403):
            return AccessDeniedError(f"{text}; the registry answered {status}: check the credentials")
        if status == 404:
            return NotFoundError(text)
        return ConnectionLostError(text) if status and is_transient(status) else RegistryError(text)


def _request(url: str, headers: Mapping[str, str], path: Path) -> Any:
    request = DownloadTaskRequest()
    request.download.url = url
    request.download.priority = PRIORITY
    request.download.request_header.update(headers)
    try:
        request.download.output_path = str(path)
    except ValueError:
        raise UsageError(f"Dragonfly can write to a path in UTF-8 only, not to {str(path)!r}") from None
    return request


def _forward(call: Any, answers: SimpleQueue[Any]) -> None:
    try:
        for answer in call:
            answers.put(answer)
        answers.put(None)
    except grpc.RpcError as error:
        answers.put(error)


def _check_size(answer: Any, content: Descriptor) -> None:
    length = answer.download_task_started_response.content_length
    if length not in (0, content.size):
        raise VerificationError(
            f"{content.digest} is said to have {content.size:,} bytes, but Dragonfly has {length:,}"
        )


def _trace(path: Path) -> tuple[int, ...] | None:
    """Return what changes when the file is written to; the copy at the end of a download is told of by nothing else."""
    try:
        status = path.stat(follow_symlinks=False)
    except OSError:
        return None
    return status.st_size, status.st_blocks, status.st_mtime_ns


def _registry_status(error: Any) -> int | None:
    """Return the status with which the registry refused the daemon: JSON of `errordetails.v2.Backend`."""
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS:
            try:
                status = strictjson.parse_object(value, "the error").get("status_code")
            except ContentError:
                return None
            return status if isinstance(status, int) else None
    return None


def _without_secrets(text: str, headers: Mapping[str, str]) -> str:
    """Return what the daemon says on one line, without what a request was authorized with and without URLs' queries."""
    for value in headers.values():
        for secret in (value, value.rpartition(" ")[2]):
            text = text.replace(secret, "…") if secret else text
    return one_line(_QUERY.sub(r"\1", text))
