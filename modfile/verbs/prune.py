"""Free what no tag needs."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import ContentError, ModfileError, StoreError
from ..lineage import ancestors, find_manifest
from ..manifest import INDEX_TYPES, MAX_MANIFEST, children, is_manifest, subject_of
from ..progress import SILENT
from ..store import read
from .reachable import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from ..content import Descriptor, Digest
    from ..layout import Entry, Layout
    from ..layout.index import Index

_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(slots=True)
class Pruned:
    """What was freed, or would be.

    Attributes:
        manifests: untagged manifests that went.
        blobs: all blobs that went, manifests among them.
        partials: how many pieces of partial content.
        damaged: how many copies that a repair had set aside.
        bytes: in all.
    """

    manifests: list[Digest] = field(default_factory=list)
    blobs: list[Digest] = field(default_factory=list)
    partials: int = 0
    damaged: int = 0
    bytes: int = 0


def prune(
    layout: Layout,
    *,
    remove_untagged: bool = True,
    spared: Callable[[], Collection[Digest]] = frozenset,
    dry_run: bool = False,
    note: Callable[[str], None] = SILENT.note,
) -> Pruned:
    """Remove untagged manifests, if asked, and then every blob that nothing of the index leads to.

    Waits until no other command is writing to the store, and holds off those that come. A manifest whose subject
    stays (a referrer: a signature, say) stays as well, and so do manifest and config of what an artifact that stays is
    built on. Content that is being brought is never touched. What a repair
    had set aside goes once its blob is whole again, or nothing needs it. Blobs that `spared` tells stay in any case,
    and manifests with what they lead to; it is asked once nobody is writing any more.

    Raises:
        StoreError: a manifest cannot be read, so that what it needs is not known; nothing is removed.
    """
    pruned = Pruned()
    if not layout.root.exists():
        return pruned
    with layout.collecting(note):
        sweep = _Sweep(layout, pruned, frozenset(spared()), dry_run=dry_run)
        try:
            needed = sweep.index(remove_untagged=remove_untagged)
        except StoreError as error:
            if not (isinstance(error.__cause__, OSError) and error.__cause__.errno in _FULL):
                raise
            # The disk is too full for the index to be written anew: what hangs on untagged manifests makes room.
            needed = sweep.index(remove_untagged=remove_untagged, leaves_first=True)
        sweep.blobs(needed)
        sweep.damaged(needed)
    pruned.blobs.sort()
    return pruned


class _Sweep:
    """Removes what is not needed, or counts it only."""

    def __init__(self, layout: Layout, pruned: Pruned, spared: frozenset[Digest], *, dry_run: bool) -> None:
        self._layout = layout
        self._pruned = pruned
        self._spared = spared
        self._dry_run = dry_run

    def index(self, *, remove_untagged: bool, leaves_first: bool = False) -> set[Digest]:
        """Take untagged manifests out of the index; return the digests of what is needed.

        What nothing led to before goes first, since the index takes room to be written.
        """
        with self._layout.changing() as index:
            spared = self._spared if remove_untagged else None
            needed, untagged = _collect_entries(self._layout, index, spared)
            needed |= self._spared
            self._pruned.manifests = sorted({content.digest for content in untagged} - needed)
            if self._dry_run:
                index.undo()
            self.partials()
            self.blobs(needed | ({c.digest for c in untagged} if leaves_first else _reached(self._layout, untagged)))
        return needed

    def blobs(self, spared: set[Digest]) -> None:
        """Remove all blobs but some."""
        done = set(self._pruned.blobs)
        for digest, status in self._layout.blobs():
            if digest in spared or digest in done:
                continue
            if not self._dry_run:
                self._layout.remove_blob(digest)
            self._pruned.blobs.append(digest)
            self._pruned.bytes += status.st_size

    def damaged(self, needed: set[Digest]) -> None:
        """Remove what was set aside, but for the only copy there is of something that is needed."""
        for digest, path, status in list(self._layout.damaged()):
            if digest in needed and self._layout.examine(digest).fault:
                continue
            if self._dry_run or self._layout.remove_damaged(path):
                self._pruned.damaged += 1
                self._pruned.bytes += status.st_size

    def partials(self) -> None:
        """Remove content that nobody is bringing any more."""
        for path, status in self._layout.partials():
            if self._dry_run or _remove_dead(path):
                self._pruned.partials += 1
                self._pruned.bytes += status.st_blocks * 512


def _reached(layout: Layout, contents: Sequence[Descriptor]) -> set[Digest]:
    """Return the digests of manifests and of all that they lead to, as far as they can be read."""
    reached: set[Digest] = set()
    for content in contents:
        with suppress(StoreError):
            _mark(layout, content, reached, str(content.digest))
    return reached


def _collect_entries(
    layout: Layout, index: Index, spared: frozenset[Digest] | None
) -> tuple[set[Digest], list[Descriptor]]:
    """Take out of the index what is not needed; return the digests of what is, and the manifests that are not.

    What has no tag stays if it is spared; all of it does if that is None.
    """
    needed: set[Digest] = set()
    untagged = []
    for entry in index:
        if entry.name is not None or spared is None or entry.content.digest in spared:
            _mark(layout, entry.content, needed, name_of(entry))
        else:
            untagged.append(entry)
    while kept := [entry for entry in untagged if _subject(layout, entry) in needed]:
        for entry in kept:
            untagged.remove(entry)
            _mark(layout, entry.content, needed, name_of(entry))
    for entry in untagged:
        index.remove_untagged(entry.content)
    return needed, [entry.content for entry in untagged]


def _mark(layout: Layout, content: Descriptor, needed: set[Digest], name: str) -> None:
    """Mark a manifest, and all that it leads to."""
    pending = [content]
    while pending:
        content = pending.pop()
        if content.digest in needed:
            continue
        needed.add(content.digest)
        try:
            if not is_manifest(content.media_type):
                raise ContentError(f"what {content.media_type} leads to is not known")
            found = children(content.media_type, read(layout, content, MAX_MANIFEST))
        except ModfileError as error:
            raise _unreadable(name, error) from error
        if content.media_type in INDEX_TYPES:
            pending += found
        else:
            needed.update(leaf.digest for leaf in found)
            needed |= _lineage(layout, content)


def _lineage(layout: Layout, content: Descriptor) -> set[Digest]:
    """Return the digests of the manifests and configs here of what an artifact is built on, and no layer's."""
    found = find_manifest(layout, content.digest)
    needed: set[Digest] = set()
    for parent, manifest in ancestors(found[1], layout) if found else ():
        if manifest:
            needed |= {parent.digest, manifest.config.digest}
    return needed


def _unreadable(name: str, error: ModfileError) -> StoreError:
    return StoreError(
        f"nothing was removed, because {name} cannot be read ({error}); "
        f"`modfile fsck --repair` fetches it again, `modfile rm` takes it away"
    )


def _subject(layout: Layout, entry: Entry) -> Digest | None:
    """Return what an untagged manifest is about, None for one that is about nothing, or is no manifest: it goes.

    Raises:
        StoreError: it cannot be read, so that it may be what something that stays is signed with.
    """
    try:
        subject = subject_of(entry.content.media_type, read(layout, entry.content, MAX_MANIFEST))
    except ContentError:
        return None
    except ModfileError as error:
        raise _unreadable(name_of(entry), error) from error
    return subject.digest if subject else None


def _remove_dead(path: Path) -> bool:
    """Remove a partial unless somebody holds its lock."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
