"""Models in git repositories, whose large files are in LFS."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from ..errors import ContentError
from ..store import BytesReader
from .checkout import Checkout
from .lfs import MAX_POINTER, LfsServer, Pointer
from .origin import Listing, checked
from .web import Web

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..store import Reader
    from .checkout import TreeFile
    from .origin import OriginFile
    from .settings import OriginSettings


class GitModel:
    """A commit of a repository, as an `Origin`: git's own files from a fetch of it, LFS files by ranges.

    Args:
        url: of the repository.
        revision: a branch, a tag or a commit; None for the repository's own choice.
        settings: how to reach it.
    """

    def __init__(self, url: str, revision: str | None, settings: OriginSettings) -> None:
        self._url = url
        self._wanted = revision
        self._settings = settings
        self._web = Web(settings, "let a credential helper of git know who you are")

    def listing(self) -> Listing:
        """Fetch the commit, once, and return its files.

        Raises:
            UsageError: there is no git program.
            NotFoundError: there is no such repository or revision.
            AccessDeniedError: it is not public.
            ContentError: something in it cannot be packed.
            OriginError: it cannot be fetched.
        """
        return self._listed[0]

    @contextmanager
    def open(self, file: OriginFile, start: int = 0, stop: int | None = None) -> Iterator[Reader]:
        """Open a file at byte `start`.

        Raises:
            NotFoundError, AccessDeniedError, VerificationError, OriginError: as `Origin.open` says.
        """
        if file.digest is None:
            data = self._checkout.read(self._listed[1][file.path])
            yield BytesReader(data[:stop], start)
            return
        with self._web.open(file, lambda: self._lfs.place(file), start, stop) as reader:
            yield reader

    @cached_property
    def _checkout(self) -> Checkout:
        return Checkout(self._url, self._wanted, self._settings.scratch)

    @cached_property
    def _lfs(self) -> LfsServer:
        return LfsServer(self._url, self._web, self._checkout.credential)

    @cached_property
    def _listed(self) -> tuple[Listing, dict[str, str]]:
        """The listing, and the git objects of the files that are no LFS files."""
        tree = self._checkout.files()
        small = [file for file in tree if file.size <= MAX_POINTER]
        read = self._checkout.read_all([file.blob for file in small])
        pointers = {file.path: Pointer.parse(data) for file, data in zip(small, read, strict=True)}
        try:
            files = checked((file.path, *_size_and_sha256(file, pointers.get(file.path))) for file in tree)
        except ContentError as error:
            raise ContentError(f"{self._url}: {error}") from None
        name = self._url.removesuffix(".git").rpartition("/")[2]
        blobs = {file.path: file.blob for file in tree if pointers.get(file.path) is None}
        return Listing(files, self._url, self._checkout.commit, name), blobs


def _size_and_sha256(file: TreeFile, pointer: Pointer | None) -> tuple[int, str | None]:
    return (file.size, None) if pointer is None else (pointer.size, pointer.digest.hex)
