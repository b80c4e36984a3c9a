"""Models of the Hugging Face hub, and of hubs that speak as it does.

The list of files, the URLs and the token's rules are `huggingface_hub`'s; the bytes come by ranges from the URL that it
resolves (its documentation: "Hub API Endpoints").
"""

from __future__ import annotations

import hashlib
import re
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from huggingface_hub import HfApi, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
)
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

from ..errors import AccessDeniedError, ContentError, NotFoundError, OriginError, UsageError, VerificationError
from ..paths import shown
from ..registry.failures import TransientError, is_transient, one_line, retry_after
from .origin import Listing, checked
from .reader import IntoReader
from .web import Place, Web, parse_with

if TYPE_CHECKING:
    from collections.abc import Iterator

    from huggingface_hub.hf_api import ModelInfo

    from ..store import Reader
    from .origin import OriginFile
    from .settings import OriginSettings

_COMMIT = re.compile(r"[0-9a-f]{40}")
_TRUNCATED = 50_000
"""From so many files on the hub's own list of them may not be whole."""
_TIMEOUT = 60.0


class HuggingFaceModel:
    """A model of the hub, as an `Origin`.

    Args:
        repo: `org/model`.
        revision: a branch, a tag or a commit; None for the main branch.
        settings: the hub's endpoint, and our token if the client is not to find one itself.
    """

    def __init__(self, repo: str, revision: str | None, settings: OriginSettings) -> None:
        self._repo = repo
        self._wanted = revision
        self._settings = settings
        self._endpoint = settings.hf_endpoint.rstrip("/")
        self._url = f"{self._endpoint}/{repo}"
        self._hint = (
            f"if the model is gated ask for access at {self._url}, and set HF_TOKEN to a token that may read it"
        )
        self._web = Web(settings, self._hint)

    def listing(self) -> Listing:
        """Ask for the files, once.

        Raises:
            NotFoundError: there is no such model or revision.
            AccessDeniedError: it is not public, and the token does not open it.
            ContentError: the answer is not a list of files that could be written below a directory.
            OriginError: the hub, or the way to it, failed.
        """
        return self._listed[0]

    @contextmanager
    def open(self, file: OriginFile, start: int = 0, stop: int | None = None) -> Iterator[Reader]:
        """Open a file at byte `start`; a file of git's own is compared with its git hash where all of it is read.

        Raises:
            NotFoundError, AccessDeniedError, VerificationError, OriginError: as `Origin.open` says.
        """
        listing, blob_ids = self._listed

        def find() -> Place:
            url = hf_hub_url(self._repo, file.path, revision=listing.revision, endpoint=self._endpoint)
            return Place(url, self._authorization())

        with self._web.open(file, find, start, stop) as reader:
            blob_id = blob_ids.get(file.path)
            whole = start == 0 and (stop is None or stop >= file.size)
            yield _GitBlob(reader, file, blob_id) if blob_id and whole else reader

    @cached_property
    def _listed(self) -> tuple[Listing, dict[str, str]]:
        """The listing, and the git hashes of the files that are git's own."""
        info = self._ask()
        return parse_with(lambda: self._read(info), self._url)

    def _read(self, info: ModelInfo) -> tuple[Listing, dict[str, str]]:
        siblings = info.siblings or []
        if len(siblings) >= _TRUNCATED:
            raise ContentError(
                f"{self._url} has {_TRUNCATED:,} files or more, which the hub does not list in one answer"
            )
        if not isinstance(info.sha, str) or not _COMMIT.fullmatch(info.sha):
            raise ContentError(f"{self._url} names no commit")
        try:
            files = checked((one.rfilename, *_size_and_sha256(one)) for one in siblings)
        except ContentError as error:
            raise ContentError(f"{self._url}: {error}") from None
        ids = {one.rfilename: one.blob_id for one in siblings if not one.lfs and isinstance(one.blob_id, str)}
        card: Any = info.card_data or {}
        said = [_texts(card.get(key)) for key in ("license", "base_model")]
        name = self._repo.rpartition("/")[2]
        return Listing(files, self._url, info.sha, name, licenses=said[0], base_models=said[1]), ids

    def _ask(self) -> ModelInfo:
        tries = self._settings.http.backoff.tries()
        while True:
            try:
                return self._attempt()
            except TransientError as error:
                if not tries.again(str(error), self._settings.note, error.wait):
                    raise OriginError(str(error)) from error

    def _attempt(self) -> ModelInfo:
        api = HfApi(endpoint=self._endpoint, token=self._settings.hf_token)
        try:
            return api.model_info(self._repo, revision=self._wanted, files_metadata=True, timeout=_TIMEOUT)
        except HfHubHTTPError as error:
            raise self._refused(error) from error
        except HFValidationError as error:
            raise UsageError(f"{shown(self._repo)} is no model's name: {one_line(str(error))}") from error
        except (OfflineModeIsEnabled, LocalTokenNotFoundError) as error:
            raise OriginError(f"{self._url}: {one_line(str(error))}") from error
        except OSError as error:
            raise TransientError(f"cannot reach {self._url}: {one_line(str(error))}") from error
        except UnicodeEncodeError as error:
            raise UsageError(
                "the token for Hugging Face holds characters that no token has; set HF_TOKEN anew"
            ) from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ContentError(f"{self._url} answered what is no list of files ({type(error).__name__})") from error
        except Exception as error:  # the client's HTTP library has a tree of errors of its own
            raise TransientError(f"cannot reach {self._url}: {one_line(str(error))}") from error

    def _refused(self, error: HfHubHTTPError) -> Exception:
        response = error.response
        status, code = response.status_code, response.headers.get("X-Error-Code", "")
        what = self._url + (f" at {self._wanted}" if self._wanted and code == "RevisionNotFound" else "")
        if is_transient(status):
            return TransientError(
                f"{what}: the hub answered {status}", retry_after(response.headers.get("Retry-After"))
            )
        if status == 401 and not code and self._authorization():
            return AccessDeniedError(
                f"{what}: the hub does not know the token, or it has expired (401); set HF_TOKEN to another, "
                f"or for a public model to none (HF_HUB_DISABLE_IMPLICIT_TOKEN=1)"
            )
        if isinstance(error, GatedRepoError) or status in (401, 403):
            reason = "may not exist, or is not public" if code == "RepoNotFound" else f"is refused ({status})"
            return AccessDeniedError(f"{what} {reason}; {self._hint}")
        if status == 404:
            return NotFoundError(f"{what}: the hub has no such {'revision' if code == 'RevisionNotFound' else 'model'}")
        return OriginError(f"{what}: the hub answered {status}")

    def _authorization(self) -> str | None:
        headers: dict[str, str] = build_hf_headers(token=self._settings.hf_token)
        return headers.get("authorization")


class _GitBlob(IntoReader):
    """A `Reader` of all of a file that ends in an error if the bytes are not those of a git blob (its sha1)."""

    def __init__(self, reader: Reader, file: OriginFile, blob_id: str) -> None:
        self._reader = reader
        self._file = file
        self._blob_id = blob_id
        self._left = file.size
        self._hasher = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        """Fill the buffer from its start; return how many bytes, 0 at the end.

        Raises:
            VerificationError: these are the last bytes, and all of them are not the blob.
        """
        count = self._reader.readinto(buffer)
        self._hasher.update(memoryview(buffer)[:count])
        self._left -= count
        if self._left <= 0 and self._hasher.hexdigest() != self._blob_id:
            raise VerificationError(
                f"{shown(self._file.path)} is not what the hub lists: its git hash is {self._hasher.hexdigest()}, "
                f"not {self._blob_id}"
            )
        return count


def _size_and_sha256(sibling: Any) -> tuple[Any, Any]:
    if not sibling.lfs:
        return sibling.size, None
    return sibling.lfs.size, sibling.lfs.sha256


def _texts(value: Any) -> tuple[str, ...]:
    """Return what a card says of a key: a text, or a list of them."""
    values = value if isinstance(value, list) else [value]
    return tuple(text for text in values if isinstance(text, str) and text and text.isprintable())
