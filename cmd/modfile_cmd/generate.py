"""`modfile generate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import AsJSON
from .session import Session


def generate(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The directory of the model.")] = Path(),
    name: Annotated[str | None, typer.Option("--name", "-n", metavar="TEXT", help="The model's name.")] = None,
    arch: Annotated[str | None, typer.Option(metavar="TEXT", help="Its architecture: transformer, cnn, …")] = None,
    family: Annotated[str | None, typer.Option(metavar="TEXT", help="Its family: llama3, qwen2, …")] = None,
    format_: Annotated[
        str | None, typer.Option("--format", metavar="TEXT", help="Its format: safetensors, gguf, …")
    ] = None,
    param_size: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The number of its parameters: 8B, 22.7M, …")
    ] = None,
    precision: Annotated[str | None, typer.Option(metavar="TEXT", help="Its precision: bfloat16, float32, …")] = None,
    quantization: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Its quantisation: gptq, awq, Q4_K_M, …")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-O", metavar="DIR", help="Where to write it.  [default: PATH]")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a Modelfile that is there.")] = False,
    include: Annotated[
        list[str], typer.Option(metavar="PATTERN", help="List files that are skipped otherwise; repeatable.")
    ] = [],  # noqa: B006 - the command line parser's way to say that none is fine
    exclude: Annotated[list[str], typer.Option(metavar="PATTERN", help="List no such files; repeatable.")] = [],  # noqa: B006
    as_json: AsJSON = False,
) -> None:
    """Write a Modelfile for a directory; print its path.

    What the model's files say of it (weights' headers, config.json, README.md) is put in, each value with its source.
    Skipped are hidden files, caches and compiled Python.

    \b
      modfile generate
      modfile generate ./minilm --name minilm --exclude 'onnx/**'
    """
    from modfile.verbs.generate import generate as write

    said = {
        "NAME": name,
        "ARCH": arch,
        "FAMILY": family,
        "FORMAT": format_,
        "PARAMSIZE": param_size,
        "PRECISION": precision,
        "QUANTIZATION": quantization,
    }
    session = Session.of(context)
    done = write(
        path,
        output=output,
        overwrite=overwrite,
        metadata={keyword: value for keyword, value in said.items() if value is not None},
        include=include,
        exclude=exclude,
    )
    for warning in done.warnings:
        session.console.warn(warning)
    if as_json:
        session.console.json({"Path": str(done.path)})
    else:
        session.console.result(str(done.path))
