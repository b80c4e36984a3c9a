"""Uploads that a later process goes on with."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from modfile.content import Descriptor, Digest
from modfile.errors import AccessDeniedError, RegistryError, VerificationError
from modfile.progress import SILENT, Outcome
from modfile.registry import Credential, Registry, UploadJournal
from modfile.registry.uploads import Session
from tests.registries.fake import Answer

from .reach import CountingMeter, Credentials, read_all, settings

MIB = 1 << 20
DAY = 24 * 3600
ROOT = Path(__file__).parent.parent.parent
DIGEST = Digest.of(b"some blob")

# Uploads a file in chunks, and kills itself at the N-th time that the session is written down, or byte that is sent.
KILLED = """
import os, signal, sys
from contextlib import contextmanager
from pathlib import Path
from modfile.content import Descriptor, Digest
from modfile.pipeline import FileReader
from modfile.registry import Registry, RegistrySettings, UploadJournal, uploads
from modfile.progress import SILENT
host, name, path, journal, saves, most = sys.argv[1:]
left, sent = [int(saves)], [0]
save = uploads.Entry.save
def die():
    os.kill(os.getpid(), signal.SIGKILL)
def counted(self, session):
    save(self, session)
    left[0] -= 1
    left[0] or die()
uploads.Entry.save = counted
class Meter:
    def resume(self, amount):
        pass

    def advance(self, amount):
        sent[0] += amount
        sent[0] < int(most) or die()
    def note(self, text):
        pass
class Source:
    @contextmanager
    def open(self, content, start=0):
        with open(path, "rb") as file:
            yield FileReader(file.fileno(), start)
data = Path(path).read_bytes()
content = Descriptor("a/b", Digest.of(data), len(data))
repo = Registry(host, RegistrySettings(chunk_size=1 << 20), uploads=UploadJournal(Path(journal))).repository(name)
repo.put(content, Source(), Meter())
"""


@pytest.fixture
def journal(tmp_path):
    return UploadJournal(tmp_path / "uploads")


def keeping(host, journal, name="org/model", credential=None, **more):
    """Return a repository whose uploads are written down."""
    return Registry(host, settings(**{"chunk_size": MIB} | more), Credentials(credential), uploads=journal).repository(
        name
    )


def files(journal):
    return sorted(journal.directory.iterdir()) if journal.directory.exists() else []


def ranges(fake):
    return [one.headers["content-range"].partition("-")[0] for one in fake.requests("PATCH")]


def cut_after(fake, patches):
    """Let the line be down from the n-th PATCH on, and return what brings it back."""
    down = [True]
    fake.on("PATCH", "", lambda seen: Answer(503) if down[0] and len(fake.requests("PATCH")) > patches else None)
    return lambda: down.clear() or down.append(False)


def leave_behind(fake, journal, source, size=4 * MIB, patches=2):
    """Upload a blob as far as some chunks; return its descriptor."""
    content = source.add(os.urandom(size))
    mend = cut_after(fake, patches)
    with pytest.raises(RegistryError, match="503"):
        keeping(fake.host, journal, attempts=1).put(content, source, SILENT)
    mend()
    fake.seen.clear()
    return content


# Through a registry that others wrote


def killed(registry, journal, name, data, tmp_path, saves="99", most=str(1 << 40)):
    path = tmp_path / "blob"
    path.write_bytes(data)
    argv = [sys.executable, "-c", KILLED, registry.host, name, str(path), str(journal.directory), saves, most]
    done = subprocess.run(argv, cwd=ROOT, check=False)
    assert done.returncode == -9
    return Descriptor("a/b", Digest.of(data), len(data))


def test_a_process_that_was_killed_is_gone_on_with(registry, journal, source, tmp_path):
    data = os.urandom(4 * MIB + 5)
    source.add(data)
    content = killed(registry, journal, "resumed/once", data, tmp_path, saves="3")
    repo, meter = keeping(registry.host, journal, "resumed/once"), CountingMeter()
    assert repo.put(content, source, meter) is Outcome.MOVED
    assert meter.notes == [f"going on at byte {2 * MIB:,}"]
    assert meter.done == content.size
    assert read_all(repo, content) == data
    assert files(journal) == []


def test_a_process_that_was_killed_in_a_chunk_loses_no_more_than_the_time(registry, journal, source, tmp_path):
    """The registry forgets an upload whose chunk was cut, so it is begun anew; what matters is that it succeeds."""
    data = os.urandom(4 * MIB)
    source.add(data)
    content = killed(registry, journal, "resumed/cut", data, tmp_path, most=str(2 * MIB + MIB // 2))
    repo, meter = keeping(registry.host, journal, "resumed/cut"), CountingMeter()
    assert repo.put(content, source, meter) is Outcome.MOVED
    assert meter.done == content.size
    assert read_all(repo, content) == data
    assert files(journal) == []


# What is left behind


def test_a_failed_upload_is_not_cancelled_and_the_next_goes_on(fake, journal, source):
    content = leave_behind(fake, journal, source)
    meter = CountingMeter()
    assert keeping(fake.host, journal).put(content, source, meter) is Outcome.MOVED
    assert fake.blobs[str(content.digest)] == source.content[content.digest]
    assert ranges(fake) == [str(2 * MIB), str(3 * MIB)]
    assert fake.requests("POST") == []
    assert meter.notes == [f"going on at byte {2 * MIB:,}"]
    assert meter.done == content.size
    assert files(journal) == []


def test_the_registry_says_where_the_upload_goes_on(fake, journal, source):
    """It may have kept a part of the chunk that was cut."""
    content = leave_behind(fake, journal, source)
    fake.uploads["session-1"] += source.content[content.digest][2 * MIB : 2 * MIB + 77]
    keeping(fake.host, journal).put(content, source, SILENT)
    assert ranges(fake)[0] == str(2 * MIB + 77)
    assert fake.blobs[str(content.digest)] == source.content[content.digest]


def test_all_of_it_may_be_there_already(fake, journal, source):
    content = leave_behind(fake, journal, source)
    fake.uploads["session-1"][:] = source.content[content.digest]
    keeping(fake.host, journal).put(content, source, SILENT)
    assert [one.method for one in fake.seen] == ["GET", "PUT"]
    assert fake.blobs[str(content.digest)] == source.content[content.digest]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(404),
        Answer(400),
        Answer(204),
        Answer(204, {"Range": "0-0"}),
        Answer(204, {"Range": "0-99999999"}),
        Answer(204, {"Range": "5-10"}),
        Answer(204, {"Range": "0-99", "Location": "ftp://x/"}),
        Answer(401, {"WWW-Authenticate": "Basic"}),
        Answer(200, {"Content-Type": "text/html"}, b"<html>"),
    ],
)
def test_a_session_that_is_no_more_is_begun_anew(fake, journal, source, answer):
    content = leave_behind(fake, journal, source)
    fake.on("GET", "uploads", answer)
    meter = CountingMeter()
    if answer.status == 401:
        with pytest.raises(AccessDeniedError):
            keeping(fake.host, journal).put(content, source, meter)
        assert len(files(journal)) == 1
        return
    assert keeping(fake.host, journal).put(content, source, meter) is Outcome.MOVED
    assert ranges(fake)[0] == "0"
    assert meter.done == content.size
    assert meter.notes == []


def test_a_registry_that_kept_other_bytes_gets_all_once_more(fake, journal, source):
    content = leave_behind(fake, journal, source)
    fake.uploads["session-1"][5] ^= 1
    meter = CountingMeter()
    assert keeping(fake.host, journal).put(content, source, meter) is Outcome.MOVED
    assert fake.blobs[str(content.digest)] == source.content[content.digest]
    assert meter.done == content.size


@pytest.mark.parametrize("where", [5, 3 * MIB])
def test_a_source_that_has_changed_is_found_out_and_the_session_dropped(fake, journal, source, where):
    content = leave_behind(fake, journal, source)
    data = bytearray(source.content[content.digest])
    data[where] ^= 1
    source.content[content.digest] = bytes(data)
    with pytest.raises(VerificationError):
        keeping(fake.host, journal).put(content, source, SILENT)
    assert fake.blobs == {}
    assert fake.uploads == {}
    assert files(journal) == []


@pytest.mark.parametrize("status", [400, 418, 501])
def test_a_session_that_the_registry_refuses_for_good_is_dropped(fake, journal, source, status):
    content = leave_behind(fake, journal, source)
    fake.on("PATCH", "", Answer(status))
    with pytest.raises(RegistryError):
        keeping(fake.host, journal).put(content, source, SILENT)
    assert files(journal) == []
    assert len(fake.requests("DELETE")) == 1


def test_who_may_not_go_on_loses_nothing(fake, journal, source):
    content = leave_behind(fake, journal, source)
    fake.on("PATCH", "", Answer(403))
    with pytest.raises(AccessDeniedError):
        keeping(fake.host, journal).put(content, source, SILENT)
    keeping(fake.host, journal).put(content, source, SILENT)
    assert ranges(fake) == [str(2 * MIB), str(2 * MIB), str(3 * MIB)]


@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_a_session_that_never_gets_further_is_given_up(fake, journal, source, method):
    content = leave_behind(fake, journal, source)
    fake.on(method, "session-1", lambda seen: Answer(500))
    failed = 0
    for _ in range(10):
        try:
            keeping(fake.host, journal, attempts=1).put(content, source, SILENT)
            break
        except RegistryError:
            failed += 1
    assert failed == 3
    assert fake.blobs[str(content.digest)] == source.content[content.digest]


def test_a_session_that_gets_further_with_every_process_is_never_given_up(fake, journal, source):
    """None of them sends a whole chunk, but the registry keeps what came of it."""
    content = leave_behind(fake, journal, source)
    begun, left = len(fake.requests("POST")), iter(range(8))

    def keep_a_little(seen):
        if next(left, None) is None:
            return None
        fake.uploads["session-1"] += seen.body[:1000]
        return Answer(403)

    fake.on("PATCH", "session-1", keep_a_little)
    for _ in range(8):
        with pytest.raises(AccessDeniedError):
            keeping(fake.host, journal).put(content, source, SILENT)
    keeping(fake.host, journal).put(content, source, SILENT)
    assert len(fake.requests("POST")) == begun
    assert fake.blobs[str(content.digest)] == source.content[content.digest]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupt_leaves_what_can_be_gone_on_with(fake, journal, source, error):
    content = source.add(os.urandom(4 * MIB))

    class Interrupted(CountingMeter):
        def resume(self, amount):
            pass

        def advance(self, amount):
            super().advance(amount)
            if self.done > 2 * MIB:
                raise error

    with pytest.raises(error):
        keeping(fake.host, journal).put(content, source, Interrupted())
    assert fake.requests("DELETE") == []
    meter = CountingMeter()
    keeping(fake.host, journal).put(content, source, meter)
    assert meter.notes == [f"going on at byte {2 * MIB:,}"]


def test_the_size_of_chunks_is_remembered(fake, journal, source):
    """A proxy that lets no more than a mebibyte through would otherwise be found out again and again."""

    def begin(seen):
        answer = fake._usual(seen)
        answer.headers["OCI-Chunk-Min-Length"] = str(2 * MIB)
        return answer

    fake.on("POST", "uploads", begin)
    content = leave_behind(fake, journal, source, 7 * MIB, 1)
    keeping(fake.host, journal).put(content, source, SILENT)
    assert ranges(fake) == [str(2 * MIB), str(4 * MIB), str(6 * MIB)]


def test_small_blobs_are_not_written_down(fake, journal, source):
    keeping(fake.host, journal).put(source.add(os.urandom(MIB)), source, SILENT)
    assert not journal.directory.exists()


def test_a_registry_without_chunks_leaves_nothing_to_go_on_with(fake, journal, source):
    fake.always("PATCH", "", Answer(405))
    fake.on("PUT", "uploads", Answer(503))
    with pytest.raises(RegistryError):
        keeping(fake.host, journal, attempts=1).put(source.add(os.urandom(2 * MIB)), source, SILENT)
    assert files(journal) == []
    assert len(fake.requests("DELETE")) == 1


def test_a_session_on_another_origin_is_asked_without_credentials(fake, other_fake, journal, source):
    basic = {"WWW-Authenticate": "Basic"}
    other_fake.uploads["elsewhere"] = bytearray()
    location = {"Location": f"http://{other_fake.host}/v2/x/blobs/uploads/elsewhere"}
    fake.on("POST", "uploads", lambda seen: Answer(202, location) if seen.authorization else Answer(401, basic))
    mend = cut_after(other_fake, 1)
    content, alice = source.add(os.urandom(3 * MIB)), Credential("alice", "hidden")
    with pytest.raises(RegistryError):
        keeping(fake.host, journal, credential=alice, attempts=1).put(content, source, SILENT)
    mend()
    keeping(fake.host, journal, credential=alice).put(content, source, SILENT)
    assert len(fake.requests("POST", "uploads")) == 2  # the first one without a credential
    assert {one.authorization for one in other_fake.seen} == {None}
    assert other_fake.blobs[str(content.digest)] == source.content[content.digest]


# The journal


def saved(journal, session=None, repository="org/model", meter=SILENT):
    """Write a session down, and return its file."""
    with journal.entry("http://r.io", repository, DIGEST, meter) as entry:
        entry.save(session or Session("http://r.io/1", MIB, MIB))
    return files(journal)[0]


def found(journal, repository="org/model", origin="http://r.io"):
    with journal.entry(origin, repository, DIGEST, SILENT) as entry:
        return entry.session


def test_what_is_written_down_is_found_again_by_its_owner_only(journal):
    path = saved(journal, Session("http://r.io/1?secret", 2 * MIB, MIB, 2))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(journal.directory.stat().st_mode) == 0o700
    assert found(UploadJournal(journal.directory)) == Session("http://r.io/1?secret", 2 * MIB, MIB, 2)
    assert found(journal, "org/other") is None
    assert found(journal, origin="https://r.io") is None
    assert files(journal) == [path]


def test_what_is_forgotten_is_gone(journal):
    saved(journal)
    with journal.entry("http://r.io", "org/model", DIGEST, SILENT) as entry:
        entry.forget()
        assert not entry.kept
    assert files(journal) == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\0",
        b"[" * 60_000,
        b"x" * 100_000,
        b"{}",
        b'{"url": "http://r.io/1"}',
        {"url": 7},
        {"url": None},
        {"chunk": "1"},
        {"chunk": -1},
        {"chunk": True},
        {"least": 1.5},
        {"fruitless": None},
        {"reached": -1},
        {"key": "http://r.io org/other"},
        {"more": 1},
    ],
)
def test_a_damaged_file_counts_for_nothing(journal, data):
    path = saved(journal)
    value = json.loads(path.read_bytes())
    path.write_bytes(data if isinstance(data, bytes) else json.dumps(value | data).encode())
    assert found(journal) is None
    saved(journal)
    assert found(journal) is not None


@pytest.mark.parametrize("url", ["", "/relative", "ftp://x/", "http://u:p@x/", "http://[::", "x" * 5000])
def test_a_session_with_an_address_that_is_none_is_begun_anew(fake, journal, source, url):
    content = leave_behind(fake, journal, source)
    path = files(journal)[0]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"url": url}))
    keeping(fake.host, journal).put(content, source, SILENT)
    assert fake.blobs[str(content.digest)] == source.content[content.digest]


def test_a_session_that_leads_from_https_to_http_is_begun_anew(tls_fake, other_fake, ca_file, journal, source):
    content = source.add(os.urandom(3 * MIB))
    mend = cut_after(tls_fake, 1)
    with pytest.raises(RegistryError):
        keeping(tls_fake.host, journal, attempts=1, plain_http=False, ca_file=ca_file).put(content, source, SILENT)
    mend()
    path = files(journal)[0]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"url": f"http://{other_fake.host}/v2/x"}))
    keeping(tls_fake.host, journal, plain_http=False, ca_file=ca_file).put(content, source, SILENT)
    assert other_fake.seen == []
    assert tls_fake.blobs[str(content.digest)] == source.content[content.digest]


@pytest.mark.parametrize(("age", "kept"), [(6 * DAY, True), (8 * DAY, False)])
def test_what_is_older_than_a_week_counts_for_nothing_and_is_removed(journal, age, kept):
    path = saved(journal)
    later = UploadJournal(journal.directory, clock=lambda: time.time() + age)
    found(later, "org/other")
    assert path.exists() is kept
    assert (found(later) is not None) is kept


def test_what_is_old_but_in_use_is_left_alone(journal):
    with journal.entry("http://r.io", "org/model", DIGEST, SILENT) as entry:
        entry.save(Session("http://r.io/1", MIB, MIB))
        later = UploadJournal(journal.directory, clock=lambda: time.time() + 8 * DAY)
        found(later, "org/other")
        assert len(files(journal)) == 1


def test_an_old_file_is_not_gone_on_with_by_who_knew_it_when_it_was_young(journal):
    now = [time.time()]
    old = UploadJournal(journal.directory, clock=lambda: now[0])
    saved(old)
    now[0] += 8 * DAY
    assert found(old) is None


@pytest.mark.parametrize("kind", ["file", "read-only", "link", "fifo", "directory"])
def test_a_directory_that_cannot_be_used_is_no_failure(fake, tmp_path, source, kind):
    journal = UploadJournal(tmp_path / "uploads")
    if kind == "file":
        journal.directory.write_text("in the way")
    else:
        path = saved(journal)
        name = path.name
        path.unlink()
        with journal.entry(f"http://{fake.host}", "org/model", Digest.of(bytes(2 * MIB)), SILENT) as entry:
            name = entry._name
        path = journal.directory / name
        if kind == "read-only":
            journal.directory.chmod(0o500)
        elif kind == "link":
            path.symlink_to(tmp_path / "elsewhere")
        elif kind == "fifo":
            os.mkfifo(path)
        else:
            path.mkdir()
    try:
        content = source.add(bytes(2 * MIB))
        assert keeping(fake.host, journal).put(content, source, SILENT) is Outcome.MOVED
        assert not (tmp_path / "elsewhere").exists()
    finally:
        if kind != "file":
            journal.directory.chmod(0o700)


# Two at once


def test_the_same_blob_is_uploaded_once_and_the_other_waits(fake, journal, source):
    content = source.add(os.urandom(3 * MIB))
    go_on = threading.Event()

    class Holding(CountingMeter):
        def resume(self, amount):
            pass

        def advance(self, amount):
            super().advance(amount)
            assert go_on.wait(10) or self.done <= MIB

    class Waiting(CountingMeter):
        def note(self, text):
            super().note(text)
            go_on.set()

    outcomes = {}

    def first():
        outcomes["first"] = keeping(fake.host, journal).put(content, source, Holding())

    thread = threading.Thread(target=first)
    thread.start()
    while not files(journal):
        time.sleep(0.01)
    waiting = Waiting()
    outcomes["second"] = keeping(fake.host, journal).put(content, source, waiting)
    thread.join()
    assert outcomes == {"first": Outcome.MOVED, "second": Outcome.SKIPPED}
    assert waiting.notes == ["waiting for another process that uploads the same content"]
    assert len(fake.requests("POST")) == 1
    assert files(journal) == []


def test_who_waited_in_vain_uploads(fake, journal, source):
    """The other process had the entry and went away without the blob."""
    content = source.add(os.urandom(2 * MIB))

    class Waiting(CountingMeter):
        def note(self, text):
            super().note(text)
            os.close(lock)

    with journal.entry(f"http://{fake.host}", "org/model", content.digest, SILENT) as entry:
        name = entry._name
    lock = os.open(journal.directory / name, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert keeping(fake.host, journal).put(content, source, Waiting()) is Outcome.MOVED
    assert fake.blobs[str(content.digest)] == source.content[content.digest]


def test_waiting_can_be_stopped(fake, journal, source):
    class Stop(Exception):
        pass

    class Stopping(CountingMeter):
        def resume(self, amount):
            pass

        def advance(self, amount):
            raise Stop

    content = source.add(os.urandom(2 * MIB))
    with (
        journal.entry(f"http://{fake.host}", "org/model", content.digest, SILENT),
        pytest.raises(Stop),
    ):
        keeping(fake.host, journal).put(content, source, Stopping())
    assert fake.seen == []


def test_many_threads_lose_nothing_to_each_other(journal):
    """Each finds what the one before it wrote."""
    counts = []

    def work():
        for _ in range(20):
            with journal.entry("http://r.io", "org/model", DIGEST, SILENT) as entry:
                before = entry.session.fruitless if entry.session else 0
                entry.save(Session("http://r.io/1", MIB, MIB, before + 1))
                counts.append(before)

    journal._sleep = lambda seconds: time.sleep(0.0001)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(counts) == list(range(80))
