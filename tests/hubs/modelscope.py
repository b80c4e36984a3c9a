"""ModelScope's endpoints, as its client asks for them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .repository import HubModel, Revision
    from .server import HubHandler

_FILES = re.compile(r"/api/v1/models/([^/]+/[^/]+)/repo/files")
_FILE = re.compile(r"/api/v1/models/([^/]+/[^/]+)/repo")


def answer(to: HubHandler) -> bool:
    """Answer a request that is for ModelScope; tell whether it was."""
    match = _FILES.fullmatch(to.route) or _FILE.fullmatch(to.route)
    if match is None:
        return False
    found = _find(to, match[1], to.query.get("Revision", "master"))
    if found and match.re is _FILES:
        _list(to, *found)
    elif found:
        _give(to, *found, to.query.get("FilePath", ""))
    return True


def _find(to: HubHandler, repo: str, name: str) -> tuple[HubModel, Revision] | None:
    token, model = to.asked.token, to.hub.models.get(repo)
    if token is not None and token not in to.hub.tokens:
        _error(to, 401, 10010205001, "token is invalid")
    elif model is None or (model.private and token is None):
        _error(to, 404, 10010205001, "record not found")
    elif model.gated is not None and token not in model.gated:
        _error(to, 403, 10010205002, "access denied")
    elif (revision := model.at(name)) is None:
        _error(to, 404, 10010205001, f"revision {name} not found")
    else:
        return model, revision
    return None


def _error(to: HubHandler, status: int, code: int, message: str) -> None:
    to.json({"Code": code, "Message": message, "RequestId": "test", "Success": False}, status)


def _list(to: HubHandler, model: HubModel, revision: Revision) -> None:
    entries: list[dict[str, Any]] = [
        {
            "CommittedDate": 1714564800,
            "IsLFS": file.lfs,
            "Mode": "33188",
            "Name": file.path.rpartition("/")[2],
            "Path": file.path,
            "Revision": revision.commit,
            "Sha256": file.sha256,
            "Size": file.size,
            "Type": "blob",
        }
        for file in revision.files.values()
    ]
    folders = {path.rpartition("/")[0] for path in revision.files} - {""}
    entries += [{"Name": path.rpartition("/")[2], "Path": path, "Size": 0, "Type": "tree"} for path in sorted(folders)]
    if to.query.get("Recursive", "").lower() != "true":
        entries = [entry for entry in entries if "/" not in entry["Path"]]
    if model.siblings is not None:
        entries = model.siblings
    latest = {"Id": revision.commit, "ShortId": revision.commit[:8], "Message": "model"}
    to.json({"Code": 200, "Data": {"Files": entries, "LatestCommitter": latest}, "Message": "", "Success": True})


def _give(to: HubHandler, model: HubModel, revision: Revision, path: str) -> None:
    file = revision.files.get(path)
    if file is None:
        return _error(to, 404, 10010205001, "file not found")
    if file.lfs:
        return to.reply(302, b"", {"Location": to.hub.cdn_url(model.repo, file)})
    return to.file(model.repo, file)
