"""What is visible where: the store's artifacts as a registry's repositories (OCI distribution specification).

A manifest is visible in a repository if the store's index lists it there, or an index that is visible there names it.
A blob is if it was brought there (`Links`), or a manifest that is visible there names it. Whoever may not see a blob
cannot come by it: a manifest that names it is refused.

What was deleted is out of sight at once, also where a manifest of the repository still names it, until it is brought
again; its bytes go when `prune` finds that nothing needs them.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..content import Descriptor, Digest
from ..errors import InvalidReferenceError, NotFoundError, StoreError
from ..manifest import INDEX_TYPES
from ..store import InMemory
from .admission import Admission
from .listing import Listed, Listing
from .manifests import Manifests
from .names import Names, check_tag, referrers_tag
from .refusals import refusing
from .visibility import Visibility

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..layout import Layout
    from ..layout.index import Index
    from .links import Links

BLOB = "application/octet-stream"
"""The type of a blob whose type is not known."""

_RECENT = 3600.0
"""A link that was touched in so many seconds need not be touched again."""


@dataclass(frozen=True, slots=True)
class Put:
    """What a pushed manifest became.

    Attributes:
        content: its type, digest and size.
        subject: the digest of what it is about, None if it is about nothing.
    """

    content: Descriptor
    subject: Digest | None


class Catalog:
    """The repositories that a server shows, and what is in them.

    Any number of threads may use it at once, and other processes the same store. All methods may wait for the disk, and
    those that change something for `prune`. They raise `InvalidReferenceError` for what is no name of a repository, a
    tag or a host to mirror, and `StoreError` if the store cannot be read or written (`FullError` if it has no room).
    """

    def __init__(self, layout: Layout, links: Links, *, namespace: str = "localhost") -> None:
        """`namespace` is the host under which the store keeps what is pushed.

        Raises:
            InvalidReferenceError: the namespace is no host.
        """
        self._layout = layout
        self._links = links
        self._names = Names(namespace)
        self._listing = Listing(layout)
        self._manifests = Manifests(layout)

    # Reading

    def repositories(self) -> tuple[str, ...]:
        """Return the names that can be asked for without naming another host, sorted."""
        served = (self._names.served(place) for place in self._listing.repositories())
        return tuple(sorted({repository for repository in served if repository is not None}))

    def tags(self, repository: str, mirror_of: str | None = None) -> tuple[str, ...]:
        """Return a repository's tags, sorted by their bytes.

        Raises:
            NotFoundError: there is no such repository.
        """
        listed = self._listing.of(self._names.places(repository, mirror_of))
        if listed is None:
            raise NotFoundError(f"there is no repository {repository}")
        return tuple(sorted(listed.tags))

    def resolve(self, repository: str, name: str, mirror_of: str | None = None, *, refresh: bool = False) -> Descriptor:
        """Return the manifest of a tag or a digest.

        With `refresh` one that is asked for by its digest is spared by `prune` as a blob is: an index may follow.

        Raises:
            ContentError: what has a colon is no digest.
            NotFoundError: there is no such manifest, or it is not whole.
        """
        seen = self._seen(repository, mirror_of)
        if ":" in name:
            digests = [Digest.parse(name)]
        else:
            check_tag(name)
            digests = [seen.listed.tags[name].digest] if name in seen.listed.tags else []
        found = next(iter(seen.manifests(digests).values()), None)
        refresh = refresh and mirror_of is None and ":" in name
        if found is None or (refresh and not self._spare(repository, found.digest, found.size)):
            raise NotFoundError(f"there is no manifest {name} in the repository {repository}")
        return found

    def blob(
        self, repository: str, digest: Digest, mirror_of: str | None = None, *, refresh: bool = False
    ) -> Descriptor:
        """Return a blob that is visible in a repository; its type is not known (`application/octet-stream`).

        With `refresh` it is spared by `prune` for a day from now: for a HEAD by somebody who may push, and will not
        upload what is there.

        Raises:
            NotFoundError: the blob is not visible there, or not whole.
        """
        size = self._seen(repository, mirror_of).blobs([digest]).get(digest)
        refresh = refresh and mirror_of is None
        if size is None or (refresh and not self._spare(repository, digest, size)):
            raise NotFoundError(f"there is no blob {digest} in the repository {repository}")
        return Descriptor(BLOB, digest, size)

    def referrers(
        self, repository: str, digest: Digest, artifact_type: str | None = None, mirror_of: str | None = None
    ) -> tuple[Descriptor, ...]:
        """Return the manifests whose subject has the digest, with their artifact types and annotations.

        Those that are only listed by the index of the referrers tag schema are among them. None for a repository that
        is not known.
        """
        seen = self._seen(repository, mirror_of)
        found = {}
        for _, facts in seen.walk():
            if facts.subject == digest and facts.referrer:
                found[facts.referrer.digest] = facts.referrer
        tagged = seen.listed.tags.get(referrers_tag(digest))
        if tagged and tagged.media_type in INDEX_TYPES:
            for content in self._manifests.facts(tagged).manifests:
                found.setdefault(content.digest, content)
        there = seen.manifests(found)
        return tuple(
            content
            for content in found.values()
            if content.digest in there and artifact_type in (None, content.artifact_type)
        )

    # Writing

    def put_manifest(
        self, repository: str, data: bytes, media_type: str, *, digest: Digest | None, tags: Sequence[str]
    ) -> Put:
        """Take in a manifest, under its digest and tags.

        Args:
            repository: where it goes.
            data: its bytes.
            media_type: as the Content-Type says it, without parameters; empty if it was not said.
            digest: what it should have, None for its sha256.
            tags: to point at it.

        Raises:
            VerificationError: the bytes are not what the digest says.
            ContentError: it is no manifest that can be taken.
            MissingError: it names content that is not visible in the repository.
        """
        place = self._names.pushed(repository)
        for tag in tags:
            check_tag(tag)
        admission = Admission.parse(data, media_type, digest)
        content = admission.content
        with refusing(f"manifest {content.digest}"), self._layout.writing():
            for blob, carried in admission.check(self._seen(repository), self._manifests).items():
                self._bring(Descriptor(BLOB, blob, len(carried)), carried)
            self._bring(content, data)
            with self._layout.changing() as index:
                for reference in [replace(place, tag=tag) for tag in tags] or [place.at(content.digest)]:
                    index.tag(content, reference)
            if tags:
                self._links.reveal(repository, content.digest)
            else:  # an index that names it may follow
                self._links.add(repository, content.digest, content.size)
        subject = admission.document.subject
        return Put(content, subject.digest if subject else None)

    def mount(
        self,
        repository: str,
        digest: Digest,
        origin: str | None,
        *,
        may_read: Callable[[str], bool] = lambda repository: True,
    ) -> Descriptor | None:
        """Make a blob of another repository visible in this one; None if it is not to be had.

        Without an origin, any repository will do. Only those are looked into that `may_read` allows.
        """
        self._names.pushed(repository)
        if not self._layout.blob_path(digest).exists():
            return None
        anywhere = (repository, *self._links.repositories(), *self.repositories())
        for name in dict.fromkeys(anywhere if origin is None else (origin,)):
            try:
                size = self._seen(name).blobs([digest]).get(digest) if may_read(name) else None
            except InvalidReferenceError:
                return None
            if size is not None:
                return Descriptor(BLOB, digest, size) if self._link(repository, digest, size) else None
        return None

    def delete_tag(self, repository: str, tag: str) -> None:
        """Take a tag away; its manifest stays.

        Raises:
            NotFoundError: there is no such tag.
        """
        check_tag(tag)
        references = [replace(place, tag=tag) for place in self._names.places(repository)]
        if tag in self._seen(repository).listed.tags:
            with self._changing() as index:
                there = [reference for reference in references if index.find(reference)]
                for reference in there:
                    index.untag(reference)
            if there:
                return
        raise NotFoundError(f"there is no tag {tag} in the repository {repository}")

    def delete_manifest(self, repository: str, digest: Digest) -> None:
        """Take a manifest out of sight, with all of its tags in the repository.

        Raises:
            NotFoundError: there is no such manifest.
        """
        seen = self._seen(repository)
        if digest not in seen.listed.manifests and digest not in seen.manifests([digest]):
            raise NotFoundError(f"there is no manifest {digest} in the repository {repository}")
        if parents := seen.indexes_with(digest):
            with refusing(f"manifest {digest}"):
                self._links.hide(repository, digest, parents)
        if digest in seen.listed.manifests:
            with self._changing() as index:
                for place in self._names.places(repository):
                    index.remove(place.at(digest))
        self._links.remove(repository, digest)

    def delete_blob(self, repository: str, digest: Digest) -> None:
        """Take a blob out of sight, also where a manifest of the repository names it.

        Raises:
            NotFoundError: it is not visible there.
        """
        seen = self._seen(repository)
        if digest not in seen.blobs([digest]):
            raise NotFoundError(f"there is no blob {digest} in the repository {repository}")
        if parents := seen.manifests_with(digest):
            with refusing(f"blob {digest}"):
                self._links.hide(repository, digest, parents)
        self._links.remove(repository, digest)

    def expire(self) -> None:
        """Forget links older than a day, and what was hidden from manifests that are gone."""
        self._links.expire()
        for repository in self._links.repositories():
            hidden = self._links.hidden(repository)
            if hidden:
                there = {content.digest for content, _ in self._seen(repository).walk()}
                for digest in (digest for digest, parents in hidden.items() if not parents & there):
                    self._links.reveal(repository, digest)

    @contextmanager
    def _changing(self) -> Iterator[Index]:
        """Hand out the store's index to be changed, telling a full disk from other trouble."""
        with refusing("the index"), self._layout.changing() as index:
            yield index

    def _seen(self, repository: str, mirror_of: str | None = None) -> Visibility:
        listed = self._listing.of(self._names.places(repository, mirror_of)) or Listed()
        links = None if mirror_of else self._links
        return Visibility(self._layout, self._manifests, links, repository, listed)

    def _spare(self, repository: str, digest: Digest, size: int) -> bool:
        """Have `prune` spare what is visible; tell whether it is still there.

        Where nothing can be written, on a full disk for one, reading goes on: nobody could push what needs it either.
        """
        if self._links.is_fresh(repository, digest, _RECENT):
            return True
        try:
            return self._link(repository, digest, size)
        except StoreError:
            return self._layout.exists(Descriptor(BLOB, digest, size))

    def _link(self, repository: str, digest: Digest, size: int) -> bool:
        """Link a blob, unless `prune` took it meanwhile; tell whether it is there."""
        with refusing(f"blob {digest}"), self._layout.writing():
            there = self._layout.exists(Descriptor(BLOB, digest, size))
            if there:
                self._links.add(repository, digest, size)
            return there

    def _bring(self, content: Descriptor, data: bytes) -> None:
        self._layout.put(content, InMemory({content: data}))
