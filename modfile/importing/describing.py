"""What an origin says of a model, for the Modelfile that is made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..metadata import BASE_MODEL, Field
from ..modelcard import license_expression
from ..paths import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..origins.origin import Listing, OriginFile

_MODELFILE = "modelfile"


def given_by(listing: Listing) -> Iterator[Field]:
    """Give what an artifact says of a model that comes from there, whatever its files say."""
    yield Field("SOURCEURL", (listing.url,), "the import")
    if listing.revision:
        yield Field("REVISION", (listing.revision,), "the import")


def known_of(listing: Listing) -> Iterator[Field]:
    """Give what the origin says of the model, for where its files are silent."""
    licenses = tuple(filter(None, map(license_expression, listing.licenses)))
    if licenses:
        yield Field("LICENSE", licenses, listing.url)
    if listing.base_models:
        yield Field("ANNOTATION", (f"{BASE_MODEL}={','.join(listing.base_models)}",), listing.url)


def warnings_of(listing: Listing, files: Iterable[OriginFile]) -> list[str]:
    """Return what a person may not expect: a Modelfile of the model's own does not say what the artifact is."""
    own = [file.path for file in listing.files if file.path.lower() == _MODELFILE]
    if not own:
        return []
    packed = "packed as a file like any other" if own[0] in {file.path for file in files} else "not packed"
    return [f"{shown(own[0])} of the model is not followed, and {packed}; what is said is told by the other files"]
