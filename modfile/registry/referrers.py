"""What refers to a manifest: asked of the registry's API, or kept under a tag where it has none.

OCI distribution specification 1.1, "Listing Referrers", "Referrers Tag Schema", "Pushing Manifests with Subject".
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from .. import strictjson
from ..content import Descriptor
from ..errors import ContentError, NotFoundError, RegistryError
from ..manifest import MAX_MANIFEST, OCI_INDEX, describe
from ..reference import Reference
from ..referrer import described, referrers_tag
from ..store import InMemory, read
from .endpoint import Origin, follow, shown
from .failures import explain, failure
from .transport import Request

if TYPE_CHECKING:
    from requests import Response

    from ..content import Digest
    from .client import Client
    from .repository import Repository

_MOST_REFERRERS = 10_000
_UNKNOWN_PATH = frozenset({404, 405, 501})


class Referrers:
    """The referrers in one repository. For use by many threads at once.

    Where the registry has no API for them, they are listed in an index under a tag, which whoever pushes one keeps up
    to date. No registry lets that be done in one step: of two processes that add to one subject's list at the same
    moment, one may undo the other's entry. To push again heals that.
    """

    def __init__(self, client: Client, repository: Repository) -> None:
        self._client = client
        self._repository = repository
        self._lock = threading.Lock()
        self._has_api: bool | None = None

    def list(self, subject: Digest) -> tuple[Descriptor, ...]:
        """Return what refers to a manifest, as the registry says; that they do is not verified.

        Raises:
            RegistryError: the listing is broken, or has more than 10,000 entries.
            ContentError: what stands under the tag is no list of referrers.
        """
        listed = self._ask_api(subject) if self._has_api is not False else None
        if listed is None:
            listed = _descriptors(self._tagged(subject), f"{self._repository}:{referrers_tag(subject)}")
        return tuple(listed.values())

    def add(self, content: Descriptor, subject: Digest) -> None:
        """See that a manifest, which is here, is listed as a referrer of its subject.

        A registry with the API does that by itself.

        Raises:
            ContentError: the list would be larger than a registry takes.
            RegistryError: the registry does not take it.
        """
        if self._has_api is None:
            self._ask_api(subject)
        if self._has_api:
            return
        with self._lock:
            index = self._tagged(subject)
            tag = referrers_tag(subject)
            if content.digest in _descriptors(index, f"{self._repository}:{tag}"):
                return
            entry = described(content, read(self._repository, content, MAX_MANIFEST))
            index["manifests"].append(entry.to_json())
            self._put(strictjson.dump(index), tag)

    def _put(self, data: bytes, tag: str) -> None:
        if len(data) > MAX_MANIFEST:
            raise ContentError(f"the list of referrers {self._repository}:{tag} would be larger than a registry takes")
        listing = describe(data, OCI_INDEX)
        self._repository.put(listing, InMemory({listing: data}))
        self._repository.tag(listing, self._reference(tag))

    def _tagged(self, subject: Digest) -> dict[str, Any]:
        """Return the list that is kept under a tag, a new one if there is none."""
        tag = referrers_tag(subject)
        try:
            listing = self._repository.resolve(self._reference(tag))
        except NotFoundError:
            return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
        if listing.media_type != OCI_INDEX:
            raise ContentError(f"{self._repository}:{tag} should be a list of referrers, but is {listing.media_type}")
        return strictjson.parse_object(read(self._repository, listing, MAX_MANIFEST), f"{self._repository}:{tag}")

    def _ask_api(self, subject: Digest) -> dict[Digest, Descriptor] | None:
        """Return what the registry lists, None if it has no API for that."""
        client = self._client
        url: str | None = client.endpoint.url(f"/v2/{client.name}/referrers/{subject}")
        listed: dict[Digest, Descriptor] = {}
        first = True
        while url is not None:
            response = client.ask(Request("GET", url, {"Accept": OCI_INDEX}, scopes=client.pull_scopes))
            if first and _is_no_api(response):
                self._has_api = False
                return None
            if response.status_code != 200:
                raise failure(response, client.endpoint.host)
            page = _descriptors(strictjson.parse_object(response.content, shown(url)), shown(url))
            new = page.keys() - listed.keys()
            listed |= page
            if len(listed) > _MOST_REFERRERS:
                raise RegistryError(f"{self._repository} lists more than {_MOST_REFERRERS:,} referrers of {subject}")
            url = self._next_page(response) if new else None
            first = False
        self._has_api = True
        return listed

    def _next_page(self, response: Response) -> str | None:
        link = response.links.get("next", {}).get("url")
        if not link:
            return None
        url = follow(response.url, link)
        if Origin.of(url) != self._client.endpoint.origin:
            raise RegistryError(f"{explain(response)}, but its next page is on another host, {shown(url)}: refused")
        return url

    def _reference(self, tag: str) -> Reference:
        return Reference(self._client.endpoint.host, self._repository.name, tag)


def _is_no_api(response: Response) -> bool:
    """Tell whether a registry does not know the path; some answer unknown ones with a page for people."""
    if response.status_code == 200:
        return response.headers.get("Content-Type", "").partition(";")[0].strip().lower() != OCI_INDEX
    return response.status_code in _UNKNOWN_PATH


def _descriptors(index: dict[str, Any], what: str) -> dict[Digest, Descriptor]:
    manifests = index.get("manifests")
    if not isinstance(manifests, list):
        raise ContentError(f"{what} should be a list of referrers, but has no manifests")
    return {content.digest: content for content in map(Descriptor.parse, manifests)}
