"""From a hub to a registry: in one stream, and by way of this disk with the hub's own client."""

from __future__ import annotations

import sys
from itertools import count
from typing import TYPE_CHECKING

from tests.benchmarks.measuring import Bench, Held, Run, Sides, program
from tests.hubs.server import serving_hub
from tests.registries import docker

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_REPO = "bench/model"
_STREAMED = "modfile import"
_BY_WAY_OF_THE_DISK = "snapshot_download, modfile build, modfile push"
_MODFILE = (sys.executable, "-c", "from modfile_cmd.main import main; main()")
_DOWNLOAD = "import sys; from huggingface_hub import snapshot_download as get; get(sys.argv[1], local_dir=sys.argv[2])"
_MOST_MEMORY = 150.0
_HEADERS = 1 << 18


def importing(bench: Bench) -> tuple[Sides, list[Held]]:
    """Bring a model into docker-registry, and once more."""
    numbers, given, wrote = count(), [], []
    with bench.directory("docker") as registry, docker.serving(registry) as host, serving_hub() as hub:
        hub.add(_REPO, bench.model)

        def streamed() -> Run:
            hub.forget()
            with bench.directory() as place:
                run = program(*_env(place, hub.endpoint), *_MODFILE, *_import(f"{host}/bench/a{next(numbers)}:v1"))
                wrote.append(sum(path.stat().st_size for path in place.rglob("*") if path.is_file()))
            given.append(hub.bytes_given)
            return run

        def by_way_of_the_disk() -> Run:
            with bench.directory() as place:
                env, model, name = _env(place, hub.endpoint), place / "model", f"{host}/bench/b{next(numbers)}:v1"
                runs = [
                    program(*env, sys.executable, "-c", _DOWNLOAD, _REPO, model),
                    program(*env, *_MODFILE, "build", "-t", name, model),
                    program(*env, *_MODFILE, "push", name),
                ]
            return Run(sum(run.seconds for run in runs), sum(run.busy or 0 for run in runs))

        sides = bench.compare({_STREAMED: streamed, _BY_WAY_OF_THE_DISK: by_way_of_the_disk})
        with bench.directory() as place:
            name = f"{host}/bench/again:v1"
            program(*_env(place, hub.endpoint), *_MODFILE, *_import(name))
            hub.forget()
            again = program(*_env(place, hub.endpoint), *_MODFILE, *_import(name))
    size = sum(path.stat().st_size for path in bench.model.iterdir())
    memory = sides[_STREAMED].memory or 0.0
    return sides, [
        sides.ratio(_STREAMED, _BY_WAY_OF_THE_DISK, 1.0),
        Held(
            "bytes that the hub gave, of the model's", f"{max(given) / size:.4f}", "1.00", max(given) <= size + _HEADERS
        ),
        Held(f"{_STREAMED}, peak of memory", f"{memory:.0f} MB", f"< {_MOST_MEMORY:.0f} MB", memory < _MOST_MEMORY),
        Held("bytes that it left on this disk", f"{max(wrote):,}", "< 1 MB", max(wrote) < 1_000_000),
        Held(
            "the same revision once more",
            f"{again.seconds:.2f} s, {hub.bytes_given:,} bytes",
            "< 2 s, 0 bytes",
            again.seconds < 2 and not hub.bytes_given,
        ),
    ]


def _import(name: str) -> tuple[str, ...]:
    return "import", f"hf://{_REPO}", "-t", name


def _env(place: Path, endpoint: str) -> list[str]:
    said: Mapping[str, object] = {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": place / "hf",
        "HF_HUB_DISABLE_PROGRESS_BARS": 1,
        "MODFILE_STORAGE_DIR": place / "storage",
    }
    return ["env", *(f"{key}={value}" for key, value in said.items())]
