"""What a push or a pull would do, told instead of done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .console import size

if TYPE_CHECKING:
    from modfile.reference import Reference
    from modfile.verbs.push import Rehearsal

    from .console import Console

DryRun = Annotated[bool, typer.Option("--dry-run", help="Write nothing; list what would be brought.")]


def show(console: Console, reference: Reference, found: Rehearsal, done: str, *, as_json: bool) -> None:
    """Print what would be done, in a word such as `sent`."""
    from modfile.verbs.copy import label

    if as_json:
        console.json({"Reference": str(reference)} | found.to_json())
    else:
        rows = [(str(content.digest), size(content.size), label(content)) for content in found.missing]
        console.table(("DIGEST", "SIZE", "WHAT"), rows)
    total = len(found.missing) + found.there
    console.say(
        f"{len(found.missing)} of {total} pieces would be {done} ({size(found.size)}); {_tag(reference, found)}"
    )


def _tag(reference: Reference, found: Rehearsal) -> str:
    if not reference.tag:
        return "no tag would be written"
    if found.named is None:
        return f"the tag {reference.tag} would be new"
    if found.named.digest == found.content.digest:
        return f"the tag {reference.tag} points there already"
    return f"the tag {reference.tag} would move from {found.named.digest}"
