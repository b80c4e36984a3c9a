"""`modfile serve`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modfile.errors import UsageError

from .options import AsJSON
from .session import Session

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from modfile.serve.access import Access
    from modfile.serve.server import Address

_INTERRUPTED = 130


def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option("--host", metavar="HOST", help="Listen on this address.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="PORT", min=0, max=65535, help="Listen on this port; 0 is any free one.")
    ] = 5000,
    allow_push: Annotated[
        bool | None,
        typer.Option("--allow-push/--read-only", help="Whether clients may push and delete.  [default: --read-only]"),
    ] = None,
    htpasswd: Annotated[
        Path | None,
        typer.Option("--htpasswd", metavar="FILE", help="Let in only these users: a file by `htpasswd -B`."),
    ] = None,
    anonymous_read: Annotated[
        bool, typer.Option("--anonymous-read", help="With --htpasswd, let everybody pull.")
    ] = False,
    insecure_allow_push: Annotated[
        bool,
        typer.Option("--insecure-allow-push", help="Let everybody push who can reach the address, without a password."),
    ] = False,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", metavar="FILE", help="Speak HTTPS with this certificate and its chain.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", metavar="FILE", help="The certificate's private key.")
    ] = None,
    mirror: Annotated[
        bool, typer.Option("--mirror", help="Show artifacts of other hosts too, to who asks for them by ?ns=HOST.")
    ] = False,
    namespace: Annotated[
        str, typer.Option("--namespace", metavar="HOST", help="The host under which the store keeps what is pushed.")
    ] = "localhost",
    as_json: AsJSON = False,
) -> None:
    """Serve the local store as a registry, and as pages for people; print its address once it listens.

    Repository llm/minilm of the registry is localhost/llm/minilm of the store, or llm/minilm. Other commands may use
    the store at the same time. Without options nobody but this machine reaches it, and nobody writes. What clients
    delete is no longer shown; `modfile prune` frees it. Ends by Ctrl-C or SIGTERM; uploads under way can go on after
    the next start.

    \b
      modfile serve
      modfile serve --port 0 --allow-push
      modfile serve --host 0.0.0.0 --htpasswd users --allow-push --tls-cert cert.pem --tls-key key.pem
    """
    from modfile.serve import server as servers
    from modfile.serve.access import Access
    from modfile.serve.app import create_app
    from modfile.serve.backend import Backend
    from modfile.serve.catalog import Catalog
    from modfile.serve.htpasswd import Htpasswd
    from modfile.serve.links import Links
    from modfile.serve.pages.site import pages
    from modfile.serve.uploads import Uploads

    session = Session.of(context)
    if anonymous_read and htpasswd is None:
        raise UsageError("--anonymous-read says who needs no password, but there are none; give --htpasswd too")
    if insecure_allow_push and allow_push is False:
        raise UsageError("--read-only and --insecure-allow-push exclude each other")
    wanted = servers.addresses(host, port)
    users = Htpasswd(htpasswd) if htpasswd else None
    access = Access(bool(allow_push) or insecure_allow_push, users, anonymous_read)
    tls = _tls(tls_cert, tls_key)
    for warning in users.warnings if users else ():
        session.console.warn(warning)
    _check_reach(session, wanted, access, insecure_allow_push, tls)
    layout = session.storage.layout
    links = Links(session.storage_directory / "links")
    uploads = Uploads(session.storage_directory / "serve-uploads", layout, links)
    backend = Backend(layout, Catalog(layout, links, namespace=namespace), uploads, namespace, mirror)
    sockets = servers.listen(wanted)
    urls = [servers.url(one, tls is not None) for one in sockets]

    def ready() -> None:
        if as_json:
            session.console.json({"URLs": urls, "ReadOnly": not access.push})
        else:
            session.console.result(urls[0])
        sys.stdout.flush()

    ended_by = servers.Server(
        create_app(backend, access, pages(backend.catalog, layout)), sockets, tls
    ).serve_until_signal(ready)
    if ended_by is signal.SIGINT:
        raise typer.Exit(_INTERRUPTED)


def _tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    from modfile.serve.server import tls_context

    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise UsageError("--tls-cert and --tls-key belong together: the certificate, and its private key")
    return tls_context(certificate, key)


def _check_reach(
    session: Session, wanted: Sequence[Address], access: Access, insecure: bool, tls: ssl.SSLContext | None
) -> None:
    """See that nobody from elsewhere writes, or sends a password in the clear, unless that is meant."""
    elsewhere = [address.host for address in wanted if not address.is_loopback]
    if not elsewhere:
        return
    if access.push and access.users is None and not insecure:
        raise UsageError(
            f"everybody who reaches {elsewhere[0]} could push; name users with --htpasswd FILE, "
            "or say --insecure-allow-push"
        )
    if access.users is not None and tls is None:
        session.console.warn(
            f"passwords for {elsewhere[0]} cross the network in the clear; give --tls-cert and --tls-key, "
            "or put a proxy with TLS before it"
        )
