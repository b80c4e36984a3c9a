"""One piece of work in a process of its own, timed without the start of the interpreter and its imports.

Prints seconds, seconds of processor time, and the MiB of memory that it took beyond what the program takes at rest.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

REFERENCE = "bench/model:v1"


def build(model: str, storage: str) -> Callable[[], Any]:
    from modfile import modelfile
    from modfile.layout import Layout
    from modfile.packer import Stamp
    from modfile.reference import Reference
    from modfile.verbs.build import Builder
    from modfile.workspace import Workspace

    layout = Layout(Path(storage) / "store")
    parsed = modelfile.load(Path(model) / "Modelfile")
    small = modelfile.parse("NAME x\nCONFIG config.json\n")
    builder = Builder(layout, Stamp(None))
    builder.build(Workspace(Path(model)), small, [])
    return lambda: builder.build(Workspace(Path(model)), parsed, [Reference.parse(REFERENCE)])


def extract(storage: str, directory: str) -> Callable[[], Any]:
    from modfile.layout import Layout
    from modfile.reference import Reference
    from modfile.verbs.extract import extract

    return lambda: extract(Reference.parse(REFERENCE), Layout(Path(storage) / "store"), Path(directory))


def pull(host: str, storage: str) -> Callable[[], Any]:
    import oras.client  # noqa: F401 - what the library imports when it first talks to a registry

    from modfile.layout import Layout
    from modfile.reference import Reference
    from modfile.registry import Registry
    from modfile.verbs.pull import pull

    reference = Reference.parse(f"{host}/{REFERENCE}")
    layout = Layout(Path(storage) / "store")
    repository = Registry(host).repository(reference.repository)
    return lambda: pull(reference, repository, layout)


def push(host: str, storage: str) -> Callable[[], Any]:
    import oras.client  # noqa: F401

    from modfile.layout import Layout
    from modfile.reference import Reference
    from modfile.registry import Registry
    from modfile.verbs.push import push

    local, reference = Reference.parse(REFERENCE), Reference.parse(f"{host}/{REFERENCE}")
    layout = Layout(Path(storage) / "store")
    layout.tag(layout.resolve(local), reference)
    repository = Registry(host).repository(reference.repository)
    return lambda: push(reference, layout, repository)


def oras_pull(host: str, directory: str) -> Callable[[], Any]:
    import oras.client

    client = oras.client.OrasClient(insecure=True)
    return lambda: client.pull(target=f"{host}/{REFERENCE}", outdir=directory)


def oras_push(host: str, file: str) -> Callable[[], Any]:
    import oras.client

    client = oras.client.OrasClient(insecure=True)
    return lambda: client.push(target=f"{host}/{REFERENCE}", files=[file], disable_path_validation=True, quiet=True)


WORK = {"build": build, "extract": extract, "pull": pull, "push": push, "oras-pull": oras_pull, "oras-push": oras_push}


def main() -> None:
    work = WORK[sys.argv[1]](*sys.argv[2:])
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = memory("VmRSS")
    busy, start = time.process_time(), time.perf_counter()
    work()
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    print(json.dumps([seconds, busy, memory("VmHWM") - before]))


def memory(field: str) -> float:
    """Return a field of `proc(5)`, status, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


if __name__ == "__main__":
    main()
