"""Writes `docs/cli.md` from the commands themselves: `python -m modfile_cmd.manual > docs/cli.md`."""

from __future__ import annotations

import inspect
import sys
from typing import Any

from typer.main import get_command

from .main import app

_HEAD = """\
# The command line

Generated from the commands by `python -m modfile_cmd.manual > docs/cli.md`; a test fails when it is stale.

Results go to stdout, as one line or, with `--json`, as one JSON document; progress (on a terminal only), warnings and
errors go to stderr. Exit codes are in [errors.md](errors.md). Options of the program stand before the command:
`modfile --storage-dir /models push …`.

## Where things are

| what | where |
|---|---|
| the local store | `--storage-dir`, `MODFILE_STORAGE_DIR`, else the platform's user data directory |
| the config file | `--config`, `MODFILE_CONFIG`, else `config.toml` in the platform's config directory for modfile |
| credentials | `--authfile`, else `REGISTRY_AUTH_FILE`, docker's `config.json` (in `DOCKER_CONFIG` or `~/.docker`), `$XDG_RUNTIME_DIR/containers/auth.json`, `~/.config/containers/auth.json`; credential helpers as these files name them |
| proxies | `--proxy`, else `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY` |
| the time of a build | `SOURCE_DATE_EPOCH` |

## The config file

```toml
[registry."registry.example.com"]
ca_file = "/etc/ssl/our-ca.pem"     # trust these certificates too
concurrency = 8                     # files at once
trust_realm = ["login.example.com"] # a token server that may see this registry's credentials
mirror = "cache.example.com:5000"   # pulls ask here first (docs/networks.md)

[registry."lab:5000"]
plain_http = true                   # HTTP instead of HTTPS

[registry."test.example.com"]
insecure = true                     # do not verify the certificate
```

Loopback hosts are spoken to by plain HTTP, unless `plain_http = false`, `insecure` or a `ca_file` is said for them.

## References

`host/repository[:tag][@digest]`; the tag is `latest` if neither is said. The first part is a host if it has a `.` or
a `:` or is `localhost`. A name without a host lives in the local store only: `modfile tag` gives it one.
"""


def manual() -> str:
    """Return the page."""
    program: Any = get_command(app)
    parts = [_HEAD, _section("modfile", program)]
    for name, command in program.commands.items():
        parts.append(_section(f"modfile {name}", command))
        parts += [
            _section(f"modfile {name} {inner}", one)
            for inner, one in getattr(command, "commands", {}).items()
            if inner not in program.commands or one.help != program.commands[inner].help
        ]
    return "\n".join(part.rstrip() + "\n" for part in parts)


def _section(name: str, command: Any) -> str:
    lines = [f"## {name}", ""]
    usage = " ".join(_metavar(parameter) for parameter in command.params if parameter.param_type_name == "argument")
    more = " COMMAND …" if hasattr(command, "commands") else ""
    lines += ["```", f"{name} [OPTIONS]{' ' if usage else ''}{usage}{more}", "```", "", _prose(command.help or ""), ""]
    options = [
        parameter for parameter in command.params if parameter.param_type_name == "option" and not parameter.hidden
    ]
    if options:
        lines += ["| option | meaning |", "|---|---|"]
        lines += [f"| {_names(option)} | {_cell(option)} |" for option in options]
    arguments = [p for p in command.params if p.param_type_name == "argument" and getattr(p, "help", None)]
    if arguments:
        lines += ["", *(f"- `{_metavar(argument)}`: {argument.help}" for argument in arguments)]
    if hasattr(command, "commands"):
        lines += ["", "Commands: " + ", ".join(f"`{inner}`" for inner in command.commands) + "."]
    return "\n".join(lines)


def _prose(text: str) -> str:
    """Turn help text into Markdown: what keeps its lines on a terminal is code here."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    done = []
    for paragraph in paragraphs:
        if paragraph.startswith("\b"):
            lines = [line.strip() for line in paragraph.splitlines()[1:]]
            done.append("\n".join(["```", *lines, "```"]))
        else:
            done.append(paragraph)
    return "\n\n".join(done)


def _metavar(argument: Any) -> str:
    name = str(argument.metavar)
    return name if argument.required else f"[{name}]"


def _names(option: Any) -> str:
    value = "" if option.is_flag else f" {option.metavar}"
    return ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts)) + (
        f" `{value.strip()}`" if value else ""
    )


def _cell(option: Any) -> str:
    text = (option.help or "").strip()
    if option.envvar:
        text += f" Also `{option.envvar}`."
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(manual())
