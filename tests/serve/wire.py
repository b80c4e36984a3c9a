"""What the tests speak to a registry: HTTP as it is on the wire, and content to send."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin

if TYPE_CHECKING:
    import requests

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def descriptor(data: bytes, media_type: str = "application/octet-stream", algorithm: str = "sha256", **more):
    return {"mediaType": media_type, "digest": digest_of(data, algorithm), "size": len(data)} | more


def manifest_of(*layers, config=None, **more) -> bytes:
    value = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config or descriptor(b"{}", EMPTY)}
    return json.dumps(value | {"layers": list(layers)} | more).encode()


def index_of(*manifests, **more) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(manifests)} | more).encode()


@dataclass
class Client:
    """Speaks HTTP to a server; `codes` reads an error's body."""

    url: str
    session: requests.Session

    def __call__(self, method: str, path: str, **more) -> requests.Response:
        more.setdefault("allow_redirects", False)
        return self.session.request(method, urljoin(self.url, path), timeout=30, **more)

    def upload(self, repository: str, data: bytes, algorithm: str = "sha256") -> str:
        digest = digest_of(data, algorithm)
        answer = self("POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", data=data)
        assert answer.status_code == 201, answer.text
        return digest

    def begin(self, repository: str) -> str:
        answer = self("POST", f"/v2/{repository}/blobs/uploads/")
        assert answer.status_code == 202, answer.text
        return answer.headers["Location"]

    def put(self, repository: str, name: str, data: bytes, media_type: str = MANIFEST) -> requests.Response:
        headers = {"Content-Type": media_type}
        return self("PUT", f"/v2/{repository}/manifests/{name}", data=data, headers=headers)

    def push(self, repository: str, tag: str, *layers: bytes, **more) -> bytes:
        """Push an image with a tag; return its manifest."""
        for blob in (b"{}", *layers):
            self.upload(repository, blob)
        data = manifest_of(*[descriptor(layer) for layer in layers], **more)
        answer = self.put(repository, tag, data)
        assert answer.status_code == 201, answer.text
        return data


def codes(answer: requests.Response) -> list[str]:
    """Return the codes of an error's body, which has the specification's form ("Error Codes")."""
    assert answer.headers["Content-Type"] == "application/json"
    value = answer.json()
    assert list(value) == ["errors"]
    assert all(isinstance(error["message"], str) and error["message"] for error in value["errors"])
    return [error["code"] for error in value["errors"]]
