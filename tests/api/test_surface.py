"""What `import modfile` offers: stable names, cheap to import, typed."""

import subprocess
import sys
from pathlib import Path

import pytest

import modfile
from modfile.errors import NotFoundError, UsageError

ROOT = Path(__file__).parents[2]

NAMES = [
    "Artifact", "ArtifactFile", "Connection", "Progress", "Reference", "Session", "TensorInfo", "Tensors",
    "__version__", "build", "errors", "fetch", "generate", "import_model", "inspect", "open_safetensors", "pull",
    "push",
]  # fmt: skip


def test_the_names_are_these_and_each_is_there():
    assert modfile.__all__ == NAMES
    for name in NAMES:
        assert getattr(modfile, name)
    assert set(NAMES) <= set(dir(modfile))
    with pytest.raises(AttributeError, match="nothing"):
        _ = modfile.nothing


@pytest.mark.parametrize("name", [name for name in NAMES if name.islower() and name != "errors"])
def test_no_module_stands_in_the_place_of_a_function(name):
    assert not (ROOT / "modfile" / f"{name}.py").exists()
    assert not (ROOT / "modfile" / name).exists()


def test_a_pull_imports_neither_numpy_nor_the_command_line(ref, tmp_path):
    code = (
        "import sys, modfile; from pathlib import Path\n"
        "modfile.pull(sys.argv[1], session=modfile.Session(Path(sys.argv[2])))\n"
        "print([m for m in ('numpy', 'torch', 'fsspec', 'typer', 'rich', 'lark', 'modfile_cmd') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, ref, str(tmp_path / "storage")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_types_are_seen_by_those_who_check_them(tmp_path):
    (tmp_path / "user.py").write_text(
        "import modfile\n"
        "reveal_type(modfile.pull('r.io/a:v1'))\n"
        "reveal_type(modfile.inspect('r.io/a:v1').files[0].size)\n"
        "modfile.pull(revision=1)\n"
        "modfile.nothing\n"
    )
    command = [sys.executable, "-m", "mypy", "--follow-imports=silent", "--cache-dir", str(tmp_path), "user.py"]
    environment = {"PATH": "", "MYPYPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert 'user.py:2: note: Revealed type is "pathlib.Path"' in done.stdout
    assert 'user.py:3: note: Revealed type is "int"' in done.stdout
    assert "user.py:4: error" in done.stdout
    assert "user.py:5: error" in done.stdout


def test_build_push_inspect_fetch(fake, model, session, tmp_path):
    ref = f"{fake.host}/llm/tiny:v1"
    built = modfile.build(model, [ref, "tiny:v1"], reproducible=True, session=session)
    assert (built.name, built.format, built.param_size, built.family) == ("tiny", "safetensors", "12", "bert")
    assert built.created_at == ""
    pinned = modfile.push(ref, session=session)
    assert pinned == built.pinned == f"{ref}@{built.digest}"
    there = modfile.inspect(pinned, remote=True, session=session)
    assert (there.digest, there.files, there.size) == (built.digest, built.files, built.size)
    assert there.pinned == pinned
    fetched = modfile.fetch(ref, tmp_path / "out", "*.json", session=session)
    assert fetched == (tmp_path / "out" / "config.json",)


def test_the_same_files_give_the_same_artifact(model, session, monkeypatch):
    first = modfile.build(model, "a:v1", reproducible=True, session=session)
    assert modfile.build(model, "b:v1", reproducible=True, session=session).digest == first.digest
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert modfile.build(model, "c:v1", session=session).created_at == "1970-01-02T00:00:00Z"


def test_generate_writes_what_build_reads(model, session):
    (model / "Modelfile").unlink()
    assert modfile.generate(model) == model / "Modelfile"
    assert modfile.build(model, "a:v1", session=session).format == "safetensors"
    with pytest.raises(modfile.errors.ModfileError):
        modfile.generate(model)


def test_what_makes_no_sense_is_refused(model, session):
    with pytest.raises(UsageError, match="needs a name"):
        modfile.build(model, [], session=session)
    with pytest.raises(NotFoundError):
        modfile.inspect("tiny:v1", session=session)
    modfile.build(model, "tiny:v1", session=session)
    with pytest.raises(UsageError, match="names no registry"):
        modfile.push("tiny:v1", session=session)
