"""A store with artifacts in it, good and bad ones, and its pages."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from modfile import modelfile
from modfile.content import Digest
from modfile.layout import Layout
from modfile.manifest import OCI_MANIFEST
from modfile.packer import Stamp
from modfile.reference import Reference
from modfile.serve.access import Access
from modfile.serve.app import create_app
from modfile.serve.backend import Backend
from modfile.serve.catalog import Catalog
from modfile.serve.links import Links
from modfile.serve.pages.site import pages
from modfile.serve.uploads import Uploads
from modfile.strictjson import dump
from modfile.verbs.build import Builder
from modfile.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import ASGIApp

    from modfile.content import Descriptor

MODEL_CONFIG = "application/vnd.cncf.model.config.v1+json"
EVIL = "<script>document.title='pwned'</script>\"'><img src=x onerror=alert(1)>&lt;b&gt;\u202egpj.exe\x07"
HOST = "127.0.0.1:5000"


class Shop:
    """A storage directory, filled past the server."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.layout = Layout(directory / "store")
        self.links = Links(directory / "links")
        self.catalog = Catalog(self.layout, self.links)

    def build(self, model: Path, reference: str, *more: str, at: datetime | None = None) -> Descriptor:
        """Build a model directory as `modfile build` does."""
        stamp = Stamp.of(at or datetime(2026, 5, 1, 12, 30, tzinfo=UTC))
        references = [Reference.parse(text) for text in (reference, *more)]
        built = Builder(self.layout, stamp).build(Workspace(model), modelfile.load(model / "Modelfile"), references)
        return self.layout.resolve(references[0]) if built else None

    def file(self, path: str, data: bytes | int, kind: str = "weight", **annotations: str) -> dict[str, Any]:
        """Return the descriptor of a file; one of which only the size is said is not there."""
        content = data if isinstance(data, bytes) else path.encode()
        if isinstance(data, bytes):
            self.layout.add_bytes(data, "application/octet-stream")
        return {
            "mediaType": f"application/vnd.cncf.model.{kind}.v1.raw",
            "digest": str(Digest.of(content)),
            "size": len(content) if isinstance(data, bytes) else data,
            "annotations": {"org.cncf.model.filepath": path, **annotations},
        }

    def add(
        self,
        reference: str,
        *layers: dict[str, Any],
        config: object = None,
        config_type: str = MODEL_CONFIG,
        **more: Any,
    ) -> Descriptor:
        """Name a manifest of these layers."""
        data = config if isinstance(config, bytes) else dump(config or {})
        content = self.layout.add_bytes(data, config_type)
        manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": content.to_json(), "layers": list(layers)}
        return self.name(reference, dump(manifest | more))

    def name(self, reference: str, data: bytes, media_type: str = OCI_MANIFEST) -> Descriptor:
        """Name any bytes, as if they were a manifest."""
        content = self.layout.add_bytes(data, media_type)
        self.layout.tag(content, Reference.parse(reference))
        return content

    def damage(self, digest: Digest) -> None:
        """Change a byte of a blob."""
        path = self.layout.blob_path(digest)
        data = path.read_bytes()
        path.chmod(0o600)
        path.write_bytes(bytes([data[0] ^ 1]) + data[1:])

    def app(self, access: Access | None = None) -> ASGIApp:
        """Return the server's application."""
        uploads = Uploads(self.directory / "serve-uploads", self.layout, self.links)
        backend = Backend(self.layout, self.catalog, uploads)
        return create_app(backend, access or Access(), pages(self.catalog, self.layout))

    def page(self, path: str, status: int = 200, host: str = HOST, **scope: Any) -> Page:
        """Return a page, read as HTML."""
        answer = get(self.app(), path, host=host, **scope)
        assert answer.status == status, answer.text
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        return Page(answer.text)

    def add_evil(self, reference: str = "evil/all:v1") -> Descriptor:
        """Name an artifact that has hostile text wherever text can be."""
        links = f"[x](javascript:alert(1)) ![{EVIL}](data:x)"
        readme = f"---\nbase_model: {dump(EVIL).decode()}\n---\n# {EVIL}\n\n{EVIL}\n\n{links}\n"
        return self.add(
            reference,
            self.file(f"{EVIL}/{EVIL}", b"weights"),
            self.file("../../etc/passwd", 7, "weight.config"),
            self.file("README.md", readme.encode(), "doc"),
            {**self.file(EVIL, 9), "mediaType": "application/x-evil"},
            config={
                "descriptor": {
                    **dict.fromkeys(
                        ("family", "name", "title", "description", "version", "revision", "vendor", "createdAt"), EVIL
                    ),
                    "sourceURL": "javascript:alert(1)",
                    "docURL": f"https://example.com/{EVIL}",
                    "authors": [EVIL, {"a": EVIL}, 3],
                    "licenses": EVIL,
                    "datasetsURL": ["data:text/html,<script>alert(1)</script>", "https://example.com/?a=1&b=2"],
                },
                "config": {
                    **dict.fromkeys(("architecture", "format", "paramSize", "precision", "quantization"), EVIL),
                    "capabilities": {"languages": [EVIL], "reasoning": True, "inputTypes": {"a": 1}},
                },
            },
            annotations={EVIL: EVIL, "org.cncf.modctl.modelfile": f"# {EVIL}\nNAME {EVIL}\n"},
            artifactType=EVIL,
        )


@dataclass(frozen=True)
class Answer:
    """What a server answered."""

    status: int
    headers: dict[str, str]
    text: str


def get(app: ASGIApp, url: str, *, host: str = HOST, method: str = "GET", **scope: Any) -> Answer:
    """Ask an application for something, without a network."""
    path, _, query = url.partition("?")
    asked = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", host.encode("latin-1"))],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 5000),
    }
    sent: list[Any] = []

    requests = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Any:
        return requests.pop() if requests else await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    async def ask() -> None:
        await app(asked | scope, receive, send)

    asyncio.run(ask())
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:]).decode())


class Page(HTMLParser):
    """A page as a browser reads it.

    Attributes:
        elements: all start tags, each with its attributes.
        text: what is to be read, the style and the script left out; one space for each white space.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._texts: list[str] = []
        self._raw = ""
        self.raw: dict[str, str] = {}
        self.feed(html)
        self.close()
        self.text = " ".join("".join(self._texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), (tag, attrs)
        self.elements.append((tag, dict(attrs)))
        self._raw = tag if tag in ("style", "script") else ""
        if tag in ("td", "th", "li", "p", "tr", "h1", "h2", "h3", "br", "span"):
            self._texts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        self._raw = ""

    def handle_data(self, data: str) -> None:
        if self._raw:
            self.raw[self._raw] = self.raw.get(self._raw, "") + data
        else:
            self._texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of all elements of one kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def links(self) -> list[str]:
        """Where the page's links lead."""
        return [attributes["href"] or "" for attributes in self.all("a")]

    def check(self) -> None:
        """See that it has nothing but what the templates and a tame README may have."""
        for tag, attributes in self.elements:
            assert tag in _ALLOWED, tag
            assert attributes.keys() <= _ALLOWED[tag] | _EVERYWHERE, (tag, attributes)
        for attributes in self.all("a"):
            href = attributes["href"] or ""
            own = href == "/" or href.startswith(("/artifacts/", "/?", "#", "/v2/"))
            assert own or href.startswith(("https://", "http://", "mailto:")), href
            assert own or attributes.get("rel") == "nofollow noopener noreferrer"
        assert {form["action"] for form in self.all("form")} <= {"/"}
        assert len(self.all("script")) <= 1
        assert len(self.all("style")) == 1


_EVERYWHERE = {"class", "id", "aria-label", "aria-labelledby", "aria-hidden", "title"}
_NOTHING: set[str] = set()
_ALLOWED = {
    **dict.fromkeys(
        ("head", "title", "style", "script", "body", "header", "footer", "main", "section", "nav"), _NOTHING
    ),
    **dict.fromkeys(("h1", "h2", "h3", "h4", "h5", "h6", "div", "span", "details", "summary", "button"), _NOTHING),
    **dict.fromkeys(("ul", "li", "code", "em", "strong", "s", "blockquote", "hr", "br", "q"), _NOTHING),
    **dict.fromkeys(("table", "caption", "thead", "tbody", "tr", "td"), _NOTHING),
    "html": {"lang"},
    "meta": {"charset", "name", "content"},
    "a": {"href", "rel", "aria-current", "download"},
    "form": {"action", "method", "role"},
    "label": {"for"},
    "input": {"name", "type", "maxlength", "placeholder", "value", "autocomplete", "autocapitalize", "spellcheck"},
    "ol": {"start"},
    "th": {"scope"},
    "pre": {"tabindex"},
    "article": {"dir"},
    "p": {"role"},
    "time": {"datetime"},
    "svg": {"viewbox", "preserveaspectratio"},
    "path": {"d"},
    "rect": {"x", "width", "height"},
    "circle": {"cx", "cy", "r"},
}
