"""Options that several commands share, each described once."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from .session import Connection

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 1 << 10, "MI": 1 << 20, "GI": 1 << 30}
_RATE = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,3})?)([KMG]?I?)B?(?:/S)?")


def parse_rate(text: str) -> int:
    """Read a number of bytes (per second): `500K`, `20M`, `1.5G`, `64Mi`.

    Raises:
        typer.BadParameter: it is none, or less than 1.
    """
    match = _RATE.fullmatch(text.strip().upper())
    if match and match[2] in _UNITS and (rate := int(float(match[1]) * _UNITS[match[2]])) > 0:
        return rate
    raise typer.BadParameter(f"{text!r} is not a rate such as 500K, 20M or 1G")


Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Replace the whole directory, at one moment: what is not the artifact's goes, and only when all is there.",
    ),
]
Concurrency = Annotated[
    int | None,
    typer.Option("--concurrency", "-c", metavar="N", min=1, max=100, help="How many files at once.  [default: 5]"),
]
PlainHTTP = Annotated[
    bool, typer.Option("--plain-http", help="Speak HTTP instead of HTTPS; the default for loopback hosts.")
]
Insecure = Annotated[bool, typer.Option("--insecure", help="Do not verify the registry's TLS certificate.")]
CAFile = Annotated[
    Path | None,
    typer.Option("--ca-file", metavar="FILE", help="Trust the certificates in this PEM file too."),
]
Proxy = Annotated[
    str | None,
    typer.Option("--proxy", metavar="URL", help="Go through this proxy instead of what HTTPS_PROXY and others say."),
]
AuthFile = Annotated[
    Path | None,
    typer.Option(
        "--authfile", metavar="FILE", help="Take credentials from this file instead of docker's and podman's."
    ),
]
LimitRate = Annotated[
    int | None,
    typer.Option(
        "--limit-rate",
        metavar="RATE",
        parser=parse_rate,
        help="Move no more bytes per second than this: 500K, 20M, 1G.",
    ),
]
DragonflyEndpoint = Annotated[
    str | None,
    typer.Option(
        "--dragonfly-endpoint",
        metavar="SOCKET",
        help="Let a Dragonfly daemon fetch the blobs: unix:///var/run/dragonfly/dfdaemon.sock.",
    ),
]
AsJSON = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")]
Target = Annotated[str, typer.Argument(metavar="REF", show_default=False, help="host/repository:tag or @digest.")]

PlacedTarget = Annotated[
    str,
    typer.Argument(
        metavar="REF",
        show_default=False,
        help="host/repository:tag or @digest; or an artifact in place: oci:DIR[:REF], oci-archive:FILE[:REF].",
    ),
]


_CONNECTION = {
    "plain_http": (PlainHTTP, False),
    "insecure": (Insecure, False),
    "ca_file": (CAFile, None),
    "proxy": (Proxy, None),
    "authfile": (AuthFile, None),
    "limit_rate": (LimitRate, None),
}


def connected(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options on how to reach a registry; it takes them together, as `connection`."""
    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "connection"]
    keyword = inspect.Parameter.KEYWORD_ONLY
    options = [
        inspect.Parameter(name, keyword, default=default, annotation=annotation)
        for name, (annotation, default) in _CONNECTION.items()
    ]

    @functools.wraps(command)
    def connected_command(**said: Any) -> None:
        connection = Connection(**{name: said.pop(name) for name in _CONNECTION})
        command(**said, connection=connection)

    parameters = [p.replace(kind=keyword) for p in own] + options
    connected_command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    connected_command.__annotations__ = {p.name: p.annotation for p in parameters}
    return connected_command


_SIDES = {"origin": "src", "destination": "dest"}
_SIDED = ("plain_http", "insecure", "ca_file", "authfile")


def connected_twice(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options on how to reach two registries; it takes them as `origin` and `destination`.

    What is said for both counts for either, unless that one's own option (`--src-…`, `--dest-…`) says otherwise.
    """
    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name not in _SIDES]
    keyword = inspect.Parameter.KEYWORD_ONLY
    options = {
        name: inspect.Parameter(name, keyword, default=default, annotation=annotation)
        for name, (annotation, default) in _CONNECTION.items()
    }
    for side in _SIDES.values():
        for name in _SIDED:
            options[f"{side}_{name}"] = _sided(options[name], side)

    @functools.wraps(command)
    def connected_command(**said: Any) -> None:
        both = {name: said.pop(name) for name in _CONNECTION}
        sides = {
            parameter: Connection(**both | {name: said.pop(f"{side}_{name}") or both[name] for name in _SIDED})
            for parameter, side in _SIDES.items()
        }
        command(**said, **sides)

    parameters = [*(p.replace(kind=keyword) for p in own), *options.values()]
    connected_command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    connected_command.__annotations__ = {p.name: p.annotation for p in parameters}
    return connected_command


def _sided(option: inspect.Parameter, side: str) -> inspect.Parameter:
    """Return an option that is about one side only."""
    kind, told = get_args(option.annotation)
    name = f"--{side}-{option.name.replace('_', '-')}"
    where = "where SRC is" if side == "src" else "where DST is"
    said = typer.Option(name, metavar=told.metavar, help=f"As {name.replace(side + '-', '')}, {where} only.")
    annotation: Any = Annotated[kind, said]
    return option.replace(name=f"{side}_{option.name}", annotation=annotation)
