"""Models that come from elsewhere: the options that say where, and how they come into a directory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modfile.environment import origin_settings
from modfile.errors import ContentError, UsageError

from .console import summary
from .session import Connection, Session

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from modfile.metadata import Field
    from modfile.origins import Listing
    from modfile.verbs.copy import Tally
    from modfile.verbs.generate import Generated

MODELFILE = "Modelfile"


class Provider(StrEnum):
    """Who has models under names such as `org/model`."""

    HUGGINGFACE = "huggingface"
    MODELSCOPE = "modelscope"


ModelURL = Annotated[
    str | None,
    typer.Option(
        "--model-url",
        metavar="URL",
        help="Download the model first: hf://ORG/MODEL[@REV], https://huggingface.co/…, modelscope://…, "
        "models:/NAME/3, s3://BUCKET/PREFIX, git+https://…",
    ),
]
ModelProvider = Annotated[
    Provider | None,
    typer.Option(
        "--provider", "-p", metavar="huggingface|modelscope", help="Whose model ORG/MODEL is, where the URL is that."
    ),
]
DownloadDir = Annotated[
    Path | None,
    typer.Option("--download-dir", metavar="DIR", help="With --model-url: where to download the model to."),
]
OnlyFiles = Annotated[
    list[str],
    typer.Option("--include", metavar="PATTERN", help="With --model-url: download these files only; repeatable."),
]
NoFiles = Annotated[
    list[str],
    typer.Option("--exclude", metavar="PATTERN", help="With --model-url: download no such files; repeatable."),
]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A model that is to be downloaded, which files of it, and where to; None for a place that goes away."""

    url: str
    provider: Provider | None = None
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    directory: Path | None = None


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A model's files in a directory, and what the place that they come from says of it."""

    directory: Path
    listing: Listing
    tally: Tally

    def given(self) -> Iterator[Field]:
        """Give what a Modelfile says of the model because it comes from there."""
        from modfile.importing.describing import given_by
        from modfile.metadata import Field

        yield Field("NAME", (self.listing.name,), "the model's name at its source")
        yield from given_by(self.listing)

    def otherwise(self) -> Iterator[Field]:
        """Give what it says where the files are silent."""
        from modfile.importing.describing import known_of

        yield from known_of(self.listing)

    def to_json(self) -> dict[str, Any]:
        """Return where it came from, and what moved."""
        return {"Source": self.listing.url, "Revision": self.listing.revision} | self.tally.to_json()


def download_model(session: Session, wanted: Wanted, connection: Connection, concurrency: int | None) -> Downloaded:
    """Download a model; without a directory that is said, into one in the current directory that has its name."""
    from modfile.backoff import Backoff
    from modfile.importing.choice import Choice
    from modfile.origins import find_origin
    from modfile.verbs.download import download

    # What else a connection says is about a registry.
    reached = Connection(ca_file=connection.ca_file, proxy=connection.proxy, limit_rate=connection.limit_rate)
    settings = session.reaching(origin_settings(), reached)
    choice = Choice.parse(wanted.include, wanted.exclude)
    origin = find_origin(wanted.url, provider=wanted.provider, settings=settings)
    listing = origin.listing()
    files = choice.of(listing)
    directory = wanted.directory or Path(_directory_name(listing))
    with session.console.progress("downloading") as progress:
        tally = download(origin, files, directory, Backoff(), progress, session.concurrency(None, concurrency))
    session.console.say(f"{listing.url} is in {directory}: {summary('downloaded', tally)}")
    return Downloaded(directory, listing, tally)


def model_for_build(
    context: typer.Context, wanted: Wanted, connection: Connection, concurrency: int | None, modelfile: Path | None
) -> Downloaded:
    """Download a model and see that it has a Modelfile, or is given one.

    Where no directory is said, it is in one that goes away when the command ends.
    """
    from modfile.origins.scratch import Scratch

    session = Session.of(context)
    if wanted.directory is None:
        scratch = Scratch(session.storage_directory / "scratch")
        context.call_on_close(scratch.close)
        wanted = replace(wanted, directory=scratch.path / "model")
    model = download_model(session, wanted, connection, concurrency)
    if modelfile is None and not (model.directory / MODELFILE).exists():
        for warning in _generated(model, wanted).warnings:
            session.console.warn(warning)
    return model


def _generated(model: Downloaded, wanted: Wanted) -> Generated:
    from modfile.verbs.generate import generate

    return generate(
        model.directory,
        include=wanted.include,
        exclude=wanted.exclude,
        given=list(model.given()),
        otherwise=list(model.otherwise()),
    )


def refuse_without_url(**said: object) -> None:
    """See that no option is given that only means something with --model-url."""
    for name, value in said.items():
        if value:
            raise UsageError(f"--{name.replace('_', '-')} needs --model-url")


def _directory_name(listing: Listing) -> str:
    """Return the name of a directory for a model."""
    from modfile.paths import check_path

    try:
        check_path(listing.name)
    except ContentError as error:
        raise UsageError(f"the model's name cannot be a directory's ({error}); say --download-dir") from None
    if "/" in listing.name:
        raise UsageError("the model's name cannot be a directory's; say --download-dir")
    return listing.name
