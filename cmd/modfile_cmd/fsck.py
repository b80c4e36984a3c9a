"""`modfile fsck`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from modfile.errors import VerificationError

from .console import size
from .options import AsJSON, Concurrency, connected
from .session import DIRECT, Connection, Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modfile.reference import Reference
    from modfile.store import Source
    from modfile.verbs.fsck import Finding, Report
    from modfile.verbs.repair import Repaired


@connected
def fsck(
    context: typer.Context,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Set bad blobs aside, and fetch what is missing from where the tags came from."),
    ] = False,
    concurrency: Concurrency = None,
    as_json: AsJSON = False,
    connection: Connection = DIRECT,
) -> None:
    """Check the local store: every blob's bytes, and all that its tags need.

    Prints a line for each problem, with the tags that it touches, and a line that sums up. The exit code is 4 if
    something is wrong and was not repaired. Other commands may go on meanwhile; nothing is changed without --repair.
    With it, a blob that is not what its digest says is moved to the store's directory `damaged`, and removed there once
    it is whole again.

    \b
      modfile fsck
      modfile fsck --repair
      modfile fsck --json | jq -r '.Problems[].References[]'
    """
    from modfile.verbs.fsck import fsck as check
    from modfile.verbs.repair import repair as mend

    session = Session.of(context)
    layout, at_once = session.storage.layout, session.concurrency(None, concurrency)
    with session.console.progress("checking") as progress:
        report = check(layout, progress=progress, concurrency=at_once)

    def find_source(reference: Reference) -> Source | None:
        return session.source(reference, connection) if reference.host else None

    done = None
    if repair:
        with session.console.progress("repairing") as progress:
            done = mend(layout, report, find_source, progress=progress, concurrency=at_once, note=session.console.say)
    if as_json:
        session.console.json(report.to_json() | (done.to_json() if done else {}))
    else:
        for line in _lines(report, done):
            session.console.result(line)
    left = len(done.left if done else report.findings)
    if left:
        hint = "what can be done is said with each" if done else "`modfile fsck --repair` mends what it can"
        raise VerificationError(f"the store in {layout.root} has {_count(left, 'problem')}; {hint}")


def _lines(report: Report, done: Repaired | None) -> Iterator[str]:
    for treated in done.treated if done else ():
        kept = f"; what was there is kept as {treated.set_aside}" if treated.set_aside else ""
        yield f"{_line(treated.finding)}: {treated.done or f'not repaired: {treated.reason}'}{kept}"
    if done is None:
        yield from map(_line, report.findings)
    yield _summary(report, done)


def _line(finding: Finding) -> str:
    touched = f" ({', '.join(finding.references)})" if finding.references else ""
    return f"{finding.wrong.value}: {finding.subject}: {finding.detail}{touched}"


def _summary(report: Report, done: Repaired | None) -> str:
    if not (report.blobs or report.references or report.findings):
        return "nothing to check: the store is empty"
    checked = f"checked {_count(report.blobs, 'blob')} ({size(report.bytes)}), {_count(report.references, 'reference')}"
    if done and done.treated:
        found = f"{_count(len(done.treated), 'problem')}, {len(done.treated) - len(done.left)} repaired"
    else:
        found = _count(len(report.findings), "problem") if report.findings else "all is right"
    spare = [
        f"{_count(len(report.orphans), 'blob')} that nothing needs ({size(report.orphan_bytes)})"
        * bool(report.orphans),
        f"{_count(report.dead_partials, 'partial one')} that nobody brings" * bool(report.dead_partials),
        f"{_count(len(report.set_aside), 'copy', 'copies')} set aside earlier" * bool(report.set_aside),
    ]
    listed = ", ".join(filter(None, spare))
    if report.lacking:
        found += f"; {_count(len(report.lacking), 'layer')} of bases ({size(report.lacking_bytes)}) not fetched"
    return f"{checked}: {found}" + (f"; `modfile prune` frees what can go: {listed}" if listed else "")


def _count(number: int, one: str, several: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else several or one + 's'}"
