"""Blobs through a Dragonfly daemon, which may be any kind of broken, into a store that is not."""

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
import pytest

from modfile.backoff import Backoff
from modfile.content import Descriptor, Digest
from modfile.destination import Destination
from modfile.dragonfly import DragonflySource
from modfile.dragonfly.source import parse_endpoint
from modfile.errors import (
    AccessDeniedError,
    ConnectionLostError,
    ModfileError,
    NotFoundError,
    RegistryError,
    UsageError,
    VerificationError,
)
from modfile.progress import SILENT, Outcome
from modfile.reference import Reference
from modfile.store import read
from modfile.verbs.extract import extract
from tests.registries.memory import MANIFEST
from tests.registry.reach import CountingMeter

from .fakedaemon import PIECE, BlobSource, FakeDaemon, listening, piece, started

MIB = 1 << 20


@pytest.fixture
def repository():
    return BlobSource()


@pytest.fixture
def daemon(repository):
    return FakeDaemon(repository)


@pytest.fixture
def vanish(daemon):
    with listening(daemon) as stop:
        yield stop


@pytest.fixture
def directory(tmp_path):
    """Where the daemon writes to."""
    path = tmp_path / "ingest"
    path.mkdir()
    return path


@pytest.fixture
def dragonfly(daemon, vanish, repository, directory):
    with DragonflySource(daemon.endpoint, repository, directory, stall_timeout=20) as source:
        yield source


def write(source, content, root, attempts=1, meter=SILENT) -> bytes:
    """Bring content into a file as an extraction does; return what is in it."""
    with Destination(root / "out", Backoff(attempts=attempts, sleep=lambda seconds: None)) as destination:
        destination.stage("model.bin", content, source, None, meter)
        destination.publish()
    return (root / "out/model.bin").read_bytes()


@pytest.mark.parametrize("size", [1, 5, PIECE, 2 * PIECE + 1])
def test_a_blob_comes_through_the_daemon(dragonfly, daemon, repository, directory, tmp_path, size):
    data = os.urandom(size)
    content, meter = repository.add(data), CountingMeter()
    assert write(dragonfly, content, tmp_path, meter=meter) == data
    assert meter.done == size
    (asked,) = daemon.seen
    assert asked.url == repository.blob_url(content)
    assert dict(asked.request_header) == repository.headers
    assert Path(asked.output_path).parent == directory
    assert repository.opened == []
    assert list(directory.iterdir()) == []


def test_nothing_is_asked_of_the_daemon_where_there_is_nothing_to_read(dragonfly, daemon, repository, tmp_path):
    assert write(dragonfly, repository.add(b""), tmp_path) == b""
    content = repository.add(b"data")
    with dragonfly.open(content, 4) as stream:
        assert stream.read() == b""
    assert daemon.seen == []


def test_a_blob_is_read_from_any_byte_on(dragonfly, repository, directory):
    data = os.urandom(3 * MIB)
    with dragonfly.open(repository.add(data), MIB + 1) as stream:
        assert list(directory.iterdir()) == []
        assert stream.read() == data[MIB + 1 :]
        assert stream.read(1) == b""


def test_manifests_and_references_are_the_registrys_own(dragonfly, daemon, repository):
    manifest = repository.add(b"{}", MANIFEST)
    reference = Reference.parse("registry.test/llm/tiny:v1")
    repository.references[str(reference)] = manifest
    assert dragonfly.resolve(reference) == manifest
    assert read(dragonfly, manifest, 10) == b"{}"
    with pytest.raises(NotFoundError):
        dragonfly.resolve(Reference.parse("registry.test/llm/tiny:v2"))
    assert daemon.seen == []


def test_a_model_is_extracted(dragonfly, daemon, repository, directory, tmp_path):
    files = {"config.json": b"{}", "weights/model.bin": os.urandom(PIECE + 1), "empty": b""}
    layers = []
    for path, data in files.items():
        layer = repository.add(data, "application/vnd.cncf.model.weight.v1.raw").to_json()
        layers.append(layer | {"annotations": {"org.cncf.model.filepath": path}})
    config = repository.add(b"{ }", "application/vnd.cncf.model.config.v1+json")
    body = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config.to_json(), "layers": layers}
    body["artifactType"] = "application/vnd.cncf.model.manifest.v1+json"
    reference = Reference.parse("registry.test/llm/tiny:v1")
    repository.references[str(reference)] = repository.add(json.dumps(body).encode(), MANIFEST)
    extract(reference, dragonfly, tmp_path / "out")
    for path, data in files.items():
        assert (tmp_path / "out" / path).read_bytes() == data
    assert len(daemon.seen) == 2
    assert list(directory.iterdir()) == []


def test_a_file_that_is_the_daemons_own_stays_as_it_is(dragonfly, daemon, repository, tmp_path):
    kept = tmp_path / "daemons-own"

    def link(download, context):
        kept.write_bytes(daemon.blob(download))
        kept.chmod(0o640)
        os.link(kept, download.output_path)
        yield started(kept.stat().st_size)

    daemon.behave = link
    assert write(dragonfly, repository.add(b"linked"), tmp_path) == b"linked"
    assert kept.read_bytes() == b"linked"
    assert (kept.stat().st_nlink, kept.stat().st_mode & 0o777) == (1, 0o640)


class Log:
    """A progress that keeps what it is told."""

    def __init__(self):
        self.pieces = []

    def start(self, label, size):
        self.pieces.append((label, size, []))
        return self

    def resume(self, amount):
        pass

    def advance(self, amount):
        self.pieces[-1][2].append(amount)

    def finish(self, outcome):
        self.pieces[-1][2].append(outcome)


def test_the_download_is_told_of_piece_by_piece(daemon, vanish, repository, directory):
    log = Log()
    content = repository.add(os.urandom(PIECE + 7))
    named = Descriptor(content.media_type, content.digest, content.size, {"org.cncf.model.filepath": "model.bin"})
    with DragonflySource(daemon.endpoint, repository, directory, progress=log) as source, source.open(named):
        assert log.pieces == [("model.bin through Dragonfly", PIECE + 7, [PIECE, 7, Outcome.MOVED])]


def test_pieces_that_are_larger_than_the_blob_do_not_drive_the_progress_beyond_it(
    daemon, vanish, repository, directory
):
    log = Log()

    def boast(download, context):
        yield piece(2**63)
        yield piece(2**63)
        yield from daemon.write(download, context)

    daemon.behave = boast
    with DragonflySource(daemon.endpoint, repository, directory, progress=log) as source:
        assert read(source, repository.add(b"small"), 10) == b"small"
    assert sum(log.pieces[0][2][:-1]) == 5


def test_pieces_that_the_daemon_had_count_as_well(daemon, vanish, repository, directory):
    log = Log()

    def at_once(download, context):
        Path(download.output_path).write_bytes(daemon.blob(download))
        yield started(5)

    daemon.behave = at_once
    with DragonflySource(daemon.endpoint, repository, directory, progress=log) as source:
        assert read(source, repository.add(b"small"), 10) == b"small"
    assert log.pieces[0][2] == [5, Outcome.MOVED]


# A daemon that fails


def fails(dragonfly, repository, directory, tmp_path, error, match, attempts=1) -> str:
    """Expect an error; see that it is one line without a secret, and that nothing is left. Return it."""
    with pytest.raises(error, match=match) as caught:
        write(dragonfly, repository.add(os.urandom(MIB)), tmp_path, attempts)
    text = str(caught.value)
    assert "hidden" not in text
    assert text.isprintable()
    assert list(directory.iterdir()) == []
    assert not (tmp_path / "out").exists()
    return text


@pytest.mark.parametrize("wrong", [b"x" * MIB, b"x", b"", b"x" * (MIB + 1)], ids=["other", "few", "none", "more"])
def test_wrong_bytes_are_found_out(dragonfly, daemon, repository, directory, tmp_path, wrong):
    def lie(download, context):
        Path(download.output_path).write_bytes(wrong)
        yield started(MIB)

    daemon.behave = lie
    fails(dragonfly, repository, directory, tmp_path, VerificationError, "sha256:", attempts=4)
    assert len(daemon.seen) == 1


def test_another_size_is_found_out_before_anything_is_downloaded(dragonfly, daemon, repository, directory, tmp_path):
    def announce(download, context):
        yield started(MIB + 1)
        daemon.stopped.wait(60)

    daemon.behave = announce
    match = "is said to have 1,048,576 bytes, but Dragonfly has 1,048,577"
    fails(dragonfly, repository, directory, tmp_path, VerificationError, match)


def test_a_daemon_that_says_done_but_wrote_nothing_is_told_from_one_that_did(
    dragonfly, daemon, repository, directory, tmp_path
):
    daemon.behave = lambda download, context: iter([started(MIB), piece(MIB)])
    match = "wrote nothing; its daemon must see the directory .*ingest under the same path"
    fails(dragonfly, repository, directory, tmp_path, RegistryError, match)


def test_a_link_or_a_directory_in_the_files_place_is_not_read(dragonfly, daemon, repository, directory, tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")

    def link(download, context):
        Path(download.output_path).symlink_to(tmp_path / "secret")
        yield started(MIB)

    daemon.behave = link
    fails(dragonfly, repository, directory, tmp_path, RegistryError, "cannot be read")

    def pipe(download, context):
        os.mkfifo(download.output_path)
        yield started(MIB)

    daemon.behave = pipe
    fails(dragonfly, repository, directory, tmp_path, RegistryError, "is no file")
    assert (tmp_path / "secret").read_bytes() == b"secret"


CODES = [
    (grpc.StatusCode.INTERNAL, RegistryError, "Dragonfly could not bring sha256:[0-9a-f]{64}: the peers are gone"),
    (grpc.StatusCode.INVALID_ARGUMENT, RegistryError, "could not bring"),
    (grpc.StatusCode.PERMISSION_DENIED, RegistryError, "could not bring"),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, RegistryError, "could not bring"),
    (grpc.StatusCode.UNIMPLEMENTED, RegistryError, "does not have Dragonfly's download service"),
    (grpc.StatusCode.UNAVAILABLE, RegistryError, "no Dragonfly daemon answers"),
]


@pytest.mark.parametrize(("code", "error", "match"), CODES, ids=[code.name for code, *_ in CODES])
def test_what_the_daemon_says_is_repeated_without_a_secret(
    dragonfly, daemon, repository, directory, tmp_path, code, error, match
):
    def refuse(download, context):
        said = f"the peers are gone\n\x1b[31m {download.url} {download.request_header['Authorization']}"
        context.abort(code, said)
        yield

    daemon.behave = refuse
    fails(dragonfly, repository, directory, tmp_path, error, match, attempts=4)
    assert len(daemon.seen) == 1


def test_a_failure_without_words_is_named_by_its_code(dragonfly, daemon, repository, directory, tmp_path):
    def refuse(download, context):
        context.abort(grpc.StatusCode.DATA_LOSS, "")
        yield

    daemon.behave = refuse
    fails(dragonfly, repository, directory, tmp_path, RegistryError, "DATA_LOSS")


def backend(status, details=None):
    """Return a behaviour: the registry answered the daemon with this status."""

    def refuse(download, context):
        said = json.dumps({"message": "refused", "header": {"a": "hidden"}, "status_code": status}).encode()
        context.set_trailing_metadata((("grpc-status-details-bin", said if details is None else details),))
        context.abort(grpc.StatusCode.INTERNAL, "backend error")
        yield

    return refuse


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, AccessDeniedError),
        (403, AccessDeniedError),
        (404, NotFoundError),
        (400, RegistryError),
        (None, RegistryError),
        ("404", RegistryError),
    ],
)
def test_what_the_registry_told_the_daemon_counts(dragonfly, daemon, repository, directory, tmp_path, status, error):
    daemon.behave = backend(status)
    fails(dragonfly, repository, directory, tmp_path, error, "backend error", attempts=4)
    assert len(daemon.seen) == 1


@pytest.mark.parametrize("details", [b"\x08\x0d\x12\x01x", b"[]", b"{", b"", b'{"status_code":1,"status_code":2}'])
def test_details_that_cannot_be_read_are_passed_over(dragonfly, daemon, repository, directory, tmp_path, details):
    daemon.behave = backend(0, details)
    fails(dragonfly, repository, directory, tmp_path, RegistryError, "backend error")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_registry_that_is_busy_is_tried_again(dragonfly, daemon, repository, directory, tmp_path, status):
    daemon.behave = backend(status)
    fails(dragonfly, repository, directory, tmp_path, ConnectionLostError, "backend error", attempts=3)
    assert len(daemon.seen) == 3
    assert len({download.output_path for download in daemon.seen}) == 3
    daemon.behave = daemon.write
    assert write(dragonfly, repository.add(b"data"), tmp_path) == b"data"


def test_a_daemon_that_says_nothing_any_more_is_given_up(daemon, vanish, repository, directory, tmp_path):
    def hang(download, context):
        yield started(MIB)
        Path(download.output_path).write_bytes(b"half")
        yield piece(4)
        daemon.stopped.wait(60)

    daemon.behave = hang
    with DragonflySource(daemon.endpoint, repository, directory, stall_timeout=0.2) as source:
        fails(source, repository, directory, tmp_path, ConnectionLostError, "sha256:[0-9a-f]{64} stalled")


def test_a_file_that_grows_is_a_sign_of_life(daemon, vanish, repository, directory, tmp_path):
    """A daemon that copies a finished blob to its place says nothing meanwhile."""
    data = os.urandom(60)

    def copy(download, context):
        yield started(len(data))
        with Path(download.output_path).open("xb", buffering=0) as file:
            for at in range(len(data)):
                file.write(data[at : at + 1])
                time.sleep(0.05)

    daemon.behave = copy
    with DragonflySource(daemon.endpoint, repository, directory, stall_timeout=1) as source:
        assert write(source, repository.add(data), tmp_path) == data


DYING = """
import os, sys, threading
from tests.dragonfly.fakedaemon import BlobSource, FakeDaemon, started, serve

class Dying(FakeDaemon):
    def write(self, download, context):
        yield started(len(self.blob(download)))
        if sys.argv[3] == "dies":
            with open(download.output_path, "xb") as file:
                file.write(b"half")
            threading.Timer(0.2, os._exit, (1,)).start()
            threading.Event().wait()
        yield from super().write(download, context)

repository = BlobSource()
repository.add(bytes.fromhex(sys.argv[2]))
with serve(Dying(repository), sys.argv[1]):
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def process():
    """Start a daemon as a process of its own, which dies in its first download or does not."""
    begun = []

    def start(socket, data, dies):
        command = [sys.executable, "-c", DYING, str(socket), data.hex(), "dies" if dies else "lives"]
        root = Path(__file__).parent.parent.parent
        one = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        begun.append(one)
        assert one.stdout.readline() == "ready\n"

    yield start
    for one in begun:
        one.communicate()


def test_a_daemon_that_dies_in_the_middle_may_come_back(process, repository, directory, tmp_path):
    content = repository.add(b"data")
    with (
        TemporaryDirectory(prefix="d7y-") as short,
        DragonflySource(f"unix://{short}/s", repository, directory) as source,
    ):
        process(f"{short}/s", b"data", dies=True)
        with pytest.raises(ConnectionLostError, match=r"went away"):
            write(source, content, tmp_path)
        assert list(directory.iterdir()) == []
        with pytest.raises(ConnectionLostError, match=r"went away"):  # it has been there
            write(source, content, tmp_path)
        process(f"{short}/s", b"data", dies=False)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:  # gRPC waits a moment of its own before it connects again
            try:
                assert write(source, content, tmp_path) == b"data"
            except ConnectionLostError:
                time.sleep(0.2)
            else:
                break
        assert (tmp_path / "out/model.bin").read_bytes() == b"data"


def test_a_daemon_that_is_shut_down_in_the_middle_is_a_lost_connection(
    dragonfly, daemon, vanish, repository, directory, tmp_path
):
    stopping = threading.Thread(target=vanish)

    def leave(download, context):
        yield started(MIB)
        stopping.start()
        while context.is_active():
            time.sleep(0.01)

    daemon.behave = leave
    fails(dragonfly, repository, directory, tmp_path, ConnectionLostError, "went away")
    stopping.join()


def test_a_daemon_that_is_not_there_is_said_to_be_missing_at_once(repository, directory, tmp_path):
    with DragonflySource(f"unix://{tmp_path}/none.sock", repository, directory) as source:
        match = "no Dragonfly daemon answers at unix://.*none.sock .*; start dfdaemon, or go without"
        fails(source, repository, directory, tmp_path, RegistryError, match, attempts=4)


def test_what_is_no_grpc_server_is_an_error_on_one_line(repository, directory, tmp_path, fake):
    with DragonflySource(fake.host, repository, directory, stall_timeout=5) as source:
        fails(source, repository, directory, tmp_path, RegistryError, "Dragonfly")


def test_the_end_of_the_block_stops_downloads(daemon, vanish, repository, directory):
    begun, failed = threading.Event(), []

    def hang(download, context):
        yield started(MIB)
        begun.set()
        daemon.stopped.wait(60)

    daemon.behave = hang
    content = repository.add(os.urandom(MIB))
    source = DragonflySource(daemon.endpoint, repository, directory)

    def work():
        with pytest.raises(ModfileError) as caught, source.open(content):
            pass
        failed.append(str(caught.value))

    worker = threading.Thread(target=work)
    with closing(source):
        worker.start()
        assert begun.wait(30)
    worker.join(30)
    assert "could not bring" in failed[0]
    source.close()


def test_a_directory_that_is_not_there_is_the_daemons_error(daemon, vanish, repository, tmp_path):
    def write_or_say_why(download, context):
        try:
            Path(download.output_path).write_bytes(b"")
        except OSError as error:
            context.abort(grpc.StatusCode.INTERNAL, str(error))
        yield started(1)

    daemon.behave = write_or_say_why
    with DragonflySource(daemon.endpoint, repository, tmp_path / "nowhere") as source:
        missing = source.open(repository.add(b"x"))
        with pytest.raises(RegistryError, match="No such file or directory"):
            missing.__enter__()


def test_a_path_that_is_not_utf8_is_refused(daemon, vanish, repository, tmp_path):
    directory = tmp_path / os.fsdecode(b"\xff")
    directory.mkdir()
    with DragonflySource(daemon.endpoint, repository, directory) as source:
        impossible = source.open(repository.add(b"x"))
        with pytest.raises(UsageError, match="UTF-8"):
            impossible.__enter__()


# Endpoints


@pytest.mark.parametrize(
    ("endpoint", "target"),
    [
        ("unix:///var/run/dragonfly/dfdaemon.sock", "unix:/var/run/dragonfly/dfdaemon.sock"),
        ("unix:/run/dfdaemon.sock", "unix:/run/dfdaemon.sock"),
        ("/run/dfdaemon.sock", "unix:/run/dfdaemon.sock"),
        ("unix:///run/my daemon%.sock", "unix:/run/my%20daemon%25.sock"),
        ("127.0.0.1:4000", "dns:///127.0.0.1:4000"),
        ("localhost:4000", "dns:///localhost:4000"),
        ("dns:///localhost:4000", "dns:///localhost:4000"),
        ("[::1]:4000", "dns:///[::1]:4000"),
    ],
)
def test_an_endpoint_is_what_grpc_names_it(endpoint, target):
    assert parse_endpoint(endpoint) == target


@pytest.mark.parametrize(
    "endpoint",
    [
        *("", "/", "unix://", "unix:", "unix:relative.sock", "localhost", "localhost:", "localhost:x"),
        *("dragonfly.test:4000", "http://localhost:4000", "10.0.0.1:4000", "xds:///x", "dns:///10.0.0.1:4000"),
        *("localhost:4000\n", ":::", "[::1"),
    ],
)
def test_an_endpoint_that_is_none_or_elsewhere_is_refused(endpoint, repository, directory):
    with pytest.raises(UsageError, match=r"expected unix:///var/run/dragonfly/dfdaemon\.sock"):
        DragonflySource(endpoint, repository, directory)


@pytest.mark.parametrize("missing", ["grpc", "google.protobuf"])
def test_without_the_extra_it_is_said_what_to_install(missing, tmp_path):
    code = f"""
import sys
from pathlib import Path
sys.modules[{missing!r}] = None
from modfile.content import Descriptor, Digest
from modfile.dragonfly import DragonflySource
from modfile.errors import UsageError
from tests.registries.memory import MemorySource
source = MemorySource()
source.blob_url = source.request_headers = lambda content: {{}}
try:
    with DragonflySource("unix:///run/none.sock", source, Path("/")).open(Descriptor("a/b", Digest.of(b"x"), 1)):
        pass
except UsageError as error:
    print(error)
"""
    root = Path(__file__).parent.parent.parent
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert "pip install 'modfile[dragonfly]'" in done.stdout


def test_grpc_is_not_imported_before_it_is_needed():
    code = (
        "import sys, modfile.dragonfly; print([m for m in ('grpc', 'google.protobuf', 'requests') if m in sys.modules])"
    )
    root = Path(__file__).parent.parent.parent
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "[]"


def test_a_digest_of_sha512_goes_the_same_way(dragonfly, repository, tmp_path):
    content = repository.add(b"data", algorithm="sha512")
    assert content.digest == Digest("sha512", "").again(b"data")
    assert write(dragonfly, content, tmp_path) == b"data"
