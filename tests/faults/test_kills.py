"""Commands that are killed, or interrupted, and the same commands again."""

from __future__ import annotations

import random
import signal
import sys
import time
import urllib.request

import pytest

from modfile.content import Digest
from modfile.manifest import OCI_MANIFEST
from modfile.reference import Reference
from modfile.registry import Registry
from modfile.storage import Storage
from modfile.verbs.push import push

from .killed import VERBS, Trial
from .processes import Command, wait_until
from .proxy import Fault, Kind, Plan, fault_proxy
from .scenario import check_store, make_artifact

MIB = 1 << 20
SENDING = (sys.executable, "-m", "tests.faults.sending")
UNDER_WAY = 8 * MIB
"""What of a stream may be on its way in sockets and buffers when a process is killed."""
LATE = MIB // 4
"""What the proxy may still count of the connections of a process that is dead already."""


def make(storage, reference, seed, *sizes):
    """Store an artifact of random files."""
    chance = random.Random(seed)
    files = {f"{at}.bin": chance.randbytes(size) for at, size in enumerate(sizes)}
    return make_artifact(storage.layout, reference, files)


def kept(storage):
    """Return the bytes of content that the store has, whole or under way."""
    whole = sum(status.st_size for _, status in storage.layout.blobs())
    return whole + sum(status.st_size for _, status in storage.layout.partials())


def in_registry(host, repository, what):
    request = urllib.request.Request(f"http://{host}/v2/{repository}/{what}", headers={"Accept": OCI_MANIFEST})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        return answer.read()


def check_registry(host, artifact):
    """See that a registry has an artifact under its tag, every byte of it."""
    repository = artifact.reference.repository
    assert Digest.of(in_registry(host, repository, "manifests/v1")) == artifact.content.digest
    for blob in artifact.blobs:
        assert Digest.of(in_registry(host, repository, f"blobs/{blob.digest}")) == blob.digest


def tags(host, repository):
    try:
        return in_registry(host, repository, "tags/list")
    except urllib.error.HTTPError as error:
        error.close()
        return b""


# Every step


@pytest.mark.promise("S4", "G1", "W3")
@pytest.mark.parametrize("verb", VERBS)
def test_a_command_killed_at_any_step_loses_nothing_and_succeeds_the_next_time(tmp_path, verb):
    every = 3 if verb == "build" else 1  # a build has a hundred steps
    program = (sys.executable, "-m", "tests.faults.killed")
    command = Command(tmp_path, verb, tmp_path, "--every", every, program=program)
    assert int(command.succeed()) >= 10


def test_what_is_looked_at_after_a_kill_can_be_wrong(tmp_path):
    trial = Trial(tmp_path)
    trial.prepare()
    trial.check()
    blob = trial.layout.blob_path(trial.large.files["x/y.bin"])
    blob.chmod(0o600)
    blob.write_bytes(b"Shared")
    with pytest.raises(AssertionError):
        trial.check()
    blob.write_bytes(b"shared")
    trial.check()
    trial.layout.untag([Reference("faults.test", "faults/killed", "old")])
    with pytest.raises(AssertionError, match="a tag is lost"):
        trial.check()


# Pull


@pytest.mark.promise("S4")
@pytest.mark.parametrize("seed", range(3))
def test_a_killed_pull_goes_on_where_it_was(registry, tmp_path, seed):
    chance = random.Random(seed)
    near, far = Storage(tmp_path / "storage"), Storage(tmp_path / "far")
    with fault_proxy(registry.host) as proxy:
        reference = Reference(proxy.host, f"kills/pull-{seed}", "v1")
        artifact = make(far, reference, seed, 40 * MIB, 100)
        push(reference, far.layout, Registry(registry.host).repository(reference.repository))
        size = sum(blob.size for blob in artifact.blobs)
        proxy.rate = 32 * MIB
        moved = 0
        for part in (chance.uniform(0.2, 0.5), chance.uniform(0.7, 0.95)):
            before, proxy.down = kept(near), 0
            goal = part * size - before
            assert Command(tmp_path, "pull", reference).kill_when(lambda goal=goal: proxy.down >= goal)
            moved += proxy.down
            check_store(near.layout)
            assert not near.layout.entries(), "a killed pull left a tag"
            assert kept(near) >= before + proxy.down - UNDER_WAY
        proxy.rate, proxy.down, left = None, 0, size - kept(near)
        Command(tmp_path, "pull", reference).succeed()
        assert proxy.down <= left + artifact.content.size + artifact.blobs[0].size + LATE
        assert moved + proxy.down <= size + 2 * UNDER_WAY + 3 * artifact.content.size
    assert near.layout.resolve(reference).digest == artifact.content.digest
    check_store(near.layout)
    assert not [path for path, _ in near.layout.partials() if path.name.startswith("sha")]


# Push


@pytest.mark.parametrize("chunks", [1, 5, 11])
def test_a_push_killed_between_chunks_goes_on_with_the_next(registry, tmp_path, chunks):
    storage = Storage(tmp_path / "storage")
    with fault_proxy(registry.host) as proxy:
        reference = Reference(proxy.host, f"kills/push-{chunks}", "v1")
        artifact = make(storage, reference, chunks, 12 * MIB)
        proxy.plan, proxy.stall = StallAtChunk(proxy.requests, chunks + 1), 60.0
        killed = Command(tmp_path, reference, storage.directory, MIB, program=SENDING)
        assert killed.kill_when(lambda: proxy.plan.injected.total() > 0)
        assert proxy.up >= chunks * MIB
        assert not tags(registry.host, reference.repository)
        proxy.plan, proxy.up = Plan(), 0
        Command(tmp_path, reference, storage.directory, MIB, program=SENDING).succeed()
        sent = sum(blob.size for blob in artifact.blobs) + artifact.content.size
        assert proxy.up <= sent + artifact.content.size - chunks * MIB + LATE
        check_registry(registry.host, artifact)
    assert not any((storage.directory / "uploads").iterdir())
    check_store(storage.layout)


class StallAtChunk(Plan):
    """Lets nothing of the n-th PATCH through, so that a command can be killed between two chunks."""

    def __init__(self, requests, number):
        super().__init__()
        self._requests = requests
        self._number = number

    def take(self, *, request_body, answer_body):
        if sum(one.startswith("PATCH") for one in self._requests) < self._number or self.injected:
            return None
        self.injected[Kind.STALL_REQUEST] += 1
        return Fault(Kind.STALL_REQUEST)


@pytest.mark.parametrize("seed", range(3))
def test_a_push_killed_anywhere_loses_one_chunk_at_most(fake, tmp_path, seed):
    """The fake registry, as most do, keeps the chunks that came in whole when one is cut."""
    storage, chance = Storage(tmp_path / "storage"), random.Random(seed)
    with fault_proxy(fake.host) as proxy:
        reference = Reference(proxy.host, f"kills/anywhere-{seed}", "v1")
        artifact = make(storage, reference, seed, 12 * MIB + 1)
        size = sum(blob.size for blob in artifact.blobs)
        proxy.rate = 16 * MIB
        goal = chance.uniform(0.1, 0.9) * size
        killed = Command(tmp_path, reference, storage.directory, MIB, program=SENDING)
        assert killed.kill_when(lambda: proxy.up >= goal)
        assert not fake.manifests
        proxy.rate, first, proxy.up = None, proxy.up, 0
        Command(tmp_path, reference, storage.directory, MIB, program=SENDING).succeed()
        assert proxy.up <= size - first + MIB + 2 * artifact.content.size + LATE
        assert all(str(blob.digest) in fake.blobs for blob in artifact.blobs)
        assert Digest.of(fake.manifests["v1"][1]) == artifact.content.digest
    check_store(storage.layout)


@pytest.mark.parametrize("seed", range(3))
def test_a_push_killed_anywhere_ends_right_the_next_time(registry, tmp_path, seed):
    storage, chance = Storage(tmp_path / "storage"), random.Random(seed)
    with fault_proxy(registry.host) as proxy:
        reference = Reference(proxy.host, f"kills/random-{seed}", "v1")
        artifact = make(storage, reference, seed, 8 * MIB, 2 * MIB + 1, 100)
        size = sum(blob.size for blob in artifact.blobs)
        proxy.rate = 24 * MIB
        for part in (chance.random(), chance.random()):
            goal, proxy.up = part * size * 0.9, 0
            killed = Command(tmp_path, reference, storage.directory, MIB, program=SENDING)
            if killed.kill_when(lambda goal=goal: proxy.up >= goal):
                assert not tags(registry.host, reference.repository)
            check_store(storage.layout)
        proxy.rate = None
        Command(tmp_path, reference, storage.directory, MIB, program=SENDING).succeed()
        check_registry(registry.host, artifact)


def test_a_killed_push_of_the_program_goes_on_with_the_next_chunk(registry, tmp_path):
    storage = Storage(tmp_path / "storage")
    with fault_proxy(registry.host) as proxy:
        reference = Reference(proxy.host, "kills/program", "v1")
        artifact = make(storage, reference, 0, 130 * MIB)
        proxy.plan, proxy.stall = StallAtChunk(proxy.requests, 2), 60.0
        assert Command(tmp_path, "push", reference).kill_when(lambda: proxy.plan.injected.total() > 0)
        assert proxy.up >= 64 * MIB
        proxy.plan, proxy.up = Plan(), 0
        assert str(artifact.content.digest) in Command(tmp_path, "push", reference).succeed()
        assert proxy.up <= 66 * MIB + 3 * artifact.content.size + LATE
        check_registry(registry.host, artifact)


# Interrupts


class NoAnswers(Plan):
    """Answers nothing from some request on, as a server does that hangs."""

    def __init__(self, requests, first):
        super().__init__()
        self._requests = requests
        self._first = first

    def take(self, *, request_body, answer_body):
        if self._first not in self._requests[-1]:
            return None
        self.injected[Kind.STALL_ANSWER] += 1
        return Fault(Kind.STALL_ANSWER, 0.5)


@pytest.mark.promise("G1", "R8")
@pytest.mark.parametrize(
    ("verb", "where"),
    [("pull", "/manifests/"), ("pull", "GET /v2/kills/stalled/blobs/"), ("push", "HEAD"), ("push", "POST")],
)
def test_an_interrupt_ends_a_command_whose_server_never_answers(registry, tmp_path, verb, where):
    storage = Storage(tmp_path / "storage")
    far = storage if verb == "push" else Storage(tmp_path / "far")
    with fault_proxy(registry.host) as proxy:
        reference = Reference(proxy.host, "kills/stalled", "v1")
        make(far, reference, len(where), 2 * MIB, 3 * MIB)
        if verb == "pull":
            push(reference, far.layout, Registry(registry.host).repository(reference.repository))
        proxy.plan, proxy.stall = NoAnswers(proxy.requests, where), 60.0
        command = Command(tmp_path, verb, reference)
        wait_until(lambda: proxy.plan.injected.total() > 0 or not command.running)
        time.sleep(0.3)  # until it waits in the network rather than works
        began = time.monotonic()
        command.process.send_signal(signal.SIGINT)
        code, output, errors = command.end()
        assert time.monotonic() - began < 5.0  # of about one, on a machine that has much to do; the stall lasts 60
    assert (code, output) == (130, "")
    assert "interrupted" in errors.splitlines()[-1]
    assert "Traceback" not in errors
    check_store(storage.layout)
    assert len(storage.layout.entries()) == (verb == "push")
