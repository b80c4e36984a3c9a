"""Uploads that an earlier process began: what was sent is not downloaded again, and all of it is verified."""

from __future__ import annotations

import pytest

from modfile.content import Digest
from modfile.errors import AccessDeniedError, VerificationError
from modfile.registry import Registry, UploadJournal
from tests.registries.fake import Answer
from tests.registry.reach import Credentials, reference, settings

from .conftest import weights
from .origins import MemoryOrigin

WEIGHTS = "model.safetensors"
MIB = 1 << 20


@pytest.fixture
def data() -> bytes:
    return weights(4_000_000)


@pytest.fixture
def reach(fake, tmp_path):
    """Give the repository as each process would have it."""

    def repository():
        uploads = UploadJournal(tmp_path / "uploads")
        registry = Registry(fake.host, settings(chunk_size=MIB), Credentials(None), uploads=uploads)
        return registry.repository("org/model")

    return repository


@pytest.fixture
def left(fake, reach, importer, data):
    """Let an import end after two chunks, as a process does that loses its right to go on."""
    refusing = [True]

    def refuse_the_third(seen):
        return Answer(403) if refusing[0] and len(fake.requests("PATCH")) > 2 else None

    fake.on("PATCH", "", refuse_the_third)
    repository = reach()
    with pytest.raises(AccessDeniedError, match=WEIGHTS):
        importer(repository).bring(MemoryOrigin({WEIGHTS: data}), [reference(repository)])
    refusing[0] = False
    (session,) = (kept for kept in fake.uploads.values() if len(kept) == 2 * MIB)
    return session


def test_what_was_sent_is_not_downloaded_again(fake, reach, importer, data, left):
    origin, repository = MemoryOrigin({WEIGHTS: data}), reach()
    done = importer(repository).bring(origin, [reference(repository)])
    assert min(one.start for one in origin.given if one.sent > 65536) == 2 * MIB
    assert origin.bytes_of(WEIGHTS) <= len(data) - 2 * MIB + 65536
    assert fake.blobs[str(Digest.of(data))] == data
    assert done.tally.to_json()["Resumed"] == {"Pieces": 1, "Bytes": 2 * MIB}


@pytest.mark.promise("O2")
def test_a_registry_that_kept_other_bytes_is_sent_all_of_them(fake, reach, importer, data, left):
    left[0] ^= 0xFF
    origin, repository = MemoryOrigin({WEIGHTS: data}), reach()
    done = importer(repository).bring(origin, [reference(repository)])
    assert fake.blobs[str(Digest.of(data))] == data
    assert done.tally.to_json()["Resumed"]["Pieces"] == 0


def test_wrong_bytes_behind_what_was_sent_are_found(fake, reach, importer, data, left):
    origin, repository = MemoryOrigin({WEIGHTS: data}), reach()
    origin.wrong[WEIGHTS] = data[:-1] + bytes([data[-1] ^ 1])
    with pytest.raises(VerificationError, match=WEIGHTS):
        importer(repository).bring(origin, [reference(repository)])
    assert fake.manifests == {}
    assert str(Digest.of(data)) not in fake.blobs


@pytest.mark.parametrize("more", [b"", b"!"])
def test_a_wrong_size_behind_what_was_sent_is_found(fake, reach, importer, data, left, more):
    origin, repository = MemoryOrigin({WEIGHTS: data}), reach()
    origin.wrong[WEIGHTS] = data + more if more else data[:-1]
    with pytest.raises(VerificationError, match=WEIGHTS):
        importer(repository).bring(origin, [reference(repository)])
    assert fake.manifests == {}


def test_an_upload_that_lacked_its_end_only_is_not_downloaded_at_all(fake, reach, importer, data, left):
    left += data[2 * MIB :]
    origin, repository = MemoryOrigin({WEIGHTS: data}), reach()
    importer(repository).bring(origin, [reference(repository)])
    assert origin.bytes_of(WEIGHTS) <= 65536
    assert fake.blobs[str(Digest.of(data))] == data
