"""The layers of an artifact that pack several files: which ones, and the same without some of them."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..content import Descriptor
from ..errors import ContentError
from ..layerformat import LayerFormat
from ..listing import ANNOTATION, listing_of
from ..modelpack import DEFAULT_MODE, PREFIX_ANNOTATION, FileMetadata, Layer
from ..packedfiles import read_through
from ..paths import shown
from ..pipeline import HashingReader
from ..store import verify
from ..tarpacker import Member
from ..unpack import MOST, named, unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from ..layermaker import LayerMaker, Made
    from ..progress import Meter
    from ..store import Reader, Source


class PackedLayer:
    """A layer of several files, and where its bytes are read."""

    def __init__(self, layer: Layer, source: Source) -> None:
        """Take a layer's list of its files, or read through it where there is none.

        Raises:
            ContentError: it is no tar, or not what it lists.
            VerificationError: its bytes are not what its digest says.
        """
        self.layer = layer
        self._source = source
        self._is_listed = ANNOTATION in layer.content.annotations
        self.files = {file.path: file for file in listing_of(layer) or read_through(layer, source)}

    @classmethod
    def among(cls, layers: Sequence[dict[str, Any]], source: Source) -> dict[int, PackedLayer]:
        """Return the layers of a manifest that may pack several files, by their place.

        Raises:
            ContentError, VerificationError: one cannot be read.
        """
        found = {}
        for at, value in enumerate(layers):
            try:
                layer = Layer.parse(Descriptor.parse(value))
            except ContentError:
                continue  # what is not understood stays as it is
            if layer.is_packed and layer.metadata is None:
                found[at] = cls(layer, source)
        return found

    def without(self, paths: set[str], maker: LayerMaker, meter: Meter) -> Made | None:
        """Bring the layer without some files to where the maker's layers go; None if none is left.

        It is read on the way, and verified; format, kind and annotations stay, but for what the maker's layers have
        in common.

        Raises:
            ContentError, VerificationError: it is not what it says.
        """
        left = [file for path, file in self.files.items() if path not in paths]
        if not left:
            return None
        with named(self.layer), _Unpacking(self.layer, self._source) as unpacking:
            members = [
                Member(
                    file.path,
                    file.metadata,
                    unpacking.opener(file.path),
                    digest=file.content.digest,
                    prefix=self.layer.prefix,
                )
                for file in left
            ]
            made = maker.pack(self.layer.kind, members, LayerFormat(self.layer.format), meter)
            unpacking.finish()
        said = made.layer.annotations
        new = said if maker.prefix else {key: said[key] for key in (ANNOTATION, PREFIX_ANNOTATION) if key in said}
        annotations = {**self.layer.content.annotations, **new}
        if not self._is_listed:  # perhaps since it is too long
            del annotations[ANNOTATION]
        return replace(made, layer=replace(made.layer, annotations=annotations))


def moved(layer: Layer, source: Source, maker: LayerMaker, meter: Meter) -> Made:
    """Bring a layer that is one raw file to where the maker's layers go, as one of those.

    It is read on the way, and verified.

    Raises:
        NotFoundError: the source has not got it.
        VerificationError: its bytes are not what its digest says.
    """
    content, path = layer.content, layer.path or ""
    metadata = layer.metadata or FileMetadata(path.rpartition("/")[2], DEFAULT_MODE, 0, 0, content.size, 0)

    @contextmanager
    def opened() -> Iterator[Reader]:
        with source.open(content) as reader:
            yield _Verifying(reader, content)

    return maker.pack(layer.kind, [Member(path, metadata, opened)], LayerFormat.TAR, meter)


class _Verifying(HashingReader):
    """Reads content, and compares it with its digest when all of it was read."""

    def __init__(self, reader: Reader, content: Descriptor) -> None:
        super().__init__(reader, content.digest)
        self._content = content

    def _take(self, data: memoryview | bytes) -> None:
        super()._take(data)
        if self.size >= self._content.size:
            verify(self._content, self.size, self.digest)


class _Unpacking:
    """Opens files of a packed layer one after the other, in their order; from the start again if it has to."""

    def __init__(self, layer: Layer, source: Source) -> None:
        self._layer = layer
        self._source = source
        self._stack = ExitStack()
        self._files: Iterator[tuple[str, FileMetadata, Reader]] = iter(())

    def __enter__(self) -> _Unpacking:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def opener(self, path: str) -> Callable[[], AbstractContextManager[Reader]]:
        """Return what opens a file."""

        def opened() -> AbstractContextManager[Reader]:
            return self._open(path)

        return opened

    def finish(self) -> None:
        """Read on to the end, where the layer's digest is verified."""
        for _ in self._files:
            pass

    @contextmanager
    def _open(self, path: str) -> Iterator[Reader]:
        reader = self._next(path)
        if reader is None:
            self._stack.close()
            packed = self._stack.enter_context(self._source.open(self._layer.content))
            self._files = unpack(self._layer, packed, MOST)
            reader = self._next(path)
        if reader is None:
            raise ContentError(f"{shown(path)} is not in it")
        yield reader

    def _next(self, path: str) -> Reader | None:
        """Go on to a file; None if it does not come any more."""
        return next((reader for found, _, reader in self._files if found == path), None)
