"""The layout's directory: blobs, index, locks, and the order in which they are written."""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from .. import strictjson
from ..backoff import Backoff
from ..content import MAX_SIZE, Descriptor, Digest
from ..errors import ContentError, NotFoundError, StoreError, VerificationError
from ..partial import Partial
from ..progress import SILENT, Outcome
from ..store import BytesReader
from . import condition, damaged, listings
from .blobreader import BlobReader
from .index import Entry, Index
from .lock import Lock
from .skeleton import is_prepared, open_directory, open_for_blobs, prepare, sync_blobs
from .smallfiles import check_version, read_file, write_durably, write_version
from .trouble import explained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from ..progress import Meter
    from ..reference import Reference
    from ..store import Reader, Source
    from .condition import Condition

_BLOB_MODE = 0o444
_READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Layout:
    """An OCI image layout as a `Store`. Made on the first write; reading one that is not there finds it empty.

    Every change of the index is made under a lock, on what the index says at that moment. Whoever brings content
    holds `writing()` from the first blob to the tag; `collecting()` waits for all of those, so that nothing is
    collected between its arrival and its tag. Locks are `flock`: the kernel frees them when a process ends, however.

        oci-layout  index.json
        blobs/<algorithm>/<hex>   read-only files; one with its name is whole
        ingest/                   content under way
        damaged/                  what was in a blob's place and was not it
        locks/                    index, content
    """

    def __init__(self, root: Path, backoff: Backoff | None = None, *, shown: str = "the local store") -> None:
        self.root = root
        self._backoff = backoff or Backoff()
        self._shown = shown

    # Reading

    def entries(self) -> tuple[Entry, ...]:
        """Return every tag and every untagged manifest, in the order of the index.

        Raises:
            StoreError: the index cannot be read.
        """
        return tuple(self._index())

    def resolve(self, reference: Reference) -> Descriptor:
        """Return what a reference points at.

        Raises:
            NotFoundError: there is nothing of that name.
        """
        found = self.find(reference)
        if found is None:
            raise NotFoundError(f"{reference} is not in the local store (`modfile ls` lists what is)")
        return found

    def find(self, reference: Reference) -> Descriptor | None:
        """Return what a reference points at, None if there is nothing of that name.

        Raises:
            StoreError: the index cannot be read.
        """
        found = self._index().find(reference)
        return found and Descriptor(found.media_type, found.digest, found.size, artifact_type=found.artifact_type)

    @contextmanager
    def open(self, content: Descriptor, start: int = 0) -> Iterator[Reader]:
        """Open a blob at byte `start`. What is read is not verified.

        Raises:
            NotFoundError: the blob is not here.
            VerificationError: it is no file, or is not as large as the descriptor says.
            StoreError: it cannot be read.
        """
        with self._trouble(f"blob {content.digest}"):
            try:
                fd = os.open(self.blob_path(content.digest), _READING)
            except FileNotFoundError:
                raise NotFoundError(f"blob {content.digest} is not in {self._shown}") from None
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise VerificationError(f"blob {content.digest} in {self._shown} is not a file")
            size = status.st_size
            if size != content.size:
                raise VerificationError(
                    f"blob {content.digest} in {self._shown} has {size:,} bytes, not {content.size:,}"
                )
            yield BlobReader(fd, start, content.digest)
        finally:
            os.close(fd)

    def exists(self, content: Descriptor) -> bool:
        """Tell whether the blob is here in the size that the descriptor says."""
        with self._trouble(f"blob {content.digest}"):
            try:
                status = self.blob_path(content.digest).lstat()
            except FileNotFoundError:
                return False
            return stat.S_ISREG(status.st_mode) and status.st_size == content.size

    def blob_path(self, digest: Digest) -> Path:
        """Return where a blob is or would be."""
        return self.root / "blobs" / digest.algorithm / digest.hex

    # Writing

    def put(self, content: Descriptor, source: Source, meter: Meter = SILENT) -> Outcome:
        """Bring content here, on from what an earlier try left, verified.

        Raises:
            VerificationError: the source's bytes are not what the descriptor says; nothing is kept.
            StoreError: the disk did not take it.
        """
        with self.writing(), self._trouble(f"blob {content.digest}"), ExitStack() as stack:
            ingest, blobs = open_for_blobs(stack, self.root, content.digest.algorithm)
            name = f"{content.digest.algorithm}-{content.digest.hex}"
            partial = stack.enter_context(Partial(ingest, name, content.digest.algorithm, note=meter.note))
            if self.exists(content):  # another writer brought it while this one waited
                partial.discard()
                return Outcome.SKIPPED
            try:
                partial.fill(content, source, meter, self._backoff)
            except VerificationError:
                partial.discard()
                raise
            partial.publish(blobs, content.digest.hex, _BLOB_MODE)
        return Outcome.MOVED

    def add(self, reader: Reader, size: int | None, advance: Callable[[int], None] = SILENT.advance) -> Digest:
        """Store content whose digest is not known yet; return its sha256.

        It has `size` bytes; None takes all that come.

        Raises:
            VerificationError: more or fewer bytes came.
            StoreError: the disk did not take it.
        """
        with self.writing(), self._trouble("a blob"), ExitStack() as stack:
            ingest, blobs = open_for_blobs(stack, self.root, "sha256")
            partial = stack.enter_context(Partial(ingest, f"new-{secrets.token_hex(8)}"))
            try:
                partial.take(reader, MAX_SIZE - 1 if size is None else size, advance)
                digest = partial.digest
                if size is None:
                    size = partial.size
                if partial.size != size:
                    came = f"only {partial.size:,}" if partial.size < size else "more"
                    raise VerificationError(f"content of {size:,} bytes was announced, but {came} came")
                if self.exists(Descriptor("", digest, size)):
                    partial.discard()
                else:
                    partial.publish(blobs, digest.hex, _BLOB_MODE)
            except BaseException:
                partial.discard()
                raise
        return digest

    def adopt(self, content: Descriptor, file: int, directory: int, name: str) -> Outcome:
        """Make a verified file a blob: `name` in a directory on the store's file system, both open as descriptors.

        The file goes from its directory, also if the blob is here already. The caller holds `writing()` on until
        something names the blob.

        Raises:
            StoreError: the disk did not take it.
        """
        with self.writing(), self._trouble(f"blob {content.digest}"), ExitStack() as stack:
            _, blobs = open_for_blobs(stack, self.root, content.digest.algorithm)
            if self.exists(content):
                os.unlink(name, dir_fd=directory)
                return Outcome.SKIPPED
            os.fchmod(file, _BLOB_MODE)
            try:
                os.fsync(file)
            except OSError:
                os.unlink(name, dir_fd=directory)
                raise
            os.rename(name, content.digest.hex, src_dir_fd=directory, dst_dir_fd=blobs)
            os.fsync(blobs)
        return Outcome.MOVED

    def add_bytes(self, data: bytes, media_type: str) -> Descriptor:
        """Store small content; return its descriptor."""
        content = Descriptor(media_type, Digest.of(data), len(data))
        if not self.exists(content):
            self.add(BytesReader(data), len(data))
        return content

    def tag(self, content: Descriptor, reference: Reference) -> None:
        """Let the reference's tag point at a manifest that is here; without a tag, list it as one of the repository.

        Raises:
            NotFoundError: the manifest is not here.
        """
        with self.writing():
            if not self.exists(content):
                raise NotFoundError(f"manifest {content.digest} is not in {self._shown}")
            with self.changing() as index:
                index.tag(content, reference)

    def untag(self, references: Iterable[Reference]) -> list[Descriptor]:
        """Take tags away, or every entry of a digest in its repository; all of them or none. The blobs stay.

        Returns:
            What they pointed at.

        Raises:
            NotFoundError: there is nothing of one of the names; nothing is taken away.
        """
        with self.changing() as index:
            references = list(references)
            found = [index.find(reference) for reference in references]
            for reference, content in zip(references, found, strict=True):
                if content is None:
                    raise NotFoundError(f"{reference} is not in the local store (`modfile ls` lists what is)")
            for reference in references:
                if reference.digest:
                    index.remove(reference)
                else:
                    index.untag(reference)
        return [content for content in found if content is not None]

    @contextmanager
    def changing(self) -> Iterator[Index]:
        """Hand out the index as it is now, and write it durably at the end, with nobody else in between.

        Whoever names new content in it holds `writing()` or `collecting()`.
        """
        with self._locked("index", fcntl.LOCK_EX), self._trouble("the index"), ExitStack() as stack:
            index = self._index()
            before = index.to_bytes()
            yield index
            after = index.to_bytes()
            if after != before or not (self.root / "index.json").exists():
                sync_blobs(self.root)
                root = open_directory(stack, self.root)
                write_durably(root, "index.json", after, open_for_blobs(stack, self.root, "sha256")[0])

    def writing(self) -> Lock:
        """Hold off `collecting()` while content is brought and named."""
        return self._locked("content", fcntl.LOCK_SH)

    def collecting(self, note: Callable[[str], None] = SILENT.note) -> Lock:
        """Wait until nobody is writing, and hold all writers off; tell `note` if there is something to wait for."""
        return self._locked("content", fcntl.LOCK_EX, note)

    # The directory

    def blobs(self) -> Iterator[tuple[Digest, os.stat_result]]:
        """Go through every blob; files whose name is no digest are passed over."""
        with self._trouble("the blobs"):
            yield from listings.blobs(self.root)

    def foreign(self) -> Iterator[Path]:
        """Go through what stands among the blobs and is none, by its name."""
        with self._trouble("the blobs"):
            yield from listings.foreign(self.root)

    def remove_blob(self, digest: Digest) -> None:
        """Remove a blob. Whoever does so holds `collecting()`, and knows that nothing leads to it."""
        with self._trouble(f"blob {digest}"):
            self.blob_path(digest).unlink(missing_ok=True)

    def partials(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Go through content that is or was under way."""
        with self._trouble("partial content"):
            yield from listings.partials(self.root)

    # What is wrong with it

    def examine(self, digest: Digest, advance: Callable[[int], None] = SILENT.advance) -> Condition:
        """Look at a blob and hash it; `advance` is told of the bytes read."""
        with self._trouble(f"blob {digest}"):
            return condition.examine(self.blob_path(digest), digest, advance)

    def size_of(self, digest: Digest) -> int:
        """Return how many bytes a blob has, 0 if there is none."""
        found = condition.identity(self.blob_path(digest))
        return found.size if found else 0

    def is_unchanged(self, digest: Digest, found: Condition) -> bool:
        """Tell whether a blob is still the very file that was examined, or still missing."""
        return condition.identity(self.blob_path(digest)) == found.identity

    def make_readable(self, digest: Digest) -> bool:
        """Give a blob of ours its mode back where not even we may read it; tell whether that was so."""
        with self._trouble(f"blob {digest}"):
            path = self.blob_path(digest)
            try:
                status = path.lstat()
            except FileNotFoundError:
                return False
            ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
            if not ours or status.st_mode & stat.S_IRUSR:
                return False
            path.chmod(_BLOB_MODE)
            return True

    def set_aside(self, digest: Digest) -> Path:
        """Move a blob to `damaged/`; return where it is now. Whoever does so holds `collecting()`."""
        with self._trouble(f"blob {digest}"):
            return damaged.set_aside(self.root, self.blob_path(digest), digest)

    def damaged(self) -> Iterator[tuple[Digest, Path, os.stat_result]]:
        """Go through what was set aside: the blob that it is not, where it is."""
        with self._trouble("what was set aside"):
            yield from damaged.copies(self.root)

    def remove_damaged(self, path: Path) -> bool:
        """Remove what was set aside; tell whether it could be: a directory with something in it stays."""
        with self._trouble(str(path)):
            return damaged.remove(path)

    def renew_version(self) -> None:
        """Write `oci-layout` anew where it is missing, or is no JSON; one that can be read stays as it is."""
        with self._locked("index", fcntl.LOCK_EX), self._trouble("oci-layout"), ExitStack() as stack:
            try:
                strictjson.parse_object(read_file(self.root / "oci-layout"), "it")
            except ContentError:
                write_version(open_directory(stack, self.root), open_for_blobs(stack, self.root, "sha256")[0])

    def _index(self) -> Index:
        path = self.root / "index.json"
        with self._trouble(str(path)):
            try:
                data = read_file(path)
            except FileNotFoundError:
                return Index.empty()
            check_version(self.root)
            return Index.parse(data, str(path))

    def _locked(self, name: str, operation: int, note: Callable[[str], None] = SILENT.note) -> Lock:
        with self._trouble("the store"):
            if not is_prepared(self.root):
                prepare(self.root)
            return Lock(self.root / "locks" / name, operation, note)

    @contextmanager
    def _trouble(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"the store in {self.root}: {what}: {explained(error)}") from error
