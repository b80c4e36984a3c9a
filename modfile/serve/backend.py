"""What the endpoints have in common: the store behind them, and what a URL says."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..content import Digest
from ..errors import ContentError, InvalidReferenceError, ModfileError
from ..reference import check_host
from .answers import Code, Refusal, refusal_for
from .body import PATIENCE, Body
from .names import check_repository
from .threads import Threads

if TYPE_CHECKING:
    from starlette.requests import Request

    from ..layout import Layout
    from .catalog import Catalog
    from .uploads import Uploads

_NUMBER = re.compile(r"[0-9]{1,19}")


@dataclass(frozen=True, slots=True)
class Backend:
    """Everything that answers come from.

    Attributes:
        layout: has the bytes.
        catalog: knows what is visible where.
        uploads: has what is on its way in.
        namespace: the host under which the store keeps what is pushed.
        mirror: whether other hosts' artifacts are shown to who asks for them by `?ns=`.
        patience: seconds of waiting that each MiB of a body may cost.
    """

    layout: Layout
    catalog: Catalog
    uploads: Uploads
    namespace: str = "localhost"
    mirror: bool = False
    patience: float = PATIENCE
    threads: Threads = field(default_factory=Threads)

    def mirror_of(self, request: Request) -> str | None:
        """Return the host whose content is asked for, None for our own ("Registry Proxying").

        Raises:
            Refusal: it is no host.
        """
        host = request.query_params.get("ns")
        if not self.mirror or not host or host == self.namespace:
            return None
        try:
            check_host(host)
        except InvalidReferenceError as error:
            raise Refusal(Code.NAME_INVALID, f"ns: {error}") from None
        return host

    def body(self, request: Request) -> Body:
        """Return the request's body, to be read.

        Raises:
            Refusal: its headers make no sense.
        """
        return Body(request, self.patience)


def repository_of(request: Request) -> str:
    """Return the repository that the URL names, which is one by its grammar.

    Raises:
        Refusal: it is not.
    """
    text: str = request.path_params["name"]
    try:
        check_repository(text)
    except InvalidReferenceError:
        raise Refusal(Code.NAME_INVALID, f"{text[:300]!r} is not the name of a repository") from None
    return text


def digest_in(text: str | None) -> Digest:
    """Return the digest that a text is.

    Raises:
        Refusal: it is none, or of an algorithm that we do not know.
    """
    try:
        return Digest.parse(text)
    except ContentError as error:
        raise Refusal(Code.DIGEST_INVALID, str(error)) from None


def number_in(request: Request, name: str) -> int | None:
    """Return a query parameter that is a number, None if it is not there.

    Raises:
        Refusal: it is no number, or too large.
    """
    text = request.query_params.get(name)
    if text is None:
        return None
    if not _NUMBER.fullmatch(text):
        raise Refusal(Code.UNSUPPORTED, f"{name} is not a number of entries", status=400)
    return int(text)


class answering:
    """Turn the library's errors into answers, on the way out of a block.

    Args:
        unknown: the code for what is not there.
        malformed: the code for what breaks its format.
    """

    def __init__(self, unknown: Code, malformed: Code = Code.DIGEST_INVALID) -> None:
        self._unknown = unknown
        self._malformed = malformed

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, ModfileError):
            raise refusal_for(error, self._unknown, self._malformed) from error
