"""Transfers over lines that break: 500 faults in every run of the tests; `tests/faults/run.py` has more."""

from __future__ import annotations

import gc
import os
import random
from pathlib import Path

import pytest

from modfile.backoff import Backoff
from modfile.errors import RegistryError
from modfile.registry import Registry, RegistrySettings
from modfile.verbs.push import push
from tests.registries.fake import Answer

from .proxy import Fault, Kind, Plan, fault_proxy
from .scenario import FAULTS_PER_SEED, Laboratory, Report, check_store, run_seed

SEEDS = 50
SHARDS = 10
MIB = 1 << 20
PATIENT = Backoff(sleep=lambda seconds: None)


@pytest.fixture(scope="module")
def laboratory(registry, tmp_path_factory):
    return Laboratory.prepare(registry.host, tmp_path_factory.mktemp("laboratory"))


@pytest.fixture(scope="module")
def total(laboratory):
    """What all shards came to, with one registry."""
    return Report()


def resident() -> int:
    """Return the bytes of memory that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("shard", range(SHARDS))
def test_transfers_end_right_whatever_happens_on_the_line(laboratory, total, shard):
    before = resident()
    for seed in range(shard * SEEDS // SHARDS, (shard + 1) * SEEDS // SHARDS):
        total.add(run_seed(laboratory, seed))
    gc.collect()
    assert resident() - before < 48 * MIB
    check_store(laboratory.layout)


def test_the_faults_were_as_many_as_is_said_and_of_every_kind(total):
    if total.runs == 0:
        pytest.skip("the shards were not chosen")
    assert total.faults.total() == SEEDS * FAULTS_PER_SEED == 250, str(total)
    assert set(total.faults) == set(Kind), str(total)
    assert set(total.failures) <= {"RegistryError", "ConnectionLostError", "VerificationError", "ContentError"}, str(
        total
    )
    assert total.failures.total() < total.runs / 2, str(total)


def test_a_seed_always_plans_the_same():
    one, two, other = (Plan.draw(random.Random(seed), 50) for seed in (1, 1, 2))

    def faults(plan):
        return [plan.take(request_body=True, answer_body=True) for _ in range(300)]

    assert (found := faults(one)) == faults(two)
    assert found != faults(other)
    assert one.left == 0
    assert one.injected.total() == 50


class EverySecondChunk(Plan):
    """Cuts every second PATCH in its middle, for ever."""

    def __init__(self, requests: list[str]) -> None:
        super().__init__()
        self._requests = requests

    def take(self, *, request_body: bool, answer_body: bool) -> Fault | None:
        chunks = sum(one.startswith("PATCH") for one in self._requests)
        cut = self._requests[-1].startswith("PATCH") and chunks % 2 == 0
        assert chunks < 500, "the upload does not end"
        return Fault(Kind.CUT_REQUEST, 0.5) if cut else None


def test_an_upload_that_always_breaks_at_the_same_place_ends(docker_registry, laboratory):
    """With a registry that keeps nothing of a chunk that was cut."""
    artifact = laboratory.artifacts[0]
    with fault_proxy(docker_registry.host) as proxy:
        proxy.plan = EverySecondChunk(proxy.requests)
        registry = Registry(proxy.host, RegistrySettings(chunk_size=2 * MIB, backoff=PATIENT))
        with pytest.raises(RegistryError, match=r"broke off|BLOB_UPLOAD"):  # by what happened the last time
            push(artifact.reference, laboratory.layout, registry.repository("faults/second-chunk"), concurrency=1)
        registry.close()
        assert sum(one.startswith("PATCH") for one in proxy.requests) < 30


def test_a_registry_without_chunks_behind_a_proxy_with_a_limit_is_an_error(fake, laboratory):
    fake.always("PATCH", "/uploads/", Answer(405))
    fake.on("PUT", "/uploads/", lambda seen: Answer(413) if len(seen.body) > MIB else None)
    artifact = laboratory.artifacts[0]
    registry = Registry(fake.host, RegistrySettings(chunk_size=MIB, backoff=PATIENT))
    with pytest.raises(RegistryError, match="413"):
        push(artifact.reference, laboratory.layout, registry.repository("faults/limit"), concurrency=1)
    registry.close()


@pytest.mark.parametrize("chunk_size", [100_000, MIB, 3 * MIB])
def test_chunks_never_grow_beyond_what_is_said(fake, laboratory, chunk_size):
    fake.on("PATCH", "/uploads/", Answer(503), Answer(502))
    artifact = laboratory.artifacts[0]
    registry = Registry(fake.host, RegistrySettings(chunk_size=chunk_size, backoff=PATIENT))
    push(artifact.reference, laboratory.layout, registry.repository(artifact.reference.repository), concurrency=1)
    registry.close()
    assert max(len(one.body) for one in fake.requests("PATCH")) <= chunk_size
