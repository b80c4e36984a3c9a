"""What a push, a pull or a build would do, told instead of done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .console import size

if TYPE_CHECKING:
    from modfile.content import Descriptor
    from modfile.reference import Reference
    from modfile.verbs.build_rehearsal import BuildRehearsal
    from modfile.verbs.rehearsal import Rehearsal

    from .console import Console

DryRun = Annotated[bool, typer.Option("--dry-run", help="Write nothing; list what would be brought.")]
_AT_THE_BUILD = "known once it is built"


def show(console: Console, reference: Reference, found: Rehearsal, done: str, *, as_json: bool) -> None:
    """Print what a push or a pull would do, in a word such as `sent`."""
    if as_json:
        console.json({"Reference": str(reference)} | found.to_json())
    else:
        _list(console, found)
    console.say(f"{_sum(found, done)}; {_tag(reference, found.named, found.content)}")


def show_build(console: Console, found: BuildRehearsal, done: str, *, as_json: bool) -> None:
    """Print what a build would do, in a word such as `stored`."""
    for warning in found.warnings:
        console.warn(warning)
    if as_json:
        console.json(found.to_json())
    else:
        _list(console, found.rehearsal, found.timed)
    tags = [
        _tag(reference, found.before[reference], None if content in found.timed else content)
        for reference, content in found.tags.items()
    ]
    console.say("; ".join([_sum(found.rehearsal, done), *(tags or ["no tag would be written"])]))


def _list(console: Console, found: Rehearsal, timed: frozenset[Descriptor] = frozenset()) -> None:
    """Print what is missing; of what is `timed` the digest will be another."""
    from modfile.verbs.copy import label

    rows = []
    for content in found.missing:
        digest = _AT_THE_BUILD if content in timed else str(content.digest)
        what = label(content).partition(" ")[0] if content in timed else label(content)
        rows.append((digest, size(content.size), what, _how(content, found)))
    console.table(("DIGEST", "SIZE", "WHAT", "HOW" if any(row[3] for row in rows) else ""), rows)


def _how(content: Descriptor, found: Rehearsal) -> str:
    if content.digest in found.mounted:
        return f"mounted from {found.mounted[content.digest]}"
    if content.digest in found.copied:
        return f"read from {found.copied[content.digest].name}"
    return ""


def _sum(found: Rehearsal, done: str) -> str:
    mounted = len(found.mounted)
    said = f"{len(found.missing) - mounted} of {len(found.missing) + found.there} pieces would be {done}"
    of_mounts = f", {mounted} mounted" if mounted else ""
    return f"{said} ({size(found.size)}){of_mounts}"


def _tag(reference: Reference, before: Descriptor | None, content: Descriptor | None) -> str:
    """Say what would become of a tag; `content` is None where its digest is not known yet."""
    if not reference.tag:
        return "no tag would be written"
    if before is None:
        return f"the tag {reference.tag} would be new"
    if content and before.digest == content.digest:
        return f"the tag {reference.tag} points there already"
    return f"the tag {reference.tag} would move from {before.digest}"
