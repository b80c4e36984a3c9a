"""Models of ModelScope. The list of files and the URLs are its client's; the bytes come by ranges from those URLs."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from modelscope_hub import HubApi, HubConfig
from modelscope_hub.constants import REPO_FILES_TRUNCATION_LIMIT
from modelscope_hub.errors import AuthenticationError, HubError, NotExistError, PermissionDeniedError

from ..errors import AccessDeniedError, ContentError, NotFoundError, OriginError
from ..registry.failures import one_line
from ..registry.transport import Request
from .origin import Listing, checked
from .web import Place, Web, parse_with

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ..store import Reader
    from .origin import OriginFile
    from .settings import OriginSettings

_COMMIT = re.compile(r"[0-9a-f]{40}")
_MAIN = "master"


class ModelScopeModel:
    """A model of ModelScope, as an `Origin`.

    Args:
        repo: `org/model`.
        revision: a branch, a tag or a commit; None for the main branch.
        settings: the endpoint, and our token if the client is not to find one itself.
    """

    def __init__(self, repo: str, revision: str | None, settings: OriginSettings) -> None:
        self._repo = repo
        self._wanted = revision or _MAIN
        self._endpoint = settings.modelscope_endpoint.rstrip("/")
        self._url = f"{self._endpoint}/models/{repo}"
        self._hint = "set MODELSCOPE_API_TOKEN to a token that may read it"
        self._config = HubConfig(endpoint=self._endpoint, token=settings.modelscope_token)
        self._api = HubApi(self._config)
        self._web = Web(settings, self._hint)

    def listing(self) -> Listing:
        """Ask for the files, once.

        Raises:
            NotFoundError: there is no such model or revision.
            AccessDeniedError: it is not public, and the token does not open it.
            ContentError: the answer is not a list of files that could be written below a directory.
            OriginError: ModelScope, or the way to it, failed.
        """
        return self._listed

    def open(self, file: OriginFile, start: int = 0, stop: int | None = None) -> AbstractContextManager[Reader]:
        """Open a file at byte `start`.

        Raises:
            NotFoundError, AccessDeniedError, VerificationError, OriginError: as `Origin.open` says.
        """
        revision = self._listed.revision or self._wanted
        url = self._api.legacy.get_download_url(self._repo, "model", file.path, revision)
        return self._web.open(file, lambda: Place(url, self._authorization()), start, stop)

    @cached_property
    def _listed(self) -> Listing:
        commit = self._commit()
        entries = self._entries(commit or self._wanted)
        if len(entries) >= REPO_FILES_TRUNCATION_LIMIT:
            raise ContentError(
                f"{self._url} has {REPO_FILES_TRUNCATION_LIMIT:,} files and directories or more, "
                "which ModelScope does not list in one answer"
            )
        try:
            files = checked((one.path, one.size, one.sha256 or None) for one in entries if one.type != "tree")
        except ContentError as error:
            raise ContentError(f"{self._url}: {error}") from None
        return Listing(files, self._url, commit, self._repo.rpartition("/")[2])

    def _commit(self) -> str:
        """Return the commit that the revision is; empty where ModelScope does not say. The client leaves this out."""
        query = urlencode({"Revision": self._wanted, "Recursive": "False"})
        url = f"{self._endpoint}/api/v1/models/{self._repo}/repo/files?{query}"
        answer = self._web.json(Request("GET", url), self._authorization(), self._url)
        commit = parse_with(lambda: (answer["Data"].get("LatestCommitter") or {}).get("Id"), self._url)
        if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
            return self._wanted if _COMMIT.fullmatch(self._wanted) else ""
        return commit

    def _entries(self, revision: str) -> list[Any]:
        try:
            return self._api.list_repo_files(self._repo, "model", revision=revision)
        except NotExistError:
            raise NotFoundError(f"{self._url}: ModelScope has no such model or revision {self._wanted}") from None
        except (AuthenticationError, PermissionDeniedError) as error:
            raise AccessDeniedError(f"{self._url} is refused ({error.status_code}); {self._hint}") from None
        except HubError as error:
            raise OriginError(f"{self._url}: {one_line(error.message)}") from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ContentError(f"{self._url} answered what is no list of files ({type(error).__name__})") from error
        except OSError as error:
            raise OriginError(f"cannot reach {self._url}: {one_line(str(error))}") from error

    def _authorization(self) -> str | None:
        return f"Bearer {self._config.token}" if self._config.token else None
