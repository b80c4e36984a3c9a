"""What is installed is whole: editable, from a wheel, and from a source archive."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = {
    "modfile/__init__.py",
    "modfile/py.typed",
    "modfile/verbs/build.py",
    "modfile_grammar/__init__.py",
    "modfile_grammar/modelfile.lark",
    "modfile_cmd/main.py",
}
ENTRIES = {"pyproject.toml", "README.md", "LICENSE", "modfile", "grammar", "cmd", "tests", "examples", "docs"}


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Build the source archive, and from it the wheel, as a package index would have them."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return next(out.glob("*.tar.gz")), next(out.glob("*.whl"))


def test_a_wheel_made_from_the_source_archive_holds_the_three_packages_and_nothing_else(archives):
    names = set(zipfile.ZipFile(archives[1]).namelist())
    assert names >= FILES
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {
        "modfile",
        "modfile_cmd",
        "modfile_grammar",
    }


def test_the_source_archive_holds_what_the_tests_need(archives):
    with tarfile.open(archives[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {name.split("/")[0] for name in names if name} >= ENTRIES
    assert "tests/run.sh" in names
    assert "grammar/modfile_grammar/modelfile.lark" in names


def test_the_program_runs_from_the_wheel(archives, tmp_path):
    """Unpacked elsewhere and put before all else, so that nothing of this checkout is used."""
    with zipfile.ZipFile(archives[1]) as wheel:
        wheel.extractall(tmp_path / "site")
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text("{}")
    code = (
        f"import sys; sys.path[:0] = [{str(tmp_path / 'site')!r}]\n"
        "import modfile, modfile_cmd, modfile_grammar\n"
        f"assert all(m.__file__.startswith({str(tmp_path)!r}) for m in (modfile, modfile_cmd, modfile_grammar))\n"
        "from modfile_cmd.main import main; main()"
    )
    for arguments in (["generate", "model"], ["--storage-dir", "s", "build", "-t", "x", "model"]):
        command = [sys.executable, "-P", "-c", code, *arguments]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)


def test_the_top_level_holds_the_agreed_entries_only():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.fail("the tests run in a git checkout")
    names = {line.split("/")[0] for line in listed.stdout.splitlines()}
    assert {name for name in names if not name.startswith(".")} == ENTRIES
