"""The walk-through of docs/mlflow.md runs, and prints what it says."""

import os
import re
import shlex
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.mlflow import warm
from tests.mlflow.server import environment, serving

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/mlflow.md"
REGISTRY, MLFLOW = "127.0.0.1:5000", "http://127.0.0.1:5001"


def steps(text):
    """Yield the commands of the page's console blocks, and what they print."""
    for block in re.findall(r"^```console\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, printed = step.partition("\n")
            yield command, printed


def pattern(printed):
    """Return what output is to match: `…` is any text, on a line of its own any lines; columns may be wider."""
    lines = []
    for line in printed.splitlines():
        if line == "…":
            lines.append(r"(?:.*\n)*?")
        else:
            words = [re.escape(part) for part in line.split("…")]
            lines.append(re.sub(r"(?:\\ ){3,}", r"\\s+", r"[^\n]*?".join(words)) + r"[ ]*\n")
    return re.compile("".join(lines))


def test_the_page_has_a_walk_through():
    commands = [command for command, _ in steps(PAGE.read_text())]
    for verb in ("register", "list", "pull", "verify", "promote"):
        assert [one for one in commands if f"mlflow {verb}" in one], verb
    assert pattern("a …\n…\nz\n").fullmatch("a bc\nd\ne\nz\n")
    assert not pattern("a …\nz\n").fullmatch("a bc\nd\nz\n")


@pytest.fixture
def surroundings(tmp_path):
    """An environment in which the sources are found, and nothing else."""
    sources = os.pathsep.join(str(ROOT / part) for part in ("", "grammar", "cmd"))
    return environment(tmp_path) | {"PYTHONPATH": sources, "MODFILE_CONFIG": os.devnull}


@pytest.fixture
def modfile(tmp_path, surroundings):
    """A command line that is `modfile`, in processes that do not each load MLflow anew."""
    path = tmp_path / "warm"
    with subprocess.Popen(
        [sys.executable, warm.__file__, path], env=surroundings, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        yield f"{sys.executable} -IS -c {shlex.quote(warm.CLIENT)} {path}"
        process.kill()


@pytest.fixture
def shell(tmp_path, surroundings, modfile):
    """Run commands in one shell, one after the other; give what each prints."""
    program = tmp_path / "bin"
    program.mkdir()
    for name, command in (("modfile", modfile), ("python", sys.executable)):
        (program / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (program / name).chmod(0o755)
    surroundings["PATH"] = f"{program}{os.pathsep}{surroundings['PATH']}"
    work = tmp_path / "work"
    work.mkdir()
    process = subprocess.Popen(
        ["bash", "--noprofile", "--norc"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=work,
        env=surroundings,
    )

    def run(command):
        process.stdin.write(f"{command}\necho '--end--'\n")
        process.stdin.flush()
        lines = iter(process.stdout.readline, "")
        return "".join(iter(lambda: next(lines, "--end--\n"), "--end--\n"))

    watchdog = threading.Timer(600, process.kill)
    watchdog.start()
    yield run
    watchdog.cancel()
    process.stdin.close()
    process.wait(30)
    process.stdout.close()


def test_the_walk_through_runs_and_prints_what_it_says(shell, docker_registry, tmp_path):
    with serving(tmp_path / "server") as url:
        for command, printed in steps(PAGE.read_text()):
            said = shell(command.replace(REGISTRY, docker_registry.host).replace(MLFLOW, url))
            said = said.replace(docker_registry.host, REGISTRY).replace(url, MLFLOW)
            assert pattern(printed).fullmatch(said), f"$ {command}\n{said}"
