"""A repository of a registry as a `Store`."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from functools import cached_property
from typing import TYPE_CHECKING

from ..content import Descriptor, Digest
from ..errors import (
    AccessDeniedError,
    NotFoundError,
    RegistryError,
    UsageError,
    VerificationError,
)
from ..manifest import INDEX_TYPES, MANIFEST_TYPES, MAX_MANIFEST, is_manifest
from ..progress import SILENT, Outcome
from ..store import read
from .answers import check_manifest, media_type_of, misnamed, tags_of
from .download import Download
from .failures import TransientError, error_codes, explain, failure
from .mounting import Mounter
from .referrers import Referrers
from .transport import Request
from .upload import Upload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from requests import Response

    from ..progress import Meter
    from ..reference import Reference
    from ..store import Reader, Source
    from .client import Client
    from .uploads import UploadJournal

_ACCEPT = {"Accept": ", ".join((*MANIFEST_TYPES, *INDEX_TYPES))}
_MOST_TAGS = 1_000_000
_TAGS_PER_PAGE = 1000
_MANIFESTS_REMEMBERED = 32


class Repository:
    """One repository: reads and writes content there. For use by many threads at once.

    Args:
        client: sends the requests.
        name: the repository's name as references have it.
        mounts: gives the repositories of the same registry, by such names, that are known to have a blob.
        uploads: where uploads under way are written down, for later processes to go on with.
    """

    def __init__(
        self,
        client: Client,
        name: str,
        mounts: Callable[[Digest], Iterable[str]] | None = None,
        uploads: UploadJournal | None = None,
    ) -> None:
        self._client = client
        self.name = name
        self._mounter = Mounter(client, name, mounts)
        self._uploads = uploads
        self._manifests: OrderedDict[Digest, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def __str__(self) -> str:
        return f"{self._client.endpoint.host}/{self.name}"

    @cached_property
    def referrers(self) -> Referrers:
        """What refers to the repository's manifests."""
        return Referrers(self._client, self)

    def resolve(self, reference: Reference) -> Descriptor:
        """Return what a reference of this repository points at; the manifest is fetched and verified on the way.

        Raises:
            NotFoundError: there is nothing of that name.
            VerificationError: the manifest is not what the reference's digest, or the registry's, says.
            ContentError: it is not a manifest.
        """
        self._check_own(reference)
        wanted = str(reference.digest or reference.tag)
        try:
            response = self._client.send(self._manifest_request(wanted))
        except NotFoundError as error:
            raise NotFoundError(f"{reference} is not in the registry ({error})") from error
        data = response.content
        digest = Digest.of(data) if reference.digest is None else reference.digest
        check_manifest(response, digest)
        self._remember(digest, data)
        return Descriptor(media_type_of(response, str(reference)), digest, len(data))

    def open(self, content: Descriptor, start: int = 0, stop: int | None = None) -> AbstractContextManager[Reader]:
        """Open content at byte `start`; with `stop`, no byte from there on is asked for.

        What is read of a blob is not verified; a manifest is.

        Raises:
            NotFoundError: the content is not here.
            VerificationError: it has another size, or it is a manifest with another digest.
            ConnectionLostError: from the stream, where it breaks off.
        """
        end = content.size if stop is None else min(stop, content.size)
        if is_manifest(content.media_type):
            return io.BytesIO(self._manifest(content)[start : None if stop is None else end])
        return Download(self._client, content).open(start, end)

    def exists(self, content: Descriptor) -> bool:
        """Tell whether the registry has the content, in this repository and in the size that is said.

        Raises:
            RegistryError: it does not say.
        """
        response = self._client.ask(self._question(content, "HEAD"))
        if response.status_code == 405:
            response = self._client.ask(self._question(content, "GET"))
            response.close()
        if response.status_code == 404:
            return False
        if response.status_code >= 400:
            raise failure(response, self._client.endpoint.host)
        return response.headers.get("Content-Length", str(content.size)) == str(content.size)

    def put(self, content: Descriptor, source: Source, meter: Meter = SILENT) -> Outcome:
        """Send content to the registry, verified while it is read. Whether it is there already is not asked.

        A blob that another repository of the registry has is mounted from there, without a byte of it being read. A
        large one whose upload was cut off in another process goes on where that was.

        Raises:
            VerificationError: the source's bytes are not what the descriptor says; the registry keeps nothing of them.
            RegistryError: the registry does not take it.
        """
        if not is_manifest(content.media_type):
            return self._put_blob(content, source, meter)
        data = read(source, content, MAX_MANIFEST)
        self._put_manifest(content, data, str(content.digest), meter)
        self._remember(content.digest, data)
        meter.advance(len(data))
        return Outcome.MOVED

    def stream(self, source: Source, size: int, meter: Meter = SILENT) -> Digest:
        """Send a blob of `size` bytes whose digest is not known yet, each byte once; return its sha256.

        What is cut off within a command goes on; a later command starts over.

        Raises:
            VerificationError: the source has more bytes, or fewer; the registry keeps nothing of them.
            RegistryError: the registry does not take it, or takes no blob in chunks.
        """
        content = Descriptor("application/octet-stream", Digest("sha256", ""), size)
        upload = Upload(self._client, content, source, meter)
        upload.run(Mounter(self._client, self.name, None))
        return upload.digest

    def tag(self, content: Descriptor, reference: Reference) -> None:
        """Let the reference's tag point at a manifest that is here.

        Raises:
            UsageError: the reference has no tag.
            NotFoundError: the manifest is not here.
        """
        self._check_own(reference)
        if reference.tag is None:
            raise UsageError(f"{reference} has no tag to set")
        self._put_manifest(content, self._manifest(content), reference.tag, SILENT)

    def mount(self, content: Descriptor, from_repository: str) -> bool:
        """Let a blob of another repository of the same registry be here as well; tell whether that worked.

        It does not where the blob is not there, or may not be read, or the registry does not do it: send it then.

        Raises:
            RegistryError: the registry failed.
        """
        try:
            response = self._mounter.ask(content.digest, from_repository)
        except AccessDeniedError:
            return False
        if response.status_code == 202 and response.headers.get("Location"):
            self._mounter.cancel(self._client.location(response))
        return response.status_code == 201

    def find_mount(self, content: Descriptor) -> str | None:
        """Return the repository that a blob would be mounted from if it was put here, None for none; changes nothing.

        Raises:
            RegistryError: the registry failed.
        """
        return self._mounter.find(content.digest, content.size)

    def blob_url(self, content: Descriptor) -> str:
        """Return the URL of a blob, for somebody else to ask for."""
        return self._client.url(self._client.container.get_blob_url(str(content.digest)))

    def request_headers(self, content: Descriptor) -> dict[str, str]:
        """Return the headers to ask for a blob with: Authorization, unless everybody may read it.

        Raises:
            AccessDeniedError: the registry does not accept who we are.
            RegistryError: it cannot be asked.
        """
        if not self.exists(content):  # also learns how the registry wants to be asked
            raise NotFoundError(f"{content.digest} is not in {self}")
        try:
            header = self._client.auth.header(self._client.pull_scopes)
        except TransientError as error:
            raise RegistryError(str(error)) from error
        return {} if header is None else {"Authorization": header}

    def tags(self) -> list[str]:
        """Return the repository's tags, in the registry's order.

        Raises:
            NotFoundError: there is no such repository.
            RegistryError: the listing is broken.
        """
        tags: dict[str, None] = {}

        def take(response: Response) -> bool:
            page = dict.fromkeys(tags_of(response))
            new = page.keys() - tags.keys()
            tags.update(page)
            if len(tags) > _MOST_TAGS:
                raise RegistryError(f"{self} lists more than {_MOST_TAGS} tags")
            return bool(new)

        self._client.list_pages(self._client.url(self._client.container.tags_url(N=_TAGS_PER_PAGE)), take)
        return list(tags)

    def delete(self, reference: Reference) -> None:
        """Take a tag away or, for a reference without one, the manifest of a digest with all of its tags.

        Raises:
            NotFoundError: there is no such tag or manifest.
            RegistryError: the registry does not allow it.
        """
        self._check_own(reference)
        url = self._client.url(self._client.container.manifest_url(reference.tag or str(reference.digest)))
        response = self._client.ask(Request("DELETE", url, scopes=self._client.delete_scopes))
        if response.status_code == 404:
            raise NotFoundError(f"{reference} is not in the registry ({explain(response)})")
        unsupported = any(code == "UNSUPPORTED" for code, _ in error_codes(response))
        # Older registries know digests only here, and say so in words of their own.
        if response.status_code == 405 or (response.status_code == 400 and (unsupported or reference.tag)):
            what = "tags" if reference.tag else "manifests"
            hint = (
                "; by its digest (REPOSITORY@sha256:…) a manifest may go, with all of its tags" if reference.tag else ""
            )
            raise RegistryError(
                f"{self._client.endpoint.host} does not let {what} be deleted ({explain(response)}){hint}"
            )
        if response.status_code >= 400:
            raise failure(response, self._client.endpoint.host)

    def _put_blob(self, content: Descriptor, source: Source, meter: Meter) -> Outcome:
        client = self._client
        if self._uploads is None or content.size <= client.settings.chunk_size:
            return Upload(client, content, source, meter).run(self._mounter)
        with self._uploads.entry(str(client.endpoint.origin), client.name, content.digest, meter) as entry:
            if entry.waited and self.exists(content):
                entry.forget()
                return Outcome.SKIPPED
            return Upload(client, content, source, meter, entry).run(self._mounter)

    def _check_own(self, reference: Reference) -> None:
        if reference.repository != self.name:
            raise UsageError(f"{reference} does not belong to the repository {self}")

    def _question(self, content: Descriptor, method: str) -> Request:
        manifest = is_manifest(content.media_type)
        container = self._client.container
        of = container.manifest_url if manifest else container.get_blob_url
        headers = {"Accept": content.media_type} if manifest else {}
        url = self._client.url(of(str(content.digest)))
        return Request(method, url, headers, scopes=self._client.pull_scopes, stream=method == "GET")

    def _manifest_request(self, name: str) -> Request:
        url = self._client.url(self._client.container.manifest_url(name))
        return Request("GET", url, _ACCEPT, scopes=self._client.pull_scopes, most=MAX_MANIFEST)

    def _manifest(self, content: Descriptor) -> bytes:
        """Return a manifest's bytes, verified."""
        with self._lock:
            data = self._manifests.get(content.digest)
        if data is None:
            response = self._client.send(self._manifest_request(str(content.digest)))
            data = response.content
            check_manifest(response, content.digest)
            self._remember(content.digest, data)
        if len(data) != content.size:
            raise VerificationError(f"{content.digest} is said to be {content.size} bytes large, but has {len(data)}")
        return data

    def _put_manifest(self, content: Descriptor, data: bytes, name: str, meter: Meter) -> None:
        url = self._client.url(self._client.container.manifest_url(name))
        headers = {"Content-Type": content.media_type}
        patience = self._client.settings.commit_timeout
        request = Request("PUT", url, headers, data, scopes=self._client.push_scopes, patience=patience)
        if said := misnamed(self._client.send(request, meter.note), data):
            raise VerificationError(f"{self} stored the manifest {content.digest} as {said}")

    def _remember(self, digest: Digest, data: bytes) -> None:
        with self._lock:
            self._manifests[digest] = data
            while len(self._manifests) > _MANIFESTS_REMEMBERED:
                self._manifests.popitem(last=False)
