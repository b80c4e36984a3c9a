"""Hugging Face's endpoints (its documentation: "Hub API Endpoints", and what `huggingface_hub` asks for)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from .repository import HubFile, HubModel, Revision
    from .server import HubHandler

_INFO = re.compile(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?")
_TREE = re.compile(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)/?")
_RESOLVE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


def answer(to: HubHandler) -> bool:
    """Answer a request that is for Hugging Face; tell whether it was."""
    if match := _TREE.fullmatch(to.route):
        found = _find(to, match[1], match[2])
        if found:
            _tree(to, *found)
    elif match := _INFO.fullmatch(to.route):
        found = _find(to, match[1], unquote(match[2] or "main"))
        if found:
            _info(to, *found)
    elif match := _RESOLVE.fullmatch(to.route):
        found = _find(to, match[1], unquote(match[2]))
        if found:
            _resolve(to, *found, match[3])
    else:
        return False
    return True


def _find(to: HubHandler, repo: str, name: str) -> tuple[HubModel, Revision] | None:
    """Find a revision for who asks; answer with the error where there is none."""
    token, model = to.asked.token, to.hub.models.get(repo)
    if token is not None and token not in to.hub.tokens:
        _error(to, 401, "", "Invalid credentials in Authorization header")
    elif model is None or (model.private and token is None):
        _error(to, 404 if token else 401, "RepoNotFound", "Repository not found")
    elif (revision := model.at(name)) is None:
        _error(to, 404, "RevisionNotFound", f"Invalid rev id: {name}")
    else:
        return model, revision
    return None


def _error(to: HubHandler, status: int, code: str, message: str) -> None:
    headers = {"X-Error-Message": message, "X-Request-Id": "Root=1-test"}
    to.json({"error": message}, status, headers | ({"X-Error-Code": code} if code else {}))


def _info(to: HubHandler, model: HubModel, revision: Revision) -> None:
    siblings = [_sibling(file, blobs="blobs" in to.query) for file in revision.files.values()]
    to.json(
        {
            "_id": "0" * 24,
            "id": model.repo,
            "modelId": model.repo,
            "author": model.repo.partition("/")[0],
            "sha": revision.commit,
            "lastModified": "2024-05-01T12:00:00.000Z",
            "private": model.private,
            "gated": "auto" if model.gated is not None else False,
            "disabled": False,
            "downloads": 7,
            "likes": 1,
            "tags": [],
            "cardData": revision.card,
            "siblings": siblings if model.siblings is None else model.siblings,
        }
    )


def _sibling(file: HubFile, *, blobs: bool) -> dict[str, Any]:
    value: dict[str, Any] = {"rfilename": file.path}
    if blobs:
        value |= {"size": file.size, "blobId": file.blob_id}
        if file.lfs:
            value["lfs"] = {"sha256": file.sha256, "size": file.size, "pointerSize": len(file.pointer)}
    return value


def _tree(to: HubHandler, model: HubModel, revision: Revision) -> None:
    entries: list[dict[str, Any]] = []
    folders = {str(parent) for path in revision.files for parent in _parents(path)}
    entries += [{"type": "directory", "oid": "0" * 40, "size": 0, "path": path} for path in sorted(folders)]
    for file in revision.files.values():
        entry: dict[str, Any] = {"type": "file", "oid": file.blob_id, "size": file.size, "path": file.path}
        if file.lfs:
            entry["lfs"] = {"oid": file.sha256, "size": file.size, "pointerSize": len(file.pointer)}
        entries.append(entry)
    start = int(to.query.get("cursor", 0))
    page, headers = entries[start : start + to.hub.page], {}
    if start + to.hub.page < len(entries):
        cursor = start + to.hub.page
        url = f"{to.hub.endpoint}{to.route}?recursive=True&cursor={cursor}"
        headers["Link"] = f'<{url}>; rel="next"'
    to.json(page, headers=headers)


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def _resolve(to: HubHandler, model: HubModel, revision: Revision, path: str) -> None:
    if model.gated is not None and to.asked.token not in model.gated:
        message = f"Access to model {model.repo} is restricted and you are not in the authorized list."
        return _error(to, 403 if to.asked.token else 401, "GatedRepo", message)
    file = revision.files.get(path)
    if file is None:
        return _error(to, 404, "EntryNotFound", "Entry not found")
    headers = {"X-Repo-Commit": revision.commit}
    if not file.lfs:
        return to.file(model.repo, file, headers)
    headers |= {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(file.size), "ETag": f'"{file.sha256}"'}
    return to.reply(302, b"", {"Location": to.hub.cdn_url(model.repo, file), **headers})
