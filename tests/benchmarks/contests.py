"""The comparisons: each runs its sides in turn and says what is held to.

Every figure of a comparison comes from the same minutes on the same machine.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.importing import importing
from tests.benchmarks.measuring import (
    Bench,
    Held,
    Run,
    Side,
    Sides,
    client,
    cool,
    disk_alone,
    fast_server,
    modfile,
    program,
    sha256_alone,
    warm,
)
from tests.benchmarks.sparing import derive, tensors
from tests.registries import docker, served

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_MEMORY = 60.0
_MOST_BUSY = 1.1
_REPOSITORY = "bench/model"
_HASHED = "sha256 alone"
_WRITTEN = "disk alone, written"
_READ_AND_WRITTEN = "disk alone, read and written at once"
_MANY = 100


def build(bench: Bench) -> tuple[Sides, list[Held]]:
    """From a file to the store."""

    def built(prepare: Callable[[Path], None]) -> Run:
        prepare(bench.weights)
        with bench.directory() as directory:
            return client("build", bench.model, directory / "storage")

    def hashed(prepare: Callable[[Path], None]) -> Run:
        prepare(bench.weights)
        return sha256_alone(bench.weights)

    def copied() -> Run:
        warm(bench.weights)
        with bench.directory() as directory:
            return program("cp", "--reflink=never", bench.weights, directory / "copy")

    sides = bench.compare(
        {
            _HASHED: lambda: hashed(warm),
            "build": lambda: built(warm),
            "cp, not synced": copied,
            "sha256 alone, cold": lambda: hashed(cool),
            "build, cold": lambda: built(cool),
        }
    )
    return sides, [
        sides.ratio("build", _HASHED, 0.9),
        sides.ratio("build, cold", _HASHED, 0.7),
        _memory(sides["build"]),
    ]


def extract(bench: Bench) -> tuple[Sides, list[Held]]:
    """From the store to a file."""
    storage = bench.storage()
    blob = _large_blob(bench)

    def extracted(prepare: Callable[[Path], None]) -> Run:
        prepare(blob)
        return _into(bench, "extract", storage)

    def read_and_written() -> Run:
        cool(blob)
        with bench.directory() as directory:
            return disk_alone(directory / "file", bench.size, blob)

    sides = bench.compare(
        _limits(bench)
        | {
            "extract": lambda: extracted(warm),
            _READ_AND_WRITTEN: read_and_written,
            "extract, cold": lambda: extracted(cool),
        }
    )
    return sides, [
        _against_limit(sides, "extract", (_HASHED, _WRITTEN)),
        _against_limit(sides, "extract, cold", (_HASHED, _READ_AND_WRITTEN)),
        _memory(sides["extract"]),
    ]


def pull(bench: Bench) -> tuple[Sides, list[Held]]:
    """From a server that is not the limit into the store."""
    blob = _large_blob(bench)
    with fast_server(bench.storage() / "store") as host:
        url = f"http://{host}/v2/{_REPOSITORY}/blobs/sha256:{blob.name}"

        def curl(target: Path) -> Run:
            return program("curl", "-fsS", "-o", target, url)

        def curl_to_disk() -> Run:
            with bench.directory() as directory:
                return curl(directory / "blob")

        warm(blob)
        sides = bench.compare(
            _limits(bench)
            | {
                "pull": lambda: _into(bench, "pull", host),
                "curl -o, neither hashed nor synced": curl_to_disk,
                "curl, thrown away": lambda: curl(Path(os.devnull)),
                "oras-py pull, not hashed": lambda: _into(bench, "oras-pull", host),
            }
        )
    busy = sides["pull"].busy_per_gb or 0.0
    return sides, [
        _against_limit(sides, "pull", (_HASHED, _WRITTEN)),
        sides.ratio("pull", "curl -o, neither hashed nor synced", 1.3),
        Held("pull, processor", f"{busy:.2f} s/GB", f"<= {_MOST_BUSY} s/GB", busy <= _MOST_BUSY),
        _memory(sides["pull"]),
    ]


def registry(bench: Bench) -> tuple[Sides, list[Held]]:
    """From and to Debian's docker-registry."""
    storage = bench.storage()
    with bench.directory("registry") as directory, docker.serving(directory) as host:
        image = f"docker://{host}/{_REPOSITORY}:v1"

        def emptied(send: Callable[[], Run]) -> Run:
            shutil.rmtree(directory / "data", ignore_errors=True)
            return send()

        def skopeo_push() -> Run:
            layout = f"oci:{storage / 'store'}:bench/model:v1"
            return program("skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", layout, image)

        def skopeo_pull() -> Run:
            with bench.directory() as target:
                return program(
                    "skopeo",
                    "--insecure-policy",
                    "copy",
                    "-q",
                    "--src-tls-verify=false",
                    image,
                    f"dir:{target / 'dir'}",
                )

        sides = bench.compare(
            {
                "oras-py push, docker-registry": lambda: emptied(lambda: client("oras-push", host, bench.weights)),
                "skopeo copy, to docker-registry": lambda: emptied(skopeo_push),
                "push, docker-registry": lambda: emptied(lambda: client("push", host, storage)),
                "pull, docker-registry": lambda: _into(bench, "pull", host),
                "skopeo copy, from docker-registry": skopeo_pull,
                "oras-py pull, docker-registry": lambda: _into(bench, "oras-pull", host),
            }
        )
    return sides, [
        sides.ratio("pull, docker-registry", "skopeo copy, from docker-registry", 2),
        sides.ratio("pull, docker-registry", "oras-py pull, docker-registry", 2),
    ]


def serve(bench: Bench) -> tuple[Sides, list[Held]]:
    """`modfile serve` and Debian's docker-registry, both by curl: a blob out to one and to four clients, and in."""
    digest = f"sha256:{hashlib.sha256(bench.weights.read_bytes()).hexdigest()}"

    def send(host: str) -> Run:
        begin = f"http://{host}/v2/{_REPOSITORY}/blobs/uploads/"
        script = (
            f"where=$(curl -fsSi -X POST {begin} | tr -d '\\r' | sed -n 's/^[Ll]ocation: //p'); "
            f"case $where in /*) where=http://{host}$where;; esac; "
            'case $where in *\\?*) where="$where&";; *) where="$where?";; esac; '
            f'exec curl -fsS -o /dev/null -T {bench.weights} "${{where}}digest={digest}"'
        )
        return program("sh", "-c", script)

    def fetch(host: str, blob: Path, clients: int) -> Run:
        warm(blob)
        url = f"http://{host}/v2/{_REPOSITORY}/blobs/{digest}"
        return program("sh", "-c", f"for one in {'x ' * clients}; do curl -fsS -o /dev/null {url} & done; wait")

    hexadecimal = digest.partition(":")[2]
    with (
        bench.directory("docker") as one,
        bench.directory("served") as other,
        docker.serving(one) as theirs,
        served.serving(other, "--allow-push", log_level="error") as server,
    ):
        their_blob = one / "data/docker/registry/v2/blobs/sha256" / hexadecimal[:2] / hexadecimal / "data"
        our_blob = server.storage / "store/blobs/sha256" / hexadecimal

        def emptied(host: str, *directories: Path) -> Run:
            for directory in directories:
                shutil.rmtree(directory, ignore_errors=True)
            return send(host)

        sides = bench.compare(
            {
                "PUT, docker-registry": lambda: emptied(theirs, one / "data"),
                "PUT, modfile serve": lambda: emptied(server.host, our_blob.parent, server.storage / "links"),
                "GET, docker-registry": lambda: fetch(theirs, their_blob, 1),
                "GET, modfile serve": lambda: fetch(server.host, our_blob, 1),
                "GET by four, docker-registry": lambda: fetch(theirs, their_blob, 4),
                "GET by four, modfile serve": lambda: fetch(server.host, our_blob, 4),
            }
        )
    for name, side in sides.items():
        if "by four" in name:
            side.size *= 4
    return sides, [
        sides.ratio(f"{what}, modfile serve", f"{what}, docker-registry", 1.0) for what in ("PUT", "GET", "GET by four")
    ]


def push(bench: Bench) -> tuple[Sides, list[Held]]:
    """From the store to a server that is not the limit."""
    storage = bench.storage()
    blob = _large_blob(bench)

    def on_a_new_server(send: Callable[[str], Run]) -> Run:
        warm(blob)
        with fast_server() as host:
            return send(host)

    def curl(host: str) -> Run:
        return program("curl", "-fsS", "-T", blob, f"http://{host}/v2/{_REPOSITORY}/blobs/uploads/1?digest=sha256:0")

    sides = bench.compare(
        {
            "push": lambda: on_a_new_server(lambda host: client("push", host, storage)),
            "curl -T, not hashed": lambda: on_a_new_server(curl),
            "oras-py push": lambda: on_a_new_server(lambda host: client("oras-push", host, bench.weights)),
        }
    )
    return sides, [sides.ratio("push", "curl -T, not hashed", 0.95), _memory(sides["push"])]


def again(bench: Bench) -> tuple[Sides, list[Held]]:
    """Build and push a model ten times as large that has not changed, as two commands."""
    model, storage = bench.scratch / "large", bench.scratch / "large-storage"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "Modelfile").write_text("NAME bench\nCONFIG config.json\nMODEL weights.bin\n")
    with (model / "weights.bin").open("wb") as file:
        file.truncate(10 * bench.size)
    past = 1_700_000_000  # files that were changed a moment ago are not remembered; ctime ages by itself
    os.utime(model / "weights.bin", (past, past))
    with fast_server() as host:
        reference = f"{host}/{_REPOSITORY}:v1"

        def both() -> Run:
            runs = [
                modfile("--storage-dir", storage, "build", "-t", reference, model),
                modfile("--storage-dir", storage, "push", reference),
            ]
            return Run(
                sum(run.seconds for run in runs),
                sum(run.busy or 0 for run in runs),
                max(run.memory or 0 for run in runs),
                sum(run.read for run in runs),
            )

        both()
        sides = bench.compare({"build and push again, ten times the size": both})
    shutil.rmtree(storage)
    side = sides["build and push again, ten times the size"]
    side.size = 0
    read = max(run.read for run in side.runs) / 1e6
    return sides, [
        Held("build and push again", f"{side.seconds:.2f} s", "< 2 s", side.seconds < 2),
        Held("build and push again, bytes read", f"{read:.0f} MB of {bench.size / 1e5:,.0f}", "< 64 MB", read < 64),
    ]


def start(bench: Bench) -> tuple[Sides, list[Held]]:
    """What a command takes that has nothing to do."""
    storage = bench.scratch / "many"
    model = bench.scratch / "small"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "Modelfile").write_text("NAME bench\nCONFIG config.json\n")
    for number in range(_MANY):
        (model / "config.json").write_text(f'{{"number": {number}}}')
        tags = ["-t", f"r.io/bench/model:v{number}"]
        modfile("--storage-dir", storage, "build", *tags, model)
    sides = bench.compare(
        {"modfile --help": lambda: modfile("--help"), "modfile ls": lambda: modfile("--storage-dir", storage, "ls")}
    )
    held = []
    for name in ("modfile --help", "modfile ls"):
        side = sides[name]
        side.size = 0
        what = name if name.endswith("help") else f"{name}, {_MANY} artifacts"
        held.append(Held(what, f"{side.seconds:.2f} s", "< 0.3 s", side.seconds < 0.3))
    return sides, held


CONTESTS = {
    contest.__name__: contest
    for contest in (build, extract, pull, registry, push, serve, again, start, derive, tensors, importing)
}


def _limits(bench: Bench) -> dict[str, Callable[[], Run]]:
    """Return the sides that nothing which hashes and writes can be faster than."""

    def hashed() -> Run:
        warm(bench.weights)
        return sha256_alone(bench.weights)

    def written() -> Run:
        with bench.directory() as directory:
            return disk_alone(directory / "file", bench.size)

    return {_HASHED: hashed, _WRITTEN: written}


def _against_limit(sides: Sides, ours: str, limits: tuple[str, ...]) -> Held:
    return sides.ratio(ours, min(limits, key=lambda name: sides[name].rate), 0.75)


def _large_blob(bench: Bench) -> Path:
    """Return the weight file's blob in the store."""
    blobs = (bench.storage() / "store/blobs/sha256").iterdir()
    return next(path for path in blobs if path.stat().st_size == bench.size)


def _into(bench: Bench, work: str, source: object) -> Run:
    with bench.directory() as directory:
        return client(work, source, directory / "target")


def _memory(side: Side) -> Held:
    memory = side.memory or 0.0
    return Held(f"{side.name}, extra memory", f"{memory:.0f} MB", f"< {_MOST_MEMORY:.0f} MB", memory < _MOST_MEMORY)
