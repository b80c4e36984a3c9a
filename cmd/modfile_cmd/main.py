"""The program: commands wired together, errors turned into exit codes."""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from modfile import __version__
from modfile.environment import ConfigFile, default_config_file, default_storage_directory
from modfile.errors import ModfileError

from .attach import attach
from .build import build
from .console import Console
from .copy import copy
from .diff import diff
from .extract import extract
from .fetch import fetch
from .fsck import fsck
from .generate import generate
from .history import history
from .import_ import import_
from .inspect import inspect
from .load import load
from .login import login
from .logout import logout
from .ls import ls
from .mlflow import app as mlflow
from .promote import promote
from .prune import prune
from .pull import pull
from .push import push
from .resolve import resolve
from .rm import rm
from .save import save
from .serve import serve
from .session import Session
from .tag import tag
from .upload import upload
from .verify import verify
from .version import version

_EXIT_CODES = """\b
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 verification failed,
5 access denied by the registry, 130 interrupted."""
_INTERRUPTED = 130
_PATIENCE_AFTER_INTERRUPT = 2.0
_LOG_LEVELS = ("debug", "info", "warning", "error")


class Program(TyperGroup):
    """The group of all commands; what they raise becomes one line and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command.

        Raises:
            typer.Exit: the command failed.
        """
        try:
            return super().invoke(ctx)
        except ModfileError as error:
            _explain(ctx, str(error))
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            _console(ctx).error("interrupted; the same command goes on from here")
            raise typer.Exit(_INTERRUPTED) from None
        except BrokenPipeError:
            raise
        except OSError as error:
            name = f"{error.filename}: " if error.filename else ""
            _explain(ctx, f"{name}{error.strerror or error}")
            raise typer.Exit(1) from None
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            if not type(error).__module__.startswith("modfile"):
                if hasattr(error, "exit_code"):  # the command line parser's own
                    raise
                _explain(
                    ctx, f"this is a fault of modfile's: {type(error).__name__}: {error}; --log-level debug tells where"
                )
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=Program,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EXIT_CODES,
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"modfile {__version__}")
        raise typer.Exit


@app.callback()
def program(
    context: typer.Context,
    storage_dir: Annotated[
        Path | None,
        typer.Option("--storage-dir", envvar="MODFILE_STORAGE_DIR", metavar="DIR", help="Where the local store is."),
    ] = None,
    log_level: Annotated[
        str,
        typer.Option("--log-level", envvar="MODFILE_LOG_LEVEL", metavar="LEVEL", help="debug, info, warning or error."),
    ] = "warning",
    no_progress: Annotated[
        bool, typer.Option("--no-progress", envvar="MODFILE_NO_PROGRESS", help="Show no progress.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", envvar="MODFILE_QUIET", help="Print results, warnings and errors only.")
    ] = False,
    config: Annotated[
        Path | None, typer.Option("--config", envvar="MODFILE_CONFIG", metavar="FILE", help="The config file.")
    ] = None,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Ship AI models the way containers are shipped.

    \b
      modfile generate
      modfile build -t registry.example.com/llm/minilm:v1 .
      modfile push registry.example.com/llm/minilm:v1
    """
    if log_level.lower() not in _LOG_LEVELS:
        raise typer.BadParameter(f"{log_level!r} is not one of {', '.join(_LOG_LEVELS)}", param_hint="--log-level")
    logging.basicConfig(level=log_level.upper(), stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    # Its debug lines have whole URLs, and so what lets a reader in: signatures, upload sessions.
    logging.getLogger("urllib3").setLevel(logging.INFO)
    if storage_dir is not None and not storage_dir.name:
        raise typer.BadParameter("the directory's name is empty", param_hint="--storage-dir")
    console = Console(progress=not no_progress, quiet=quiet)
    context.obj = session = Session(
        (storage_dir or default_storage_directory()).expanduser().absolute(),
        console,
        ConfigFile.load(config or default_config_file(), required=config is not None),
    )
    context.call_on_close(session.close)


_COMMANDS = (
    generate,
    build,
    import_,
    push,
    pull,
    resolve,
    extract,
    fetch,
    attach,
    upload,
    tag,
    promote,
    copy,
    save,
    load,
    ls,
    inspect,
    history,
    rm,
    prune,
    fsck,
    verify,
    diff,
    serve,
    login,
    logout,
    version,
)
for _command in _COMMANDS:
    app.command(_command.__name__.rstrip("_"), epilog=_EXIT_CODES)(_command)

_modelfile = typer.Typer(rich_markup_mode=None, help="Work on Modelfiles (the same as `modfile generate`).")
_modelfile.command(epilog=_EXIT_CODES)(generate)
app.add_typer(_modelfile, name="modelfile", no_args_is_help=True)
app.add_typer(mlflow, name="mlflow")


def main() -> None:
    """Run the program and end the process."""
    code: Any = 1
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as a shell has it for what runs in the background
        signal.signal(signal.SIGALRM, _leave_at_once)
        signal.signal(signal.SIGINT, _interrupt)
    try:
        code = app(prog_name="modfile", standalone_mode=False)
    except SystemExit as stop:
        code = stop.code
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except typer.Abort:
        code = _INTERRUPTED
    except OSError as error:
        code = 1
        _explain(None, f"cannot write the result: {error.strerror}")
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        code = _wrong_usage(error)
    _end(code if isinstance(code, int) else int(code is not None))


def _interrupt(number: int, frame: Any) -> None:
    """Stop the work; and the process soon after, should the interruption get lost.

    Python passes over an exception that comes while it cleans up an object or a thread.
    """
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE_AFTER_INTERRUPT)
    raise KeyboardInterrupt


def _leave_at_once(number: int, frame: Any) -> None:
    """End the process as it is, which leaves the store whole at any moment."""
    os._exit(_INTERRUPTED)


def _wrong_usage(error: Any) -> int:
    """Explain an error of the command line's own parser in one line; return its exit code."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "modfile"
    message = error.format_message()
    if "\n" in message:  # the help, where nothing at all was said
        sys.stderr.write(message + "\n")
    elif message:
        _console(context).error(f"{message.rstrip('.')}; see {path} --help")
    return int(error.exit_code)


def _end(code: int) -> None:
    """Leave; a worker that is blocked in the network does not hold the process up: the store is whole at any moment."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # another interrupt would only cut off an ending of half a second
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError as error:
            code = code or 1
            if stream is sys.stdout and error.errno != errno.EPIPE:
                _explain(None, f"cannot write the result: {error.strerror}")
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    deadline = time.monotonic() + 0.5
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(max(0.0, deadline - time.monotonic()))
    if any(not t.daemon and t.is_alive() for t in threading.enumerate() if t is not threading.current_thread()):
        os._exit(code)
    sys.exit(code)


def _console(context: Any) -> Console:
    session = getattr(context, "obj", None)
    return session.console if isinstance(session, Session) else Console()


def _explain(context: Any, text: str) -> None:
    if logging.getLogger().isEnabledFor(logging.DEBUG):
        traceback.print_exc()
    _console(context).error(text)


if __name__ == "__main__":
    main()
