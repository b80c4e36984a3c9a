"""Check the local store: every blob's bytes, every reference, what nothing leads to, what is or was under way."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from ..errors import StoreError
from ..layout.condition import Fault
from ..manifest import NON_DISTRIBUTABLE
from ..progress import SILENT, Outcome, Progress
from ..workers import CONCURRENCY, StoppableMeter, run_all
from .reachable import Need, Reachable, reach

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from threading import Event

    from ..content import Digest
    from ..layout import Entry, Layout
    from ..layout.condition import Condition

_MOST_ROUNDS = 10


class Wrong(Enum):
    """What can be wrong in a store."""

    INDEX = "index"
    """The index, or the file `oci-layout`, cannot be read."""
    MISSING = "missing"
    NOT_A_FILE = "not a file"
    UNREADABLE = "unreadable"
    DAMAGED = "damaged"
    """The bytes of a blob have another digest."""
    WRONG_SIZE = "wrong size"
    """So they have, and there are more or fewer of them."""
    MISDESCRIBED = "misdescribed"
    """A blob is right, but what leads to it says another size."""
    MALFORMED = "malformed"
    """A manifest is what its digest says, but cannot be understood."""
    AMBIGUOUS = "ambiguous"
    """A name stands for several manifests."""
    FOREIGN = "foreign"
    """Something stands among the blobs whose name is no digest."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        wrong: what kind of thing.
        subject: what it is wrong with: a digest, a name of the index, or a path within the store.
        detail: what exactly, in words.
        references: every tag that it touches, as full references; `repository@digest` for a manifest without a tag.
        digest: of the blob, if it is about one.
    """

    wrong: Wrong
    subject: str
    detail: str
    references: tuple[str, ...] = ()
    digest: Digest | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the finding under stable keys."""
        return {
            "Problem": self.wrong.value,
            "Subject": self.subject,
            "Digest": None if self.digest is None else str(self.digest),
            "Detail": self.detail,
            "References": list(self.references),
        }


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found.

    Attributes:
        findings: all that is wrong.
        references: how many entries the index has.
        blobs: how many blobs were read.
        bytes: how many bytes they have.
        orphans: blobs that nothing leads to; `modfile prune` removes them. Empty where the index cannot be read.
        orphan_bytes: how many bytes those have.
        live_partials: content that somebody is bringing.
        dead_partials: content that nobody is bringing any more.
        lacking: layers of bases that are not here, and that only artifacts built on those bases lead to.
        lacking_bytes: how many bytes those have.
        set_aside: what earlier repairs moved out of the way, and is still there.
    """

    findings: tuple[Finding, ...] = ()
    references: int = 0
    blobs: int = 0
    bytes: int = 0
    orphans: tuple[Digest, ...] = ()
    orphan_bytes: int = 0
    live_partials: int = 0
    dead_partials: int = 0
    set_aside: tuple[Path, ...] = ()
    lacking: tuple[Digest, ...] = ()
    lacking_bytes: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the report under stable keys."""
        return {
            "References": self.references,
            "Blobs": self.blobs,
            "Bytes": self.bytes,
            "Problems": [finding.to_json() for finding in self.findings],
            "Orphans": {"Bytes": self.orphan_bytes, "Digests": [str(digest) for digest in self.orphans]},
            "Partials": {"Live": self.live_partials, "Dead": self.dead_partials},
            "SetAside": [str(path) for path in self.set_aside],
            "NotFetched": {"Bytes": self.lacking_bytes, "Digests": [str(digest) for digest in self.lacking]},
        }


def fsck(layout: Layout, *, progress: Progress = SILENT, concurrency: int = CONCURRENCY) -> Report:
    """Read every blob and follow every reference; change nothing, and hold nobody off.

    What other commands do meanwhile is no problem: what looks wrong is looked at again with the index of that moment.

    Raises:
        StoreError: the directories of the store cannot be read.
    """
    if not layout.root.exists():
        return Report()
    check = _Check(layout, progress, concurrency)
    check.examine(digest for digest, _ in layout.blobs())
    findings: list[Finding] = []
    try:
        check.settle()
    except StoreError as error:
        findings.append(Finding(Wrong.INDEX, "index.json", str(error)))
    findings += check.findings()
    partials = [_is_live(path) for path, _ in layout.partials()]
    present = {digest: found for digest, found in check.conditions.items() if found.fault is not Fault.MISSING}
    unneeded = sorted(present.keys() - check.reachable.needs.keys()) if check.entries is not None else []
    lacking = {
        digest: need
        for digest, need in sorted(check.reachable.needs.items(), key=lambda item: item[0])
        if not need.is_required and digest not in present
    }
    orphans = [digest for digest in unneeded if layout.is_unchanged(digest, present[digest])]
    return Report(
        findings=tuple(findings),
        references=len(check.entries or ()),
        blobs=len(present),
        bytes=sum(found.size for found in present.values()),
        orphans=tuple(orphans),
        orphan_bytes=sum(present[digest].size for digest in orphans),
        live_partials=sum(partials),
        dead_partials=len(partials) - sum(partials),
        set_aside=tuple(path for _, path, _ in layout.damaged()),
        lacking=tuple(lacking),
        lacking_bytes=sum(need.contents[0].size for need in lacking.values()),
    )


def findings_of(digest: Digest, found: Condition, need: Need | None) -> Iterator[Finding]:
    """Tell what is wrong with a blob, given what was found in its place and what leads to it."""
    contents = need.contents if need else []
    names = tuple(sorted(need.names)) if need else ()
    said = " or ".join(sorted({f"{content.size:,}" for content in contents}))
    differs = bool(contents) and all(content.size != found.size for content in contents)
    if found.fault is Fault.DAMAGED and differs:
        detail = f"it has {found.size:,} bytes, not {said}"
        yield Finding(Wrong.WRONG_SIZE, str(digest), detail, names, digest)
    elif found.fault is Fault.MISSING and need and not need.is_required:
        pass  # it is of a base that was never brought here whole
    elif found.fault is Fault.MISSING and all(content.media_type in NON_DISTRIBUTABLE for content in contents):
        pass  # it may be where its `urls` say, or nothing leads to it
    elif found.fault:
        yield Finding(Wrong(found.fault.value), str(digest), found.detail, names, digest)
    elif not found.fault and any(content.size != found.size for content in contents):
        detail = f"it has {found.size:,} bytes and the right digest, but is said to have {said}"
        yield Finding(Wrong.MISDESCRIBED, str(digest), detail, names, digest)


class _Check:
    """What was found of each blob, and what the index leads to."""

    def __init__(self, layout: Layout, progress: Progress, concurrency: int) -> None:
        self._layout = layout
        self._progress = progress
        self._concurrency = concurrency
        self.conditions: dict[Digest, Condition] = {}
        self.entries: tuple[Entry, ...] | None = None
        self.reachable = Reachable()

    def examine(self, digests: Iterable[Digest]) -> None:
        """Read blobs, several at once."""
        found = examine(self._layout, digests, self._progress, self._concurrency)
        self.conditions.update(found)

    def settle(self) -> None:
        """Follow the index until nothing changes meanwhile; look again at what was bad, and changed since.

        Whoever removes a blob takes it out of the index before: what the same index leads to before and after, and is
        not there, is missing.
        """
        for _ in range(_MOST_ROUNDS):
            entries = self._layout.entries()
            reachable = reach(self._layout, entries)
            stale = [
                digest
                for digest, found in self.conditions.items()
                if found.fault and not self._layout.is_unchanged(digest, found)
            ]
            unseen = [digest for digest in reachable.needs if digest not in self.conditions]
            self.examine(stale + unseen)
            self.entries, self.reachable = entries, reachable
            if not stale and not unseen and self._layout.entries() == entries:
                return

    def findings(self) -> Iterator[Finding]:
        """Tell all that is wrong with blobs and names."""
        for digest, found in sorted(self.conditions.items(), key=lambda item: item[0]):
            need = self.reachable.needs.get(digest)
            yield from findings_of(digest, found, need)
            if digest in self.reachable.malformed and not found.fault:
                names = tuple(sorted(need.names)) if need else ()
                yield Finding(Wrong.MALFORMED, str(digest), self.reachable.malformed[digest], names, digest)
        yield from _ambiguous(self.entries or ())
        for path in self._layout.foreign():
            yield Finding(Wrong.FOREIGN, str(path.relative_to(self._layout.root)), "its name is no digest")


def examine(layout: Layout, digests: Iterable[Digest], progress: Progress, concurrency: int) -> dict[Digest, Condition]:
    """Read blobs, several at once, the largest first."""
    sizes = {digest: layout.size_of(digest) for digest in digests}

    def look(digest: Digest, stop: Event) -> Condition:
        meter = StoppableMeter(progress.start(digest.short, sizes[digest]), stop)
        found = layout.examine(digest, meter.advance)
        meter.finish(Outcome.SKIPPED)
        return found

    largest_first = sorted(sizes, key=lambda digest: -sizes[digest])
    return dict(zip(largest_first, run_all(largest_first, look, concurrency), strict=True))


def _ambiguous(entries: Iterable[Entry]) -> Iterator[Finding]:
    named: dict[str, set[Digest]] = {}
    for entry in entries:
        if entry.name is not None:
            named.setdefault(entry.name, set()).add(entry.content.digest)
    for name, digests in named.items():
        if len(digests) > 1:
            listed = ", ".join(sorted(map(str, digests)))
            yield Finding(Wrong.AMBIGUOUS, name, f"it stands in the index for {listed}; the first counts", (name,))


def _is_live(path: Path) -> bool:
    """Tell whether somebody holds a partial's lock."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False
