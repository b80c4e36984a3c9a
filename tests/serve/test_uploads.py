import errno
import hashlib
import multiprocessing
import os
import random
import signal
import threading
import time

import pytest

from modfile.content import Descriptor, Digest
from modfile.errors import InvalidReferenceError, NotFoundError, StoreError, VerificationError
from modfile.layout import Layout
from modfile.serve.inlet import Inlet
from modfile.serve.links import Links
from modfile.serve.refusals import BusyError, ConflictError, FullError, OutOfOrderError
from modfile.serve.uploads import Limits, Uploads

LARGE = random.Random(1).randbytes(1 << 20) * 7 + b"and a bit"


def sha512(data):
    return Digest("sha512", hashlib.sha512(data).hexdigest())


class Place:
    """A storage directory, and the uploads of one server on it."""

    def __init__(self, directory):
        self.directory = directory / "serve-uploads"
        self.layout = Layout(directory / "store")
        self.links = Links(directory / "links")

    def server(self, limits=None, clock=time.time):
        return Uploads(self.directory, self.layout, self.links, limits, clock=clock)

    def files(self):
        return list(self.directory.iterdir()) if self.directory.exists() else []

    def blob(self, digest):
        return self.layout.blob_path(digest).read_bytes()


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.fixture
def uploads(place):
    return place.server()


def append(uploads, session, data, start=None, piece=64 << 10, repository="a/b"):
    with uploads.writer(repository, session, start) as sink:
        for at in range(0, len(data), piece):
            sink.write(data[at : at + piece])


@pytest.mark.parametrize("data", [b"", b"x", b"x" * 4096, LARGE], ids=["empty", "byte", "page", "large"])
@pytest.mark.parametrize("digest_of", [Digest.of, sha512], ids=["sha256", "sha512"])
@pytest.mark.parametrize("told", [True, False], ids=["algorithm told", "not told"])
def test_what_is_sent_becomes_a_blob_that_the_repository_shows(place, uploads, data, digest_of, told):
    digest = digest_of(data)
    session = uploads.start("a/b", digest.algorithm) if told else uploads.start("a/b")
    append(uploads, session, data)
    assert uploads.size("a/b", session) == len(data)
    content = uploads.finish("a/b", session, digest)
    assert (content.digest, content.size) == (digest, len(data))
    assert place.blob(digest) == data
    assert place.layout.blob_path(digest).stat().st_mode & 0o777 == 0o444
    assert place.links.size("a/b", digest) == len(data)
    assert place.links.size("a", digest) is None
    assert place.files() == []
    with pytest.raises(NotFoundError):
        uploads.size("a/b", session)


@pytest.mark.parametrize("cuts", [[1], [4096], [5, 3 << 20], [2 << 20, (2 << 20) + 1, 5 << 20]])
def test_pieces_of_any_length_follow_each_other(place, uploads, cuts):
    session = uploads.start("a/b")
    for start, end in zip([0, *cuts], [*cuts, len(LARGE)], strict=True):
        append(uploads, session, LARGE[start:end], start)
    uploads.finish("a/b", session, Digest.of(LARGE))
    assert place.blob(Digest.of(LARGE)) == LARGE


def test_one_write_of_more_than_is_held_at_once_passes(place, uploads):
    data = LARGE * 3
    session = uploads.start("a/b")
    with uploads.writer("a/b", session) as sink:
        assert not sink.has_room(len(data))
        sink.write(data)
        sink.write(data)
        assert sink.size == 2 * len(data)
    uploads.finish("a/b", session, Digest.of(data * 2))


@pytest.mark.parametrize("start", [1, 99, 101, 10**30])
def test_a_piece_out_of_order_is_refused_with_where_it_goes_on(uploads, start):
    session = uploads.start("a/b")
    append(uploads, session, b"x" * 100)
    with pytest.raises(OutOfOrderError) as caught, uploads.writer("a/b", session, start):
        pytest.fail("opened")
    assert caught.value.size == 100
    append(uploads, session, b"y", 100)
    uploads.finish("a/b", session, Digest.of(b"x" * 100 + b"y"))


@pytest.mark.promise("S1")
def test_a_wrong_digest_keeps_nothing(place, uploads):
    session = uploads.start("a/b")
    append(uploads, session, b"abc")
    with pytest.raises(VerificationError):
        uploads.finish("a/b", session, Digest.of(b"abd"))
    assert place.files() == []
    assert list(place.layout.blobs()) == []
    assert place.links.fresh() == set()
    with pytest.raises(NotFoundError):
        uploads.finish("a/b", session, Digest.of(b"abc"))


@pytest.mark.parametrize(
    "session",
    ["", "x", "..", "../x", "0" * 31, "0" * 32, "0" * 33, "A" * 32, "0" * 31 + "\n", "٠" * 32, "a/b", "x" * 9999],
)
def test_a_session_that_was_never_begun_is_not_found_and_not_made(place, uploads, session):
    uploads.start("a/b")
    before = place.files()
    for call in (uploads.size, uploads.cancel, lambda r, s: uploads.finish(r, s, Digest.of(b""))):
        with pytest.raises(NotFoundError) as caught:
            call("a/b", session)
        assert "\n" not in str(caught.value)
    with pytest.raises(NotFoundError), uploads.writer("a/b", session):
        pytest.fail("opened")
    assert place.files() == before


def test_a_session_of_another_repository_is_not_found(uploads):
    session = uploads.start("a/b")
    for repository in ("a", "b", "a/b/c", "other"):
        with pytest.raises(NotFoundError):
            uploads.size(repository, session)
        with pytest.raises(NotFoundError):
            uploads.finish(repository, session, Digest.of(b""))
    uploads.finish("a/b", session, Digest.of(b""))


@pytest.mark.parametrize("repository", ["", "..", "../../etc", "A", "a:b", "a@b", "a" * 256])
def test_what_is_no_repository_is_refused(place, uploads, repository):
    with pytest.raises(InvalidReferenceError):
        uploads.start(repository)
    with pytest.raises(InvalidReferenceError):
        uploads.size(repository, "0" * 32)
    assert place.files() == []


def test_only_one_writes_at_a_time_whichever_server(place, uploads):
    other = place.server()
    session = uploads.start("a/b")
    with uploads.writer("a/b", session) as sink:
        sink.write(b"abc")
        for server in (uploads, other):
            with pytest.raises(ConflictError), server.writer("a/b", session):
                pytest.fail("opened")
            with pytest.raises(ConflictError):
                server.finish("a/b", session, Digest.of(b"abc"))
            with pytest.raises(ConflictError):
                server.cancel("a/b", session)
    uploads.finish("a/b", session, Digest.of(b"abc"))


def test_servers_take_turns_on_a_session(place):
    servers = [place.server(), place.server()]
    session = servers[0].start("a/b")
    data = b""
    for turn in range(6):
        piece = bytes([turn]) * (turn + 1) * 700_000
        append(servers[turn % 2], session, piece, len(data))
        data += piece
    servers[0].finish("a/b", session, Digest.of(data))
    assert place.blob(Digest.of(data)) == data


def test_after_a_restart_it_goes_on_where_it_broke(place, uploads):
    session = uploads.start("a/b", "sha512")
    append(uploads, session, LARGE[:3_000_001])
    restarted = place.server()
    assert restarted.size("a/b", session) == 3_000_001
    append(restarted, session, LARGE[3_000_001:], 3_000_001)
    again = place.server()
    again.finish("a/b", session, sha512(LARGE))
    assert place.blob(sha512(LARGE)) == LARGE


def test_bytes_that_were_changed_behind_its_back_are_found(place, uploads):
    session = uploads.start("a/b")
    append(uploads, session, b"abc")
    [path] = place.files()
    path.write_bytes(b"abX")
    with pytest.raises(VerificationError):
        uploads.finish("a/b", session, Digest.of(b"abc"))


@pytest.mark.parametrize("amount", [10, 100_000, 5_000_000])
def test_a_client_that_goes_away_leaves_what_it_sent(uploads, amount):
    session = uploads.start("a/b")

    def receive():
        with uploads.writer("a/b", session) as sink:
            sink.write(LARGE[:amount])
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        receive()
    assert uploads.size("a/b", session) == amount
    append(uploads, session, LARGE[amount:], amount)
    uploads.finish("a/b", session, Digest.of(LARGE))


def test_a_cancelled_upload_is_gone(place, uploads):
    session = uploads.start("a/b")
    append(uploads, session, b"abc")
    uploads.cancel("a/b", session)
    assert place.files() == []
    with pytest.raises(NotFoundError):
        uploads.cancel("a/b", session)


def test_what_is_there_already_is_kept_and_linked(place, uploads):
    content = place.layout.add_bytes(b"abc", "a/b")
    before = place.layout.blob_path(content.digest).stat()
    session = uploads.start("a/b")
    append(uploads, session, b"abc")
    uploads.finish("a/b", session, content.digest)
    assert place.layout.blob_path(content.digest).stat() == before
    assert place.links.size("a/b", content.digest) == 3
    assert place.files() == []


def test_a_damaged_blob_is_replaced_by_what_is_sent(place, uploads):
    content = place.layout.add_bytes(b"abc", "a/b")
    path = place.layout.blob_path(content.digest)
    path.unlink()
    path.write_bytes(b"ab")
    session = uploads.start("a/b")
    append(uploads, session, b"abc")
    uploads.finish("a/b", session, content.digest)
    assert path.read_bytes() == b"abc"


def test_old_sessions_expire_and_those_that_are_written_do_not(place):
    now = [time.time()]
    uploads = place.server(clock=lambda: now[0])
    old, live = uploads.start("a/b"), uploads.start("a/b")
    with uploads.writer("a/b", live) as sink:
        sink.write(b"abc")
        assert uploads.expire(60) == 0
        now[0] += 61
        assert uploads.expire(60) == 1
    with pytest.raises(NotFoundError):
        uploads.size("a/b", old)
    with pytest.raises(NotFoundError), uploads.writer("a/b", old):
        pytest.fail("opened")
    uploads.finish("a/b", live, Digest.of(b"abc"))


def test_a_session_that_another_server_expired_is_not_found(place, uploads):
    session = uploads.start("a/b")
    append(uploads, session, b"abc")
    assert place.server(clock=lambda: time.time() + 100).expire(60) == 1
    with pytest.raises(NotFoundError):
        uploads.finish("a/b", session, Digest.of(b"abc"))
    assert uploads.expire(60) == 0


def test_nothing_expires_where_nothing_is(uploads):
    assert uploads.expire(0) == 0


def test_there_are_only_so_many_sessions(place):
    now = [time.time()]
    uploads = place.server(Limits(sessions=2), clock=lambda: now[0])
    uploads.start("a/b")
    uploads.start("c")
    with pytest.raises(BusyError):
        uploads.start("a/b")
    now[0] += 25 * 3600
    uploads.start("a/b")
    assert len(place.files()) == 1


def test_all_sessions_together_take_only_so_much(place, uploads):
    mine = uploads.start("a/b")
    append(uploads, mine, b"x" * 600)
    other = place.server(Limits(size=1000))
    session = other.start("c")
    append(other, session, b"y" * 400, repository="c")
    with pytest.raises(FullError):
        append(other, session, b"z", repository="c")
    with pytest.raises(NotFoundError):
        other.size("c", session)
    session = other.start("c")
    append(other, session, b"y" * 400, repository="c")
    uploads.cancel("a/b", mine)
    append(other, session, b"z" * 600, repository="c")


class FullDisk:
    """A file descriptor's disk that has no room."""

    def __init__(self, error):
        self.error = error
        self.position = 0

    def write(self, data):
        raise OSError(self.error, os.strerror(self.error))


def test_a_session_without_room_is_gone_also_if_its_writer_is_left_as_if_nothing_were(place):
    uploads = place.server(Limits(size=10))
    session = uploads.start("a/b")
    writer = uploads.writer("a/b", session)
    sink = writer.__enter__()
    with pytest.raises(FullError):
        sink.write(b"x" * 11)
    with pytest.raises(FullError):
        writer.__exit__(None, None, None)
    assert place.files() == []


@pytest.mark.parametrize("amount", [1, 5 << 20])
def test_bytes_that_come_after_the_end_are_refused_and_written_nowhere(place, uploads, amount):
    session = uploads.start("a/b")
    with uploads.writer("a/b", session) as sink:
        sink.write(b"abc")
    with pytest.raises(StoreError, match="closed"):
        sink.write(bytes(amount))
    assert uploads.size("a/b", session) == 3
    uploads.finish("a/b", session, Digest.of(b"abc"))


def test_a_write_that_waits_for_the_disk_ends_with_the_upload(tmp_path):
    slow = threading.Event()
    refused = []

    class SlowDisk:
        position = 0

        def write(self, data):
            slow.wait()

    inlet = Inlet(-1, 0, hashlib.sha256(), lambda amount: None)
    inlet._writer = SlowDisk()

    def send():
        try:
            for _ in range(40):
                inlet.write(bytes(1 << 20))
        except StoreError as error:
            refused.append(error)

    sender = threading.Thread(target=send)
    sender.start()
    while inlet.has_room(1 << 20):
        time.sleep(0.01)
    closer = threading.Thread(target=inlet.close)
    closer.start()
    sender.join(30)
    assert len(refused) == 1
    slow.set()
    closer.join(30)
    assert not closer.is_alive()


@pytest.mark.promise("S4")
@pytest.mark.parametrize("amount", [10, 3 << 20, 40 << 20])
@pytest.mark.parametrize(("error", "expected"), [(errno.ENOSPC, FullError), (errno.EIO, StoreError)])
def test_a_disk_that_refuses_is_told_and_never_hangs(tmp_path, amount, error, expected):
    inlet = Inlet(-1, 0, hashlib.sha256(), lambda amount: None)
    inlet._writer = FullDisk(error)

    def receive(left):
        try:
            while left > 0:
                inlet.write(bytes(min(left, 1 << 20)))
                left -= 1 << 20
        finally:
            inlet.close()

    with pytest.raises(expected):
        receive(amount)


def limited(directory, data):
    """Send more than the file size limit of this process lets it write."""
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, 3 << 20))
    uploads = Place(directory).server()
    session = uploads.start("a/b")
    try:
        append(uploads, session, data)
    except StoreError as error:
        os._exit(0 if isinstance(error.__cause__, OSError) else 2)
    os._exit(1)


def test_a_file_that_may_not_grow_is_an_error_of_the_store(tmp_path):
    process = multiprocessing.get_context("spawn").Process(target=limited, args=(tmp_path, LARGE))
    process.start()
    process.join(60)
    assert process.exitcode == 0


def killed(directory, told):
    uploads = Place(directory).server()
    session = uploads.start("a/b")
    with uploads.writer("a/b", session) as sink:
        sink.write(LARGE)
        while uploads.size("a/b", session) < 4 << 20:
            time.sleep(0.01)
        told.send(session)
        time.sleep(60)


@pytest.mark.promise("S4")
def test_a_server_that_is_killed_while_it_writes_leaves_what_can_be_gone_on_with(tmp_path):
    context = multiprocessing.get_context("spawn")
    told, tell = context.Pipe(duplex=False)
    process = context.Process(target=killed, args=(tmp_path, tell))
    process.start()
    session = told.recv()
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    place = Place(tmp_path)
    uploads = place.server()
    size = uploads.size("a/b", session)
    assert 4 << 20 <= size <= len(LARGE)
    append(uploads, session, LARGE[size:], size)
    uploads.finish("a/b", session, Digest.of(LARGE))
    assert place.blob(Digest.of(LARGE)) == LARGE


def test_what_was_made_read_only_by_a_killed_server_can_be_gone_on_with(place, uploads):
    session = uploads.start("a/b")
    append(uploads, session, b"abc")
    [path] = place.files()
    path.chmod(0o444)
    append(uploads, session, b"def")
    uploads.finish("a/b", session, Digest.of(b"abcdef"))


def test_a_link_in_the_place_of_a_session_is_not_followed(place, uploads, tmp_path):
    session = uploads.start("a/b")
    [path] = place.files()
    target = tmp_path / "precious"
    target.write_bytes(b"precious")
    path.unlink()
    path.symlink_to(target)
    with pytest.raises(StoreError), uploads.writer("a/b", session) as sink:
        sink.write(b"abc")
    assert target.read_bytes() == b"precious"


def test_a_directory_that_cannot_be_made_is_an_error_of_the_store(tmp_path):
    (tmp_path / "serve-uploads").write_text("a file")
    with pytest.raises(StoreError):
        Place(tmp_path).server().start("a/b")


def test_many_uploads_at_once_do_not_mix(place, uploads):
    contents = [bytes([number]) * (500_000 * (number + 1)) for number in range(8)]

    def send(data):
        session = uploads.start("a/b")
        append(uploads, session, data[:100_000])
        append(uploads, session, data[100_000:], 100_000)
        uploads.finish("a/b", session, Digest.of(data))

    threads = [threading.Thread(target=send, args=(data,)) for data in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for data in contents:
        assert place.layout.exists(Descriptor("", Digest.of(data), len(data)))
        assert place.layout.examine(Digest.of(data)).fault is None
