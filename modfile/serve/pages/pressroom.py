"""Templates and what goes into them: pages as HTML, and the headers that keep a browser from doing more than show them.

Every value is made visible and escaped where a template prints it; there is no way around it but `Markup`.
"""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from ... import modelcard
from ...content import Digest
from ...errors import ModfileError
from ...store import read
from ..names import check_tag
from . import detail
from .artifact import Artifact
from .kept import Kept
from .readme import MAX_README, to_html
from .shelf import Shelf
from .text import day, minute, readable, size_text, visible

if TYPE_CHECKING:
    from ...content import Descriptor
    from ...layout import Layout
    from ..catalog import Catalog
    from .address import Address

_PER_PAGE = 50
_MOST_TAGS = 100
_MOST_HTML_KEPT = 32 << 20
_MOST_BASE_MODELS = 10

_Readme = tuple[Markup, tuple[str, ...]]


class Pressroom:
    """Makes pages; for any number of threads.

    Attributes:
        headers: what goes with each.
    """

    def __init__(self, catalog: Catalog, layout: Layout) -> None:
        self._catalog = catalog
        self._layout = layout
        self._shelf = Shelf(catalog, layout)
        self._readmes: Kept[_Readme] = Kept(_MOST_HTML_KEPT, lambda readme: 1000 + len(readme[0]))
        here = resources.files(__package__)
        style, script = (here.joinpath(name).read_text("utf-8") for name in ("style.css", "copy.js"))
        self.headers = _headers(style, script)
        self._templates = Environment(
            loader=PackageLoader(__package__),
            autoescape=True,
            finalize=_printed,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._templates.filters.update(size=size_text, count="{:,}".format, day=day, minute=minute, lines=_lines)
        self._templates.globals.update(style=Markup(style), script=Markup(script))  # noqa: S704 - our own files

    def index(self, address: Address, query: str, number: int) -> str:
        """Return a page of the list: those that the words of the query match.

        Raises:
            StoreError: the store cannot be read.
        """
        listed = self._shelf.repositories()
        words = query.lower().split()
        found = [one for one in listed if one.matches(words)] if words else listed
        last = max(-(-len(found) // _PER_PAGE), 1)
        number = min(number, last)
        start = (number - 1) * _PER_PAGE
        return self._page(
            "index.html",
            address=address,
            query=query,
            found=len(found),
            all=len(listed),
            rows=found[start : start + _PER_PAGE],
            start=start,
            number=number,
            last=last,
        )

    def artifact(self, address: Address, name: str) -> str:
        """Return the page of `repository`, `repository:tag` or `repository@digest`.

        Raises:
            NotFoundError, InvalidReferenceError, ContentError: there is no such thing.
            StoreError: the store cannot be read.
        """
        repository, version = _parted(name)
        tags = self._shelf.tags(repository)
        if not version and not tags:
            return self._page("untagged.html", address=address, repository=repository)
        version = version or f":{tags[0].tag}"
        content = self._catalog.resolve(repository, version[1:])
        artifact = Artifact.read(self._layout, content)
        readme, base_models = self._readme(artifact)
        files = artifact.files
        return self._page(
            "artifact.html",
            address=address,
            repository=repository,
            version=version,
            artifact=artifact,
            facts=detail.facts(artifact, base_models),
            rows=detail.rows(files),
            hidden=max(len(files) - detail.MOST_FILES, 0),
            shares=detail.shares(files),
            total=sum(file.content.size for file in files),
            manifests=artifact.manifests[: detail.MOST_FILES],
            annotations=detail.notes(artifact),
            modelfile=detail.modelfile(artifact),
            readme=readme,
            same=[one.tag for one in tags if one.digest == content.digest and version != f":{one.tag}"][:_MOST_TAGS],
            tags=tags[:_MOST_TAGS],
            more_tags=max(len(tags) - _MOST_TAGS, 0),
            commands=address.commands(repository, version),
        )

    def problem(self, title: str, text: str) -> str:
        """Return a page that says that something cannot be shown."""
        return self._page("problem.html", title=title, text=text)

    def _page(self, template: str, **values: object) -> str:
        return self._templates.get_template(template).render(values)

    def _readme(self, artifact: Artifact) -> _Readme:
        """Return the README and the models that its front matter says this one was made from."""
        content = detail.readme(artifact)
        if content is None:
            return Markup(), ()
        found = self._readmes.get(content.digest)
        if found is None:
            try:
                found = self._rendered(content)
            except ModfileError:
                return Markup('<p class="problem">The README is not in the store, or not whole.</p>'), ()
            self._readmes.put(content.digest, found)
        return found

    def _rendered(self, content: Descriptor) -> _Readme:
        data = read(self._layout, content, MAX_README)
        card = modelcard.parse(data[: modelcard.MAX_SIZE])
        return to_html(data), tuple(name[:300] for name in card.base_models[:_MOST_BASE_MODELS])


def _parted(name: str) -> tuple[str, str]:
    """Take `:tag` or `@digest` off a name.

    Raises:
        ContentError: what follows the `@` is no digest.
        InvalidReferenceError: what follows the `:` is no tag.
    """
    repository, at, digest = name.partition("@")
    if at:
        return repository, f"@{Digest.parse(digest)}"
    repository, colon, tag = name.partition(":")
    if colon:
        check_tag(tag)
    return repository, colon + tag


def _printed(value: Any) -> Any:
    """Prepare what a template prints, before it is escaped."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _lines(text: str) -> Markup:
    """Escape text of several lines, for `<pre>`."""
    return escape(readable(text))


def _headers(style: str, script: str) -> dict[str, str]:
    policy = (
        "default-src 'none'",
        f"style-src {_source(style)}",
        f"script-src {_source(script)}",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
    return {
        "Content-Security-Policy": "; ".join(policy),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "private, no-cache",
    }


def _source(text: str) -> str:
    """Return how a policy names one inline style or script (Content Security Policy Level 3, "Hash Source")."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
