"""`modfile generate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modfile.errors import UsageError

from .options import AsJSON, CAFile, Concurrency, LimitRate, Proxy
from .origin import ModelProvider, ModelURL, Wanted, download_model, refuse_without_url
from .session import Connection, Session


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
        list[str],
        typer.Option(
            metavar="PATTERN",
            help="List files that are skipped otherwise; repeatable. With --model-url: download these files only.",
        ),
    ] = [],  # noqa: B006 - the command line parser's way to say that none is fine
    exclude: Annotated[
        list[str], typer.Option(metavar="PATTERN", help="List no such files, nor download them; repeatable.")
    ] = [],  # noqa: B006
    model_url: ModelURL = None,
    provider: ModelProvider = None,
    download_dir: Annotated[
        Path | None,
        typer.Option(
            "--download-dir",
            metavar="DIR",
            help="Where to download the model to.  [default: a directory of the model's name]",
        ),
    ] = None,
    concurrency: Concurrency = None,
    limit_rate: LimitRate = None,
    proxy: Proxy = None,
    ca_file: CAFile = None,
    as_json: AsJSON = False,
) -> None:
    """Write a Modelfile for a directory; print its path.

    What the model's files say of it (weights' headers, config.json, README.md) is put in, each value with its source.
    Skipped are hidden files, caches and compiled Python.

    With --model-url the model is downloaded first, into a directory where it stays; PATH is not said then. The same
    command goes on with a download that broke off. Tokens are taken from where the hub's own tools take them (HF_TOKEN
    and others); public models need none.

    \b
      modfile generate
      modfile generate ./minilm --name minilm --exclude 'onnx/**'
      modfile generate --model-url hf://sentence-transformers/all-MiniLM-L6-v2 --exclude 'onnx/**'
      modfile generate --model-url Qwen/Qwen3-0.6B -p modelscope --download-dir ./qwen
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
    session, model = Session.of(context), None
    if model_url is None:
        refuse_without_url(provider=provider, download_dir=download_dir, concurrency=concurrency)
        refuse_without_url(limit_rate=limit_rate, proxy=proxy, ca_file=ca_file)
    elif path != Path():
        raise UsageError(f"{path} is a directory of a model, and --model-url names another; say --download-dir {path}")
    else:
        wanted = Wanted(model_url, provider, include, exclude, download_dir)
        connection = Connection(limit_rate=limit_rate, proxy=proxy, ca_file=ca_file)
        model = download_model(session, wanted, connection, concurrency)
    done = write(
        model.directory if model else path,
        output=output,
        overwrite=overwrite,
        metadata={keyword: value for keyword, value in said.items() if value is not None},
        include=include,
        exclude=exclude,
        given=list(model.given()) if model else (),
        otherwise=list(model.otherwise()) if model else (),
    )
    for warning in done.warnings:
        session.console.warn(warning)
    if as_json:
        session.console.json({"Path": str(done.path)} | (model.to_json() if model else {}))
    else:
        session.console.result(str(done.path))
