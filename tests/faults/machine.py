"""A store and a model of it, walked through together at random.

    python -m tests.faults.machine [--examples N] [--steps N]

The model is what must be there: the tags, the manifests that lost theirs, the bytes of every blob; and which of these
something came over. Whatever is done, the store has what the model has, byte for byte, and `prune` removes exactly
what nothing of the index leads to.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from modfile.content import Descriptor, Digest
from modfile.errors import NotFoundError, StoreError, VerificationError
from modfile.kind import Kind
from modfile.layout import Layout
from modfile.manifest import MAX_MANIFEST, OCI_MANIFEST, Manifest
from modfile.modelpack import ARTIFACT_TYPE, CONFIG_TYPE, FileMetadata, raw_layer
from modfile.reference import Reference
from modfile.store import BytesReader, InMemory, read
from modfile.verbs.prune import prune

if TYPE_CHECKING:
    from collections.abc import Sequence

_BLOB = "application/octet-stream"
_CONFIG = b'{"modelfs":{"type":"layers","diffIds":[]}}'
NAMES = tuple(Reference("machine.test", repository, tag) for repository in ("a", "b/c") for tag in ("one", "two"))
DATA = tuple(bytes([65 + number]) * size for number, size in enumerate((0, 1, 2, 5000, 70_000)))

names = st.sampled_from(NAMES)
pieces = st.integers(0, len(DATA) - 1).map(DATA.__getitem__)
places = st.integers(0, 100)


class StoreMachine(RuleBasedStateMachine):
    """The store beside its model."""

    @initialize()
    def begin(self) -> None:
        """Begin with no store at all."""
        shared = Path("/dev/shm")
        self.directory = Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else None))
        self.layout = Layout(self.directory / "store")
        self.tags: dict[Reference, Digest] = {}
        self.loose: set[tuple[str, Digest]] = set()
        self.blobs: dict[Digest, bytes] = {}
        self.manifests: dict[Digest, frozenset[Digest]] = {}
        self.hurt: set[Digest] = set()  # lost, short or wrong
        self.wrong: set[Digest] = set()  # with as many bytes as it should have
        self.left = 0

    def teardown(self) -> None:
        """Remove the store."""
        if hasattr(self, "directory"):
            shutil.rmtree(self.directory)

    # What is done

    @rule(data=pieces)
    def put(self, data: bytes) -> None:
        """Bring content whose digest is known, with whatever an earlier try has left of it."""
        self._put(data, _BLOB)

    @rule(data=pieces)
    def add(self, data: bytes) -> None:
        """Bring content whose digest is not known."""
        assert self.layout.add(BytesReader(data), len(data)) == Digest.of(data)
        self._has(data)

    @rule(name=names, files=st.lists(pieces, max_size=3, unique=True), shape=st.booleans())
    def store(self, name: Reference, files: list[bytes], shape: bool) -> None:
        """Bring an artifact, and name it."""
        with self.layout.writing():
            data = _manifest(files, "one" if shape else "other")
            for piece in (*files, _CONFIG):
                self._put(piece, _BLOB)
            content = self._put(data, OCI_MANIFEST)
            self.layout.tag(content, name)
        self.manifests[content.digest] = frozenset(Digest.of(piece) for piece in (*files, _CONFIG))
        self._name(name, content.digest)

    @rule(name=names, other=names)
    def tag(self, name: Reference, other: Reference) -> None:
        """Let a name point at what another does."""
        if other not in self.tags:
            return
        content = self.layout.resolve(other)
        if content.digest in self.hurt:
            return
        self.layout.tag(content, name)
        self._name(name, content.digest)

    @rule(name=names)
    def tag_what_is_not_there(self, name: Reference) -> None:
        """Fail to name what is not there."""
        missing = Descriptor(OCI_MANIFEST, Digest.of(b"missing"), 7)
        try:
            self.layout.tag(missing, name)
        except NotFoundError:
            return
        raise AssertionError("what is not there has a name")

    @rule(chosen=st.lists(names, min_size=1, max_size=2, unique=True))
    def untag(self, chosen: list[Reference]) -> None:
        """Take names away, all or none."""
        try:
            self.layout.untag(chosen)
        except NotFoundError:
            assert not all(name in self.tags for name in chosen)
            return
        for name in chosen:
            self._unname(name)

    @rule(place=places)
    def untag_by_digest(self, place: int) -> None:
        """Take away all that a repository has of a manifest."""
        entries = sorted({(name.name, digest) for name, digest in self.tags.items()} | self.loose)
        if not entries:
            return
        repository, digest = entries[place % len(entries)]
        name = next(name for name in NAMES if name.name == repository)
        self.layout.untag([Reference(name.host, name.repository, None, digest)])
        self.loose.discard((repository, digest))
        for name in [name for name, one in self.tags.items() if (name.name, one) == (repository, digest)]:
            del self.tags[name]

    @rule(remove_untagged=st.booleans(), dry_run=st.booleans())
    def prune(self, remove_untagged: bool, dry_run: bool) -> None:
        """Remove what nothing leads to: that, and nothing else."""
        loose = set() if remove_untagged else self.loose
        roots = {*self.tags.values(), *(digest for _, digest in loose)}
        listed = {*self.tags.values(), *(digest for _, digest in self.loose)}
        needed = roots | {child for root in roots for child in self.manifests[root]}
        before = self._there()
        try:
            pruned = prune(self.layout, remove_untagged=remove_untagged, dry_run=dry_run)
        except StoreError:
            assert self.hurt & listed, "prune refused without a reason"
            assert self._there() == before, "prune refused, and removed all the same"
            return
        assert not self.hurt & listed, "prune did not see that a manifest cannot be read"
        assert set(pruned.blobs) == before - needed
        assert pruned.partials == self.left
        if dry_run:
            assert self._there() == before
            return
        assert self._there() == before & needed
        self.loose, self.left = set(loose), 0
        self.blobs = {digest: data for digest, data in self.blobs.items() if digest in needed}
        self.hurt &= needed
        self.wrong &= needed

    @rule()
    def reopen(self) -> None:
        """Go on as another command."""
        self.layout = Layout(self.layout.root)

    # What happens to it

    @rule(data=pieces, part=st.integers(0, 3), wrong=st.booleans(), mode=st.sampled_from((0o600, 0o444)))
    def leave_partial(self, data: bytes, part: int, wrong: bool, mode: int) -> None:
        """Leave what a writer leaves that was killed; what it wrote may have been torn."""
        ingest = self.layout.root / "ingest"
        path = ingest / f"sha256-{Digest.of(data).hex}"
        if not ingest.is_dir() or path.exists():
            return
        left = data[: len(data) * part // 3]
        path.write_bytes(b"\0" * len(left) if wrong else left + b"more" * (part == 3))
        path.chmod(mode)
        self.left += 1

    @rule()
    def leave_new(self) -> None:
        """Leave content that no other writer goes on with."""
        ingest = self.layout.root / "ingest"
        if ingest.is_dir() and not (ingest / "new-0").exists():
            (ingest / "new-0").write_bytes(b"half of")
            self.left += 1

    @rule(place=places, how=st.sampled_from(("lost", "short", "wrong")))
    def harm(self, place: int, how: str) -> None:
        """Lose a blob, or its end, or change a byte of it."""
        whole = sorted(digest for digest, data in self.blobs.items() if digest not in self.hurt and data)
        if not whole:
            return
        digest = whole[place % len(whole)]
        path = self.layout.blob_path(digest)
        path.unlink()
        if how == "short":
            path.write_bytes(self.blobs[digest][:-1])
        elif how == "wrong":
            path.write_bytes(self.blobs[digest][:-1] + b"!")
            self.wrong.add(digest)
        self.hurt.add(digest)

    @rule()
    def throw_away(self) -> None:
        """Remove by hand what is wrong, so that it can be brought again."""
        for digest in self.wrong:
            self.layout.blob_path(digest).unlink()
        self.wrong.clear()

    # What holds

    @invariant()
    def has_every_name(self) -> None:
        """The index is what the model has."""
        entries = self.layout.entries()
        assert {entry.reference: entry.content.digest for entry in entries if entry.name} == self.tags
        assert {(entry.repository, entry.content.digest) for entry in entries if not entry.name} == self.loose
        assert len(entries) == len(self.tags) + len(self.loose)

    @invariant()
    def has_every_byte(self) -> None:
        """Every blob is there and right, but for those that something came over."""
        for digest, data in self.blobs.items():
            if digest not in self.hurt:
                assert read(self.layout, Descriptor(_BLOB, digest, len(data)), len(data)) == data
            elif digest in self.wrong:
                assert not _is_readable(self.layout, digest, len(data))
        for digest, _ in self.layout.blobs():
            assert digest in self.blobs

    @invariant()
    def leads_to_all_that_is_named(self) -> None:
        """What a name leads to is what the model says, whole."""
        for name, digest in self.tags.items():
            content = self.layout.resolve(name)
            assert content.digest == digest
            if digest not in self.hurt:
                manifest = Manifest.parse(read(self.layout, content, MAX_MANIFEST))
                children = {manifest.config.digest, *(layer.digest for layer in manifest.layers)}
                assert children == self.manifests[digest]

    @invariant()
    def keeps_what_is_under_way(self) -> None:
        """Nothing is left behind by what succeeded."""
        assert len(list(self.layout.partials())) == self.left

    # The model

    def _put(self, data: bytes, media_type: str) -> Descriptor:
        content = Descriptor(media_type, Digest.of(data), len(data))
        left = self.layout.root / "ingest" / f"sha256-{content.digest.hex}"
        self.left -= left.exists()
        self.layout.put(content, InMemory({content: data}))
        self._has(data)
        return content

    def _has(self, data: bytes) -> None:
        self.blobs[Digest.of(data)] = data
        if Digest.of(data) not in self.wrong:  # which is not seen, for it has the right size
            self.hurt.discard(Digest.of(data))

    def _name(self, name: Reference, digest: Digest) -> None:
        if name in self.tags:
            self._unname(name)
        self.loose.discard((name.name, digest))
        self.tags[name] = digest

    def _unname(self, name: Reference) -> None:
        digest = self.tags.pop(name)
        if not any((other.name, one) == (name.name, digest) for other, one in self.tags.items()):
            self.loose.add((name.name, digest))

    def _there(self) -> set[Digest]:
        return {digest for digest, _ in self.layout.blobs()}


def _is_readable(layout: Layout, digest: Digest, size: int) -> bool:
    try:
        read(layout, Descriptor(_BLOB, digest, size), size)
    except VerificationError:
        return False
    return True


def _manifest(files: Sequence[bytes], title: str) -> bytes:
    layers = tuple(
        raw_layer(Kind.MODEL, f"{number}.bin", Digest.of(data), FileMetadata("x", 0o644, 0, 0, len(data), 0))
        for number, data in enumerate(files)
    )
    config = Descriptor(CONFIG_TYPE, Digest.of(_CONFIG), len(_CONFIG))
    return Manifest(OCI_MANIFEST, config, layers, ARTIFACT_TYPE, annotations={"title": title}).to_bytes()


def walk(examples: int, steps: int, *, derandomize: bool = False) -> None:
    """Walk through the store so many times, in so many steps.

    Raises:
        AssertionError: store and model differ.
    """
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=derandomize,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(StoreMachine, settings=chosen)


def main() -> None:
    """Walk for long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=5000)
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    walk(options.examples, options.steps)
    print(f"{options.examples} examples of up to {options.steps} steps")


if __name__ == "__main__":
    main()
