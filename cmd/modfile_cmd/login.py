"""`modfile login`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from modfile.errors import UsageError
from modfile.reference import check_host

from .options import AsJSON, connected
from .session import DIRECT, Connection, Session

Host = Annotated[str, typer.Argument(metavar="HOST", show_default=False, help="The registry: host or host:port.")]


@connected
def login(
    context: typer.Context,
    host: Host,
    username: Annotated[
        str | None, typer.Option("--username", "-u", metavar="NAME", help="Asked for on a terminal.")
    ] = None,
    password: Annotated[
        str | None,
        typer.Option("--password", "-p", metavar="TEXT", help="Asked for on a terminal; better than saying it here."),
    ] = None,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")] = False,
    as_json: AsJSON = False,
    connection: Connection = DIRECT,
) -> None:
    """Log in to a registry.

    The user name and the password are tried, then kept where docker does: in its config.json (see DOCKER_CONFIG), in
    the credential helper that it names, or in the file that REGISTRY_AUTH_FILE names.

    \b
      modfile login registry.example.com
      cat token | modfile login -u robot --password-stdin registry.example.com
    """
    from modfile.registry.credentials import Credential

    check_host(host)
    if password_stdin and password is not None:
        raise UsageError("--password and --password-stdin exclude each other")
    session = Session.of(context)
    username = username or _ask("Username")
    if password_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif password is None:
        password = _ask("Password", hide=True)
    if not username or not password:
        raise UsageError("a user name and a password are needed")
    credential = Credential(username, password)
    session.registry(host, connection).authenticate(credential)
    where = session.credentials(connection).set(host, credential)
    if as_json:
        session.console.json({"Host": host, "Username": username, "CredentialStore": str(where)})
    else:
        session.console.result(f"logged in to {host}; credentials kept in {where}")


def _ask(what: str, *, hide: bool = False) -> str:
    if not sys.stdin.isatty():
        flag = "--password-stdin" if hide else "--username"
        raise UsageError(f"no {what.lower()}, and no terminal to ask for it; say {flag}")
    return str(typer.prompt(what, hide_input=hide, err=True))
