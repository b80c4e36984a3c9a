"""`modfile logout`."""

from __future__ import annotations

import typer

from modfile.errors import NotFoundError
from modfile.reference import check_host

from .login import Host
from .options import AsJSON, AuthFile
from .session import Connection, Session


def logout(context: typer.Context, host: Host, authfile: AuthFile = None, as_json: AsJSON = False) -> None:
    """Forget a registry's credentials.

    Wherever `modfile login`, docker or podman kept them.

    \b
      modfile logout registry.example.com
    """
    check_host(host)
    session = Session.of(context)
    if not session.credentials(Connection(authfile=authfile)).erase(host):
        raise NotFoundError(f"no credentials of {host} are kept")
    if as_json:
        session.console.json({"Host": host})
    else:
        session.console.result(f"logged out of {host}")
