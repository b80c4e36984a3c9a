import subprocess
import sys

import pytest

from modfile.errors import OriginError
from modfile.origins.scratch import Scratch


@pytest.fixture
def parent(tmp_path):
    return tmp_path / "store" / "scratch"


@pytest.mark.parametrize("end", ["close", "forget"])
def test_it_goes_with_who_has_it(parent, end):
    scratch = Scratch(parent)
    (scratch.path / "sub").mkdir()
    (scratch.path / "sub" / "file").touch()
    if end == "close":
        scratch.close()
        scratch.close()
    else:
        del scratch
    assert not list(parent.iterdir())


def test_two_at_once_leave_each_other_alone(parent):
    first, second = Scratch(parent), Scratch(parent)
    assert first.path != second.path
    assert {first.path, second.path} == set(parent.iterdir())


def test_what_a_killed_process_left_goes_with_the_next(parent):
    code = (
        "import os, sys; from pathlib import Path; from modfile.origins.scratch import Scratch\n"
        "scratch = Scratch(Path(sys.argv[1])); (scratch.path / 'weights').write_bytes(b'x')\n"
        "print(scratch.path, flush=True); os.kill(os.getpid(), 9)"
    )
    mine = Scratch(parent)
    done = subprocess.run([sys.executable, "-c", code, str(parent)], capture_output=True, text=True)
    assert done.returncode == -9
    assert len(list(parent.iterdir())) == 2
    (parent / "modfile-not-ours").touch()
    (parent / "modfile-link").symlink_to("/")
    theirs = Scratch(parent)
    kept = {parent / "modfile-not-ours", parent / "modfile-link"}
    assert set(parent.iterdir()) == {mine.path, theirs.path} | kept


def test_the_systems_place_will_do():
    scratch = Scratch(None)
    assert scratch.path.is_dir()
    scratch.close()
    assert not scratch.path.exists()


def test_a_place_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OriginError, match="temporary directory"):
        Scratch(tmp_path / "file" / "scratch")
