"""One seed, one story: a push, a pull or an extraction through a proxy that breaks it, until it has succeeded."""

from __future__ import annotations

import hashlib
import random
import shutil
import urllib.request
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from modfile.backoff import Backoff
from modfile.content import Descriptor, Digest
from modfile.errors import ModfileError
from modfile.kind import Kind as FileKind
from modfile.layout import Layout
from modfile.manifest import OCI_MANIFEST, Manifest
from modfile.modelpack import ARTIFACT_TYPE, CONFIG_TYPE, FileMetadata, raw_layer
from modfile.reference import Reference
from modfile.registry import Registry, RegistrySettings
from modfile.verbs.extract import extract
from modfile.verbs.pull import pull
from modfile.verbs.push import push

from .proxy import Kind, Plan, fault_proxy

if TYPE_CHECKING:
    from pathlib import Path

    from .proxy import FaultProxy

FAULTS_PER_SEED = 5
_HOST = "faults.test"
_KIB, _MIB = 1 << 10, 1 << 20
_SIZES = (
    (8 * _MIB,),
    (5 * _MIB + 1, 3 * _MIB, 100),
    (_MIB, _MIB + 1, 256 * _KIB, 0, 1),
    (2 * _MIB + 500 * _KIB, 2 * _MIB, 2 * _MIB - 1, 700 * _KIB),
    (13 * _MIB + 3, 10),
)
_RATE = 200e6
"""Slow enough, in bytes per second, that a large blob comes over several connections."""
_CHUNKS = (256 * _KIB, 300_001, 512 * _KIB, _MIB)


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact of random bytes: its manifest, the names and digests of its files, all of its blobs."""

    reference: Reference
    content: Descriptor
    files: dict[str, Digest]
    blobs: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class Laboratory:
    """What all seeds share: a real registry, and a store with artifacts that the registry has as well."""

    registry: str
    layout: Layout
    artifacts: tuple[Artifact, ...]
    directory: Path

    @classmethod
    def prepare(cls, registry: str, directory: Path) -> Laboratory:
        """Make the artifacts and send them to the registry on a line without faults."""
        layout = Layout(directory / "source")
        artifacts = tuple(_make(layout, number, sizes) for number, sizes in enumerate(_SIZES))
        there = Registry(registry)
        for artifact in artifacts:
            push(artifact.reference, layout, there.repository(artifact.reference.repository))
        there.close()
        return cls(registry, layout, artifacts, directory)


@dataclass(slots=True)
class Report:
    """What became of a number of seeds: faults injected by kind, runs of commands, runs that failed, by error."""

    faults: Counter[Kind] = field(default_factory=Counter)
    runs: int = 0
    failures: Counter[str] = field(default_factory=Counter)

    def add(self, other: Report) -> None:
        """Take in another report."""
        self.faults += other.faults
        self.runs += other.runs
        self.failures += other.failures

    def __str__(self) -> str:
        lines = [f"{count:6} {kind.value}" for kind, count in sorted(self.faults.items(), key=lambda item: -item[1])]
        lines += [f"{self.faults.total():6} faults in {self.runs} runs, of which {self.failures.total()} failed:"]
        lines += [f"{count:6} {name}" for name, count in self.failures.most_common()]
        return "\n".join(lines)


def run_seed(laboratory: Laboratory, seed: int) -> Report:
    """Live through one seed's story; all of its `FAULTS_PER_SEED` faults have happened at its end.

    Raises:
        AssertionError: what should hold does not.
    """
    chance = random.Random(seed)
    artifact = chance.choice(laboratory.artifacts)
    settings = RegistrySettings(
        connect_timeout=2.0,
        stall_timeout=0.5,
        commit_timeout=2.0,
        chunk_size=chance.choice(_CHUNKS),
        ranges=chance.choice((1, 4)),
        range_threshold=_MIB,
        backoff=Backoff(sleep=lambda seconds: None, attempts=chance.choice((2, 5))),
    )
    concurrency = chance.choice((1, 1, 3))
    story = (_Push, _Pull, _Push, _Pull, _Extract)[seed % 5]
    never = Kind.FLIP_ANSWER if story is _Push else Kind.FLIP_REQUEST  # answers to a push have no body that counts
    kinds = tuple(kind for kind in Kind if kind is not never)
    with fault_proxy(laboratory.registry, Plan.draw(chance, FAULTS_PER_SEED, kinds)) as proxy:
        proxy.rate = _RATE if settings.ranges > 1 and story is not _Push else None
        return story(laboratory, artifact, settings, concurrency, seed).live(proxy)


class _Story(ABC):
    """A command run until it has succeeded and no fault is left."""

    def __init__(
        self, laboratory: Laboratory, artifact: Artifact, settings: RegistrySettings, concurrency: int, seed: int
    ) -> None:
        self.laboratory = laboratory
        self.artifact = artifact
        self.settings = settings
        self.concurrency = concurrency
        self.place = laboratory.directory / f"seed-{seed}"
        self.seed = seed
        self.round = 0

    def live(self, proxy: FaultProxy) -> Report:
        report = Report()
        most = 2 * FAULTS_PER_SEED + 2
        while True:
            report.runs += 1
            assert report.runs <= most, f"seed {self.seed}: no end after {most} runs: {report}"
            registry = Registry(proxy.host, self.settings)
            try:
                self.run(registry)
            except ModfileError as error:
                if not proxy.plan.injected:
                    raise AssertionError(f"seed {self.seed}: failed without a fault") from error
                report.failures[type(error).__name__] += 1
                self.check_failed()
                continue
            finally:
                registry.close()
            self.check_done()
            if not proxy.plan.left:
                break
            self.round += 1  # all went well before the last fault had its turn: the same to a fresh place
        shutil.rmtree(self.place, ignore_errors=True)
        report.faults = proxy.plan.injected
        assert report.faults.total() == FAULTS_PER_SEED
        return report

    @abstractmethod
    def run(self, registry: Registry) -> None:
        """Do what the story is about, once; it may fail."""

    @abstractmethod
    def check_failed(self) -> None:
        """See that a failure left nothing wrong behind."""

    @abstractmethod
    def check_done(self) -> None:
        """See that all is there and right."""


class _Push(_Story):
    """From the store to a repository that is not there yet."""

    @property
    def reference(self) -> Reference:
        return Reference(_HOST, f"faults/seed-{self.seed}-{self.round}", "v1")

    def run(self, registry: Registry) -> None:
        reference = self.reference
        self.laboratory.layout.tag(self.artifact.content, reference)
        repository = registry.repository(reference.repository)
        push(reference, self.laboratory.layout, repository, concurrency=self.concurrency)

    def check_failed(self) -> None:
        """Bytes under a digest are right, whatever happened on the way to them."""
        for blob in self.artifact.blobs:
            assert self._digest(f"blobs/{blob.digest}") in (None, blob.digest)

    def check_done(self) -> None:
        assert self._digest("manifests/v1") == self.artifact.content.digest
        for blob in self.artifact.blobs:
            assert self._digest(f"blobs/{blob.digest}") == blob.digest

    def _digest(self, what: str) -> Digest | None:
        """Return the digest of what the registry gives, None if it has it not."""
        url = f"http://{self.laboratory.registry}/v2/{self.reference.repository}/{what}"
        request = urllib.request.Request(url, headers={"Accept": OCI_MANIFEST})
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
                return _digest(answer)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 404:
                return None
            raise


class _Pull(_Story):
    """From the registry to an empty store."""

    @property
    def layout(self) -> Layout:
        return Layout(self.place / f"store-{self.round}", self.settings.backoff)

    def run(self, registry: Registry) -> None:
        reference = self.artifact.reference
        pull(reference, registry.repository(reference.repository), self.layout, concurrency=self.concurrency)

    def check_failed(self) -> None:
        assert not self.layout.entries(), "a pull that failed left a tag"
        check_store(self.layout)

    def check_done(self) -> None:
        layout = self.layout
        assert layout.resolve(self.artifact.reference).digest == self.artifact.content.digest
        assert all(layout.exists(blob) for blob in self.artifact.blobs)
        check_store(layout)
        assert not list(layout.partials()), "a pull that succeeded left a partial"


class _Extract(_Story):
    """From the registry to a directory."""

    @property
    def target(self) -> Path:
        return self.place / f"files-{self.round}"

    def run(self, registry: Registry) -> None:
        reference = self.artifact.reference
        repository = registry.repository(reference.repository)
        extract(
            reference,
            repository,
            self.target,
            concurrency=self.concurrency,
            backoff=self.settings.backoff,
        )

    def check_failed(self) -> None:
        """A file with its final name is right."""
        for path, digest in self.artifact.files.items():
            if (self.target / path).exists():
                assert _digest_of(self.target / path) == digest

    def check_done(self) -> None:
        found = {
            path.relative_to(self.target).as_posix(): _digest_of(path)
            for path in self.target.rglob("*")
            if path.is_file()
        }
        assert found == self.artifact.files
        assert [path.name for path in self.place.iterdir() if "partial" in path.name] == []


def check_store(layout: Layout) -> None:
    """See that every blob is what its name says, and that everything a tag leads to is there.

    Raises:
        AssertionError: it is not so.
    """
    for digest, _ in layout.blobs():
        assert _digest_of(layout.blob_path(digest)) == digest
    for entry in layout.entries():
        manifest = Manifest.parse(layout.blob_path(entry.content.digest).read_bytes())
        for blob in (manifest.config, *manifest.layers):
            assert layout.exists(blob), f"{entry.name} lacks {blob.digest}"


def _digest(stream: IO[bytes]) -> Digest:
    hasher = hashlib.sha256()
    while data := stream.read(1 << 16):
        hasher.update(data)
    return Digest("sha256", hasher.hexdigest())


def _digest_of(path: Path) -> Digest:
    with path.open("rb") as file:
        return _digest(file)


def _make(layout: Layout, number: int, sizes: tuple[int, ...]) -> Artifact:
    chance = random.Random(number)
    files: dict[str, bytes] = {f"weights/{at}.bin": chance.randbytes(size) for at, size in enumerate(sizes)}
    return make_artifact(layout, Reference(_HOST, f"faults/source-{number}", "v1"), files)


def make_artifact(layout: Layout, reference: Reference, files: dict[str, bytes]) -> Artifact:
    """Store files as an artifact, under a reference."""
    layers = []
    for path, data in files.items():
        stored = layout.add_bytes(data, "application/octet-stream")
        metadata = FileMetadata(path.rpartition("/")[2], 0o644, 0, 0, len(data), 0)
        layers.append(raw_layer(FileKind.MODEL, path, stored.digest, metadata))
    config = layout.add_bytes(b'{"modelfs":{"type":"layers","diffIds":[]}}', CONFIG_TYPE)
    manifest = Manifest(OCI_MANIFEST, config, tuple(layers), ARTIFACT_TYPE)
    content = layout.add_bytes(manifest.to_bytes(), OCI_MANIFEST)
    layout.tag(content, reference)
    return Artifact(
        reference, content, {path: Digest.of(data) for path, data in files.items()}, (config, *manifest.layers)
    )
