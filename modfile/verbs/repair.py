"""Mend the local store: set bad blobs aside, and fetch what is missing from where the tags came from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..errors import ModfileError, StoreError
from ..layout.condition import Condition, Fault
from ..progress import SILENT, Outcome, Progress
from ..workers import CONCURRENCY, StoppableMeter, run_all
from .copy import label
from .fsck import Finding, Wrong, examine, findings_of
from .reachable import Reachable, reach

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from threading import Event

    from ..content import Digest
    from ..layout import Layout
    from ..reference import Reference
    from ..store import Source
    from .fsck import Report
    from .reachable import Need

_BAD_BLOB = (Wrong.DAMAGED, Wrong.WRONG_SIZE, Wrong.UNREADABLE, Wrong.NOT_A_FILE)
_ADVICE = {
    Wrong.INDEX: "put its file right, or move it away and pull again: blobs that are whole are not fetched anew",
    Wrong.MALFORMED: "take its names away with `modfile rm`, or bring another of that name",
    Wrong.MISDESCRIBED: "take its names away with `modfile rm`, or bring another of that name",
    Wrong.AMBIGUOUS: "`modfile rm` takes all of them away; then bring the right one",
    Wrong.FOREIGN: "move it away if it is not yours to keep there",
}


@dataclass(frozen=True, slots=True)
class Treated:
    """What became of a finding.

    Attributes:
        finding: what was wrong.
        done: how it was put right, None if it was not.
        reason: why it was not, and what can be done; empty if it was.
        set_aside: where what was in the blob's place is kept, None if it is not.
    """

    finding: Finding
    done: str | None
    reason: str = ""
    set_aside: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it under stable keys, the finding's among them."""
        return self.finding.to_json() | {
            "Repaired": self.done is not None,
            "Outcome": self.done or self.reason,
            "SetAside": None if self.set_aside is None else str(self.set_aside),
        }


@dataclass(frozen=True, slots=True)
class Repaired:
    """What became of each finding of a report, and of what was found on the way."""

    treated: tuple[Treated, ...] = ()

    @property
    def left(self) -> tuple[Treated, ...]:
        """What is still wrong."""
        return tuple(one for one in self.treated if one.done is None)

    def to_json(self) -> dict[str, Any]:
        """Return it under a stable key, which takes the place of the report's."""
        return {"Problems": [one.to_json() for one in self.treated]}


def repair(
    layout: Layout,
    report: Report,
    find_source: Callable[[Reference], Source | None],
    *,
    progress: Progress = SILENT,
    concurrency: int = CONCURRENCY,
    note: Callable[[str], None] = SILENT.note,
) -> Repaired:
    """Put right what a check found, as far as the places can give it that the tags came from.

    Bad blobs are looked at again, and moved to `damaged/` once nobody is writing to the store; a copy there goes as
    soon as its blob is whole again. One place that fails does not keep another from being asked.

    Args:
        layout: the store.
        report: what `fsck()` found in it.
        find_source: gives the place that a repository, named by a reference without a tag, is read from; None if there
            is none.
        progress: is told of what is read and fetched.
        concurrency: how many blobs at once.
        note: is told what there is to wait for.

    Raises:
        StoreError: the store cannot be written.
    """
    if not report.findings:
        return Repaired()
    work = _Repair(layout, find_source, progress, concurrency)
    work.index()
    if work.readable:
        bad = [one.digest for one in report.findings if one.wrong in _BAD_BLOB and one.digest]
        work.set_aside(bad, note)
        work.fetch()
        work.clean_up()
    return Repaired(tuple(work.results(report)))


class _Repair:
    """A repair under way, and what it did to which blob."""

    def __init__(
        self,
        layout: Layout,
        find_source: Callable[[Reference], Source | None],
        progress: Progress,
        concurrency: int,
    ) -> None:
        self._layout = layout
        self._progress = progress
        self._concurrency = concurrency
        self._origins = _Origins(find_source)
        self._done: dict[Digest, str] = {}
        self._failed: dict[Digest, str] = {}
        self._fetched: set[Digest] = set()
        self._aside: dict[Digest, Path] = {}
        self._reachable = Reachable()
        self.readable = True
        self._renewed = False

    def index(self) -> None:
        """See that it is known what is needed, and from where."""
        self.readable = self._can_look()
        if not self.readable:
            self._layout.renew_version()
            self.readable = self._renewed = self._can_look()

    def set_aside(self, bad: list[Digest], note: Callable[[str], None]) -> None:
        """Move bad blobs out of the way; what is right by now, or once it can be read, stays."""
        made_readable = {digest for digest in bad if self._layout.make_readable(digest)}
        conditions = examine(self._layout, bad, self._progress, self._concurrency)
        for digest, found in conditions.items():
            if not found.fault:
                self._done[digest] = "made readable" if digest in made_readable else "right by now"
        still = {digest: found for digest, found in conditions.items() if _is_bad(found)}
        if not still:
            return
        with self._layout.collecting(note):
            for digest, found in still.items():
                if self._layout.is_unchanged(digest, found) or _is_bad(self._layout.examine(digest)):
                    self._aside[digest] = self._layout.set_aside(digest)
                else:
                    self._done[digest] = "right by now"

    def fetch(self) -> None:
        """Bring what is missing; what comes may be manifests, and lead to more."""
        while lacking := self._lacking():
            for need in lacking.values():
                self._origins.prepare(need)
            results = run_all(lacking.items(), self._bring, self._concurrency)
            for digest, (origin, reason) in zip(lacking, results, strict=True):
                if origin is None:
                    self._failed[digest] = reason
                else:
                    self._done[digest] = f"fetched again from {origin}"
                    self._fetched.add(digest)

    def clean_up(self) -> None:
        """Remove what was set aside where the blob is whole again."""
        for digest, path, _ in list(self._layout.damaged()):
            whole = digest in self._fetched or not self._layout.examine(digest).fault
            if whole and self._layout.remove_damaged(path) and self._aside.get(digest) == path:
                del self._aside[digest]

    def results(self, report: Report) -> Iterator[Treated]:
        """Tell what became of everything, and of what came to light on the way."""
        for finding in report.findings:
            yield self._result(finding)
        told = {finding.digest for finding in report.findings}
        for digest, need in sorted(self._reachable.needs.items(), key=lambda item: item[0]):
            if digest not in told:
                yield from map(self._result, self._new_findings(digest, need))

    def _new_findings(self, digest: Digest, need: Need) -> Iterator[Finding]:
        if digest in self._done or digest in self._failed:
            yield from findings_of(digest, Condition(Fault.MISSING, "it is not in the store"), need)
        elif self.readable and (need.is_required or self._layout.size_of(digest)):
            yield from findings_of(digest, Condition(None, size=self._layout.size_of(digest)), need)
        if digest in self._reachable.malformed:
            names = tuple(sorted(need.names))
            yield Finding(Wrong.MALFORMED, str(digest), self._reachable.malformed[digest], names, digest)

    def _result(self, finding: Finding) -> Treated:
        digest = finding.digest
        need = self._reachable.needs.get(digest) if digest else None
        if need and not finding.references:
            finding = replace(finding, references=tuple(sorted(need.names)))
        if finding.wrong is Wrong.INDEX and self.readable:
            return Treated(finding, "oci-layout was written anew" if self._renewed else "right by now")
        if finding.wrong in _ADVICE or digest is None:
            return Treated(finding, None, _ADVICE[finding.wrong])
        if not self.readable:
            return Treated(finding, None, "the index must be right first, since it says what needs it, and from where")
        aside = self._aside.get(digest)
        if digest in self._failed:
            return Treated(finding, None, self._failed[digest], aside)
        untouched = "right by now" if need else "nothing needs it any more"
        done = self._done.get(digest, "set aside, since nothing needs it" if aside else untouched)
        return Treated(finding, done, "", aside)

    def _can_look(self) -> bool:
        try:
            self._look()
        except StoreError:
            return False
        return True

    def _look(self) -> None:
        self._reachable = reach(self._layout, self._layout.entries())

    def _lacking(self) -> dict[Digest, Need]:
        """Return what the index leads to, is not there, and was not tried."""
        self._look()
        here = {digest for digest, _ in self._layout.blobs()}
        return {
            digest: need
            for digest, need in self._reachable.needs.items()
            if digest not in here and digest not in self._failed and digest not in self._fetched
            if need.is_required or digest in self._aside
        }

    def _bring(self, item: tuple[Digest, Need], stop: Event) -> tuple[str | None, str]:
        """Fetch a blob; return the repository that gave it, or None and why none did."""
        _, need = item
        meter = StoppableMeter(self._progress.start(label(need.contents[0]), need.contents[0].size), stop)
        reasons: dict[str, None] = {}
        try:
            for name in need.origins:
                source = self._origins.sources.get(name)
                if source is None:
                    reasons[self._origins.reasons[name]] = None
                    continue
                for content in need.contents:
                    try:
                        self._layout.put(content, source, meter)
                    except ModfileError as error:
                        reasons[str(error)] = None
                    else:
                        return name, ""
        finally:
            meter.finish(Outcome.MOVED)
        return None, "; ".join([*reasons, _advice(need)])


class _Origins:
    """The places that repositories are read from, each asked for once."""

    def __init__(self, find_source: Callable[[Reference], Source | None]) -> None:
        self._find_source = find_source
        self.sources: dict[str, Source] = {}
        self.reasons: dict[str, str] = {}

    def prepare(self, need: Need) -> None:
        """Find the places that a piece of content may come from."""
        for name, reference in need.origins.items():
            if name in self.sources or name in self.reasons:
                continue
            try:
                source = self._find_source(reference)
            except ModfileError as error:
                self.reasons[name] = f"{name}: {error}"
                continue
            if source is None:
                self.reasons[name] = f"{name} is in no registry that is known"
            else:
                self.sources[name] = source


def _is_bad(found: Condition) -> bool:
    return found.fault not in (None, Fault.MISSING)


def _advice(need: Need) -> str:
    if need.origins:
        of_a_registry = tuple(f"{name}{mark}" for name in need.origins for mark in ":@")
        exact = str(next(iter(need.origins.values())))
        name = next((one for one in need.names if one.startswith(of_a_registry)), exact)
        return f"once its registry gives it, `modfile pull {name}` fetches it"
    name = next(iter(need.names))
    return f"no registry is known for {name}: build or tag it anew, or take it away with `modfile rm {name}`"
