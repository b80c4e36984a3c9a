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
from markdown_it.common.utils import escapeHtml
from markdown_it.token import Token
from markupsafe import Markup, escape

from .text import readable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

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
    environment: dict[str, Any] = {}
    tokens = markdown.parse(text, environment)
    tamed = [_tamed(token, markdown) for token in tokens]
    for kind in ("html_block", "html_inline"):  # there is none, as long as `html` is off
        markdown.renderer.rules[kind] = lambda tokens, index, options, env: escapeHtml(tokens[index].content)
    html: str = markdown.renderer.render(tamed, markdown.options, environment)
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


def _tamed(token: Token, markdown: MarkdownIt) -> Token:
    """Keep of a block what is safe and fits the page."""
    match token.type:
        case "heading_open" | "heading_close":
            token.tag = f"h{min(int(token.tag[1:]) + _HEADINGS_BELOW, 6)}"
        case "fence":
            token.info = ""
        case "inline":
            token.children = list(_inline(token.children or (), markdown))
    kept: dict[str, str | int | float] = {}
    if token.type == "ordered_list_open" and "start" in token.attrs:
        kept["start"] = int(token.attrs["start"])
    if aligned := _ALIGNMENT.fullmatch(str(token.attrs.get("style", ""))):
        kept["class"] = aligned[1]
    token.attrs = kept
    return token


def _inline(tokens: Sequence[Token], markdown: MarkdownIt) -> Iterable[Token]:
    opened: list[bool] = []
    links = 0
    for token in tokens:
        if token.nesting > 0:
            url = _link(token) if token.type == "link_open" else ""
            keep = len(opened) < _DEEPEST and (token.type != "link_open" or bool(url))
            token.attrs = {"href": url, "rel": _LINK_REL} if url else {}
            links += bool(url)
            opened.append(keep)
            if keep:
                yield token
        elif token.nesting < 0:
            if opened and opened.pop():
                links -= token.type == "link_close"
                yield token
        elif token.type == "image":
            yield from _picture(token, markdown, linked=links > 0)
        else:
            token.attrs = {}
            yield token


def _picture(token: Token, markdown: MarkdownIt, *, linked: bool) -> Iterable[Token]:
    """Show an image as its text, with a link to it where it is in none."""
    alt = markdown.renderer.renderInlineAsText(token.children or [], markdown.options, {})
    text = Token("text", "", 0, content=alt.strip() or "image")
    url = "" if linked else safe_url(str(token.attrs.get("src", "")))
    if url:
        yield Token("link_open", "a", 1, attrs={"href": url, "rel": _LINK_REL})
    yield text
    if url:
        yield Token("link_close", "a", -1)


def _link(token: Token) -> str:
    return safe_url(str(token.attrs.get("href", "")))
