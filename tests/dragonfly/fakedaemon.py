"""Dragonfly's download service on a Unix socket, and a repository that it gets its blobs from."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc

from modfile.dragonfly.messages import DownloadTaskRequest, DownloadTaskResponse
from tests.registries.memory import MemorySource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PIECE = 4 << 20


class BlobSource(MemorySource):
    """A repository in memory that tells its blobs' URLs."""

    def __init__(self) -> None:
        super().__init__()
        self.headers = {"Authorization": "Bearer hidden-token"}

    def blob_url(self, content) -> str:
        return f"https://registry.test/v2/llm/tiny/blobs/{content.digest}?state=hidden-state"

    def request_headers(self, content) -> dict[str, str]:
        return self.headers


class FakeDaemon:
    """What the server does with a download: by default it writes the blob of the URL where it should.

    `seen` has every download that was asked for.
    """

    def __init__(self, repository: BlobSource) -> None:
        self.repository = repository
        self.seen: list[Any] = []
        self.behave: Callable[[Any, grpc.ServicerContext], Iterator[Any]] = self.write
        self.stopped = threading.Event()
        self.endpoint = ""

    def blob(self, download: Any) -> bytes:
        digest = download.url.partition("?")[0].rpartition("/")[2]
        return next(data for known, data in self.repository.content.items() if str(known) == digest)

    def write(self, download: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        data = self.blob(download)
        yield started(len(data))
        with Path(download.output_path).open("xb") as file:
            for start in range(0, len(data), PIECE):
                file.write(data[start : start + PIECE])
                yield piece(len(data[start : start + PIECE]))

    def answer(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        self.seen.append(request.download)
        yield from self.behave(request.download, context)


def started(length: int) -> Any:
    answer = DownloadTaskResponse(task_id="task")
    answer.download_task_started_response.content_length = length
    return answer


def piece(length: int) -> Any:
    answer = DownloadTaskResponse(task_id="task")
    answer.download_piece_finished_response.piece.length = length
    return answer


@contextlib.contextmanager
def serve(daemon: FakeDaemon, socket: str) -> Iterator[grpc.Server]:
    """Serve on a socket, whose path may have 107 bytes."""
    handler = grpc.method_handlers_generic_handler(
        "dfdaemon.v2.DfdaemonDownload",
        {
            "DownloadTask": grpc.unary_stream_rpc_method_handler(
                daemon.answer, DownloadTaskRequest.FromString, DownloadTaskResponse.SerializeToString
            )
        },
    )
    with ThreadPoolExecutor(8) as workers:
        server = grpc.server(workers, handlers=(handler,))
        server.add_insecure_port(f"unix:{socket}")
        server.start()
        try:
            yield server
        finally:
            daemon.stopped.set()
            server.stop(0).wait()


@contextlib.contextmanager
def listening(daemon: FakeDaemon) -> Iterator[Callable[[], None]]:
    """Serve on a socket of its own; yield what shuts the server down."""
    with tempfile.TemporaryDirectory(prefix="d7y-") as directory:
        daemon.endpoint = f"unix://{directory}/dfdaemon.sock"
        with serve(daemon, f"{directory}/dfdaemon.sock") as server:
            yield lambda: server.stop(0).wait()
