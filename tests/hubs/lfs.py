"""The LFS batch API (git-lfs, docs/api/batch.md) of the hub's models: `/<repo>.git/info/lfs/objects/batch`."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .repository import HubFile
    from .server import HubHandler

_BATCH = re.compile(r"/(.+?)(?:\.git)?/info/lfs/objects/batch")
_TYPE = "application/vnd.git-lfs+json"


def answer(to: HubHandler) -> bool:
    """Answer a request that is for LFS; tell whether it was."""
    match = _BATCH.fullmatch(to.route)
    if match is None or to.command != "POST":
        return False
    model = to.hub.models.get(match[1])
    if model is None:
        to.json({"message": "no such repository"}, 404, {"Content-Type": _TYPE})
        return True
    files = {file.sha256: file for revision in model.revisions.values() for file in revision.files.values()}
    wanted = json.loads(to.body)["objects"]
    to.json(
        {"transfer": "basic", "objects": [_object(to, model.repo, one, files.get(one["oid"])) for one in wanted]},
        headers={"Content-Type": _TYPE},
    )
    return True


def _object(to: HubHandler, repo: str, wanted: dict[str, Any], file: HubFile | None) -> dict[str, Any]:
    value = {"oid": wanted["oid"], "size": wanted["size"]}
    if file is None:
        return value | {"error": {"code": 404, "message": "Object does not exist"}}
    return value | {"actions": {"download": {"href": to.hub.cdn_url(repo, file), "expires_in": 3600}}}
