"""A model's README as HTML that can do no harm (CommonMark, with the tables and strikethrough of GitHub's Markdown).

HTML in it is shown as the text that it is. Links lead to http, https and mailto only, and are the text alone where they
lead elsewhere; no image is loaded. What takes too long or grows too large is shown as plain text.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup, escape

from .text import readable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from markdown_it.utils import OptionsDict

MAX_README = 1 << 20
"""The longest README that is shown, in bytes."""
_MOST_SECONDS = 1.0
"""Of processor time: that others are busy does not make a README long."""
_MOST_HTML = 8 << 20
_DEEPEST = 24
"""So many emphases and links are nested in one another at most."""
_HEADINGS_BELOW = 2
"""A README's first level is the page's third."""
_LINK_REL = "nofollow noopener noreferrer"
_LONGEST_URL = 2000
_FRONT_MATTER = re.compile(r"\s*---[ \t]*\n.*?^(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_URL = re.compile(r"[A-Za-z]+:[!#$%&'()*+,./0-9:;=?@A-Z\[\]_a-z~-]+")
_ALIGNMENT = re.compile(r"text-align:(left|center|right)")


class _TooLongError(Exception):
    """The rendering takes longer than a page may."""


def to_html(data: bytes, *, clock: Callable[[], float] = time.thread_time) -> Markup:
    """Return a README, of at most `MAX_README` bytes, as HTML; its front matter is left out."""
    text = readable(data.decode("utf-8-sig", errors="replace"))
    text = _FRONT_MATTER.sub("", text, count=1) if _FRONT_MATTER.match(text) else text
    try:
        html = _render(text, clock)
    except Exception:  # whatever the parser stumbles over, too deep a nesting among it, is the README's doing
        html = ""
    if not html.strip() or len(html) > _MOST_HTML:
        return Markup('<pre class="plain">') + escape(text) + Markup("</pre>") if text.strip() else Markup()
    return Markup(html)  # noqa: S704 - every text in it was escaped by the renderer


def safe_url(url: str) -> str:
    """Return a URL if it may be linked to: absolute, and http, https or mailto; empty if not."""
    if len(url) > _LONGEST_URL or not _URL.fullmatch(url):
        return ""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    reaches = parts.netloc if parts.scheme in ("http", "https") else parts.scheme == "mailto" and parts.path
    return url if reaches else ""


def _render(text: str, clock: Callable[[], float]) -> str:
    markdown = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    # All links are read as such here, so that those that lead nowhere good can be taken off their texts below.
    markdown.validateLink = lambda url: True  # type: ignore[method-assign]
    _hurry(markdown, clock)
    renderer = RendererHTML()
    environment: dict[str, Any] = {}
    tamer = _Tamer(renderer, markdown.options)
    tokens = [tamer.tamed(token) for token in markdown.parse(text, environment)]
    html: str = renderer.render(tokens, markdown.options, environment)
    return html


def _hurry(markdown: MarkdownIt, clock: Callable[[], float]) -> None:
    """Look at the clock before all else wherever the parser decides what comes next."""
    end = clock() + _MOST_SECONDS

    def look(*state: object) -> bool:
        if clock() > end:
            raise _TooLongError
        return False

    markdown.block.ruler.before("table", "hurry", look, {"alt": ["paragraph", "reference", "blockquote", "list"]})
    markdown.inline.ruler.before("text", "hurry", look)


class _Tamer:
    """Keeps of a README's tokens what is safe and fits the page."""

    def __init__(self, renderer: RendererHTML, options: OptionsDict) -> None:
        self._renderer = renderer
        self._options = options

    def tamed(self, token: Token) -> Token:
        """Return a block, and what stands in it, without what could do harm."""
        match token.type:
            case "heading_open" | "heading_close":
                token.tag = f"h{min(int(token.tag[1:]) + _HEADINGS_BELOW, 6)}"
            case "fence":
                token.info = ""
            case "html_block":  # there is none, nor one in a line, as long as `html` is off
                token.type = "code_block"
            case "inline":
                token.children = list(self._inline(token.children or ()))
        kept: dict[str, str | int | float] = {}
        if token.type == "ordered_list_open" and "start" in token.attrs:
            kept["start"] = int(token.attrs["start"])
        if aligned := _ALIGNMENT.fullmatch(str(token.attrs.get("style", ""))):
            kept["class"] = aligned[1]
        token.attrs = kept
        return token

    def _inline(self, tokens: Iterable[Token]) -> Iterator[Token]:
        opened: list[bool] = []
        links = 0
        for token in tokens:
            if token.nesting > 0:
                is_link = token.type == "link_open"
                url = safe_url(str(token.attrs.get("href", ""))) if is_link else ""
                keep = len(opened) < _DEEPEST and (bool(url) or not is_link)
                token.attrs = {"href": url, "rel": _LINK_REL} if url else {}
                links += is_link and keep
                opened.append(keep)
                if keep:
                    yield token
            elif token.nesting < 0:
                if opened and opened.pop():
                    links -= token.type == "link_close"
                    yield token
            elif token.type == "image":
                yield from self._picture(token, linked=links > 0)
            else:
                token.attrs = {}
                token.type = "text" if token.type == "html_inline" else token.type
                yield token

    def _picture(self, token: Token, *, linked: bool) -> Iterator[Token]:
        """Show an image as its text, with a link to it where it is in none."""
        alt = self._renderer.renderInlineAsText(token.children or [], self._options, {})
        url = "" if linked else safe_url(str(token.attrs.get("src", "")))
        if url:
            yield Token("link_open", "a", 1, attrs={"href": url, "rel": _LINK_REL})
        yield Token("text", "", 0, content=alt.strip() or "image")
        if url:
            yield Token("link_close", "a", -1)
