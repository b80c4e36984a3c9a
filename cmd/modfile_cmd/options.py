"""Options that several commands share, each described once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Concurrency = Annotated[
    int | None,
    typer.Option("--concurrency", "-c", min=1, max=100, help="How many files at once.  [default: 5]"),
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
AsJSON = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")]
Target = Annotated[str, typer.Argument(metavar="REF", show_default=False, help="host/repository:tag or @digest.")]
