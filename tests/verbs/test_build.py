import dataclasses
import json
import os
import shutil
import subprocess
from datetime import UTC, datetime

import jsonschema
import pytest

from modfile import modelfile
from modfile.configschema import SCHEMA
from modfile.errors import ModelfileError, WorkspaceError
from modfile.gitsource import GitSource
from modfile.modelpack import MODELFILE_ANNOTATION, layers_of
from modfile.packer import Stamp
from modfile.progress import SILENT, Outcome
from modfile.reference import Reference
from modfile.storage import Storage
from modfile.verbs.build import Builder, Provenance
from modfile.workspace import Workspace
from tests.models import MODELFILE
from tests.schemas import INDEX, MANIFEST

REF = Reference.parse("r.io/llm/tiny:v1")
NOW = datetime(2026, 5, 1, 12, 30, 15, 123456, tzinfo=UTC)
REPRODUCIBLE = Stamp.of(NOW, no_creation_time=True)


def build(storage, directory, text=None, *, references=(REF,), stamp=REPRODUCIBLE, **settings):
    if text is not None:
        (directory / "Modelfile").write_text(text)
    builder = Builder(storage.layout, stamp, cache=storage.cache, **settings)
    return builder.build(Workspace(directory), modelfile.load(directory / "Modelfile"), references)


def config_of(storage, built):
    return json.loads(storage.layout.blob_path(built.manifest.config.digest).read_bytes())


def test_each_file_is_a_layer_of_its_kind_in_the_fixed_order(storage, model):
    built = build(storage, model)
    kinds = [(layer.kind.value, layer.path) for layer in layers_of(built.manifest)]
    assert kinds == [
        ("CONFIG", "config.json"),
        ("MODEL", "model.safetensors"),
        ("CODE", "run.py"),
        ("DATASET", "data/train.csv"),
        ("DOC", "README.md"),
    ]


def test_a_raw_layer_is_the_file_itself(storage, model):
    built = build(storage, model)
    for layer in layers_of(built.manifest):
        data = (model / layer.path).read_bytes()
        assert storage.layout.blob_path(layer.content.digest).read_bytes() == data
        assert layer.metadata.size == layer.content.size == len(data)


def test_what_is_written_keeps_to_the_specifications(storage, model):
    every = MODELFILE + (
        "VERSION 1.2\nTITLE 'Tiny'\nDESCRIPTION \"A small one\"\nVENDOR acme\nDOCURL https://d\nSOURCEURL https://s\n"
        "REVISION abc\nKNOWLEDGECUTOFF 2024-06-01\nREASONING true\nTOOLUSAGE false\nREWARD true\nAUTHOR Ada Lovelace\n"
        "DATASETURL https://x https://y\nINPUT text image\nOUTPUT embedding\nLANGUAGE de\nQUANTIZATION awq\n"
        "ANNOTATION a.b/c=d=e\n"
    )
    built = build(storage, model, every, stamp=Stamp.of(NOW))
    manifest = json.loads(storage.layout.blob_path(built.content.digest).read_bytes())
    config = config_of(storage, built)
    jsonschema.validate(manifest, MANIFEST)
    jsonschema.validate(config, SCHEMA)
    jsonschema.validate(json.loads((storage.layout.root / "index.json").read_bytes()), INDEX)
    assert config["descriptor"] == {
        "createdAt": "2026-05-01T12:30:15Z",
        "authors": ["Ada", "Lovelace"],
        "family": "bert",
        "name": "tiny",
        "docURL": "https://d",
        "sourceURL": "https://s",
        "datasetsURL": ["https://x", "https://y"],
        "version": "1.2",
        "revision": "abc",
        "vendor": "acme",
        "licenses": ["apache-2.0"],
        "title": "'Tiny'",
        "description": "A small one",
    }
    assert config["config"] == {
        "architecture": "transformer",
        "format": "safetensors",
        "paramSize": "12",
        "precision": "float32",
        "quantization": "awq",
        "capabilities": {
            "inputTypes": ["text", "image"],
            "outputTypes": ["embedding"],
            "knowledgeCutoff": "2024-06-01T00:00:00Z",
            "reasoning": True,
            "toolUsage": False,
            "reward": True,
            "languages": ["en", "de"],
        },
    }
    assert config["modelfs"]["diffIds"] == [layer["digest"] for layer in manifest["layers"]]
    assert manifest["annotations"] == {
        "a.b/c": "d=e",
        MODELFILE_ANNOTATION: every,
        "org.opencontainers.image.authors": "Ada, Lovelace",
        "org.opencontainers.image.created": "2026-05-01T12:30:15Z",
        "org.opencontainers.image.description": "A small one",
        "org.opencontainers.image.documentation": "https://d",
        "org.opencontainers.image.licenses": "apache-2.0",
        "org.opencontainers.image.revision": "abc",
        "org.opencontainers.image.source": "https://s",
        "org.opencontainers.image.title": "'Tiny'",
        "org.opencontainers.image.vendor": "acme",
        "org.opencontainers.image.version": "1.2",
    }


def test_a_file_keeps_its_mode_time_and_owner_in_a_build_that_is_not_reproducible(storage, model):
    (model / "run.py").chmod(0o751)
    os.utime(model / "run.py", ns=(0, 1_600_000_000_123_456_789))
    built = build(storage, model, stamp=Stamp.of(NOW))
    layer = next(layer for layer in built.manifest.layers if layer.annotations["org.cncf.model.filepath"] == "run.py")
    assert json.loads(layer.annotations["org.cncf.model.file.metadata+json"]) == {
        "name": "run.py",
        "mode": 0o751,
        "uid": os.getuid(),
        "gid": os.getgid(),
        "size": 15,
        "mtime": "2020-09-13T12:26:40.123456789Z",
        "typeflag": 0,
    }


@pytest.mark.parametrize("stamp", [REPRODUCIBLE, Stamp.of(NOW, 1_700_000_000), Stamp.of(NOW, 5, no_creation_time=True)])
def test_the_same_files_give_the_same_digest_anywhere_and_at_any_time(tmp_path, storage, model, stamp):
    first = build(storage, model, stamp=stamp)
    elsewhere = tmp_path / "a" / "b"
    shutil.copytree(model, elsewhere, copy_function=shutil.copyfile)
    for path in elsewhere.rglob("*"):
        if path.is_file():
            path.chmod((model / path.relative_to(elsewhere)).stat().st_mode)
    if os.getuid() == 0:
        os.chown(elsewhere / "config.json", 1234, 4321)
    other = Storage(tmp_path / "other")
    again = build(other, elsewhere, stamp=stamp)
    other.close()
    assert again.content.digest == first.content.digest


def test_a_mode_enters_the_digest(storage, model):
    before = build(storage, model).content.digest
    (model / "run.py").chmod(0o755)
    assert build(storage, model).content.digest != before


@pytest.mark.parametrize(
    ("stamp", "created", "mtime"),
    [
        (Stamp.of(NOW, 86400), "1970-01-02T00:00:00Z", "1970-01-02T00:00:00Z"),
        (Stamp.of(NOW, no_creation_time=True), None, "1970-01-01T00:00:00Z"),
        (Stamp.of(NOW, 86400, no_creation_time=True), None, "1970-01-02T00:00:00Z"),
    ],
)
def test_an_epoch_or_no_creation_time_leave_no_clock_and_no_owner(storage, model, stamp, created, mtime):
    built = build(storage, model, stamp=stamp)
    assert config_of(storage, built)["descriptor"].get("createdAt") == created
    assert built.manifest.annotations.get("org.opencontainers.image.created") == created
    for layer in built.manifest.layers:
        said = json.loads(layer.annotations["org.cncf.model.file.metadata+json"])
        assert (said["mtime"], said["uid"], said["gid"]) == (mtime, 0, 0)


def test_an_unchanged_file_is_not_read_again(storage, model):
    for path in model.rglob("*"):
        os.utime(path, ns=(0, 1_600_000_000_000_000_001))
    opened = []

    class Watching(Workspace):
        def open(self, file):
            opened.append(file.path)
            return super().open(file)

    storage.cache._now_ns = lambda: 10**19
    first = Builder(storage.layout, REPRODUCIBLE, cache=storage.cache)
    text = modelfile.load(model / "Modelfile")
    first.build(Watching(model), text, ())
    assert len(opened) >= 5
    opened.clear()
    Watching.open = lambda self, file: pytest.fail(f"{file.path} is read")  # the secret check may still look
    stored = []

    class Layout(type(storage.layout)):
        def add(self, *args, **kwargs):
            stored.append(args)
            return super().add(*args, **kwargs)

    again = dataclasses.replace(first, target=Layout(storage.layout.root))
    built = again.build(Workspace(model), text, (REF,))
    assert stored == []
    assert (built.tally.pieces(Outcome.SKIPPED), built.tally.pieces(Outcome.MOVED)) == (5, 0)


def test_a_changed_file_is_read_again(storage, model):
    storage.cache._now_ns = lambda: 10**19
    build(storage, model)
    (model / "run.py").write_text("print('other')\n")
    built = build(storage, model)
    assert (built.tally.pieces(Outcome.SKIPPED), built.tally.pieces(Outcome.MOVED)) == (4, 1)


def test_every_reference_is_tagged(storage, model):
    names = [REF, Reference.parse("local:latest")]
    built = build(storage, model, references=names)
    assert {storage.layout.resolve(name).digest for name in names} == {built.content.digest}


def test_what_is_said_beside_the_modelfile_counts_for_more_and_git_for_less(storage, model):
    git = GitSource("https://git/origin", "fedcba")
    said = config_of(storage, build(storage, model, provenance=Provenance(git=git)))["descriptor"]
    assert (said["sourceURL"], said["revision"]) == ("https://git/origin", "fedcba")
    text = MODELFILE + "SOURCEURL https://modelfile\n"
    said = config_of(storage, build(storage, model, text, provenance=Provenance(git=git)))["descriptor"]
    assert (said["sourceURL"], said["revision"]) == ("https://modelfile", "fedcba")
    given = Provenance("https://flag", "v2", True, git)
    config = config_of(storage, build(storage, model, provenance=given))
    assert (config["descriptor"]["sourceURL"], config["descriptor"]["revision"]) == ("https://flag", "v2")
    assert config["config"]["capabilities"]["reasoning"] is True


def test_several_licenses_are_one_expression(storage, model):
    built = build(storage, model, MODELFILE + 'LICENSE "MIT OR Apache-2.0"\n')
    assert built.manifest.annotations["org.opencontainers.image.licenses"] == "apache-2.0 AND (MIT OR Apache-2.0)"


@pytest.mark.parametrize("text", ["", "NAME x\n", "# nothing\n"])
def test_an_artifact_without_a_file_is_refused(storage, model, text):
    with pytest.raises(WorkspaceError, match="chooses no file"):
        build(storage, model, text)
    assert storage.layout.entries() == ()


def test_a_pattern_that_matches_nothing_leaves_the_old_tag_alone(storage, model):
    before = build(storage, model).content.digest
    with pytest.raises(ModelfileError, match="Modelfile:15:"):
        build(storage, model, MODELFILE + "MODEL *.gguf\n")
    assert storage.layout.resolve(REF).digest == before


def test_what_looks_like_a_secret_stops_the_build_unless_it_is_allowed(storage, model):
    (model / ".env").write_text("PASSWORD=hunter2\n")
    text = MODELFILE + "DOC .env\n"
    with pytest.raises(WorkspaceError, match=r"\.env .*--allow-secret") as caught:
        build(storage, model, text)
    assert "hunter2" not in str(caught.value)
    assert storage.layout.entries() == ()
    assert build(storage, model, text, allow_secrets=[".env"]).manifest


def test_weights_in_pickle_form_are_warned_of(storage, model):
    (model / "pytorch_model.bin").write_bytes(b"\x80\x02}q\x00.")
    built = build(storage, model, MODELFILE + "MODEL *.bin\n")
    assert any("pickle" in warning and "pytorch_model.bin" in warning for warning in built.warnings)


def test_a_file_that_changes_while_it_is_read_is_named_and_nothing_is_tagged(storage, model):
    class Growing:
        def start(self, label, size):
            if label == "model.safetensors":
                with (model / "model.safetensors").open("ab") as file:
                    file.write(b"more")
            return SILENT

    with pytest.raises(WorkspaceError, match=r"model\.safetensors changed"):
        build(storage, model, progress=Growing(), concurrency=1)
    assert storage.layout.entries() == ()


def test_a_very_large_modelfile_is_left_out_of_the_manifest_with_a_warning(storage, model):
    built = build(storage, model, MODELFILE + "# " + "x" * (1 << 20) + "\n")
    assert MODELFILE_ANNOTATION not in built.manifest.annotations
    assert any("over 1 MiB" in warning for warning in built.warnings)


def test_too_many_files_for_a_manifest_are_refused_before_it_is_stored(storage, tmp_path):
    directory = tmp_path / "many"
    directory.mkdir()
    long = "x" * 200
    for number in range(7000):
        (directory / f"{long}{number}").touch()
    with pytest.raises(Exception, match="too many for one artifact"):
        build(storage, directory, "NAME x\nMODEL *\n", max_layers=8000)


def test_skopeo_reads_what_was_built(storage, model, tmp_path):
    built = build(storage, model)
    target = tmp_path / "copied"
    subprocess.run(
        ["skopeo", "copy", "-q", f"oci:{storage.layout.root}:{REF}", f"oci:{target}:x"], check=True, timeout=60
    )
    (entry,) = json.loads((target / "index.json").read_bytes())["manifests"]
    assert entry["digest"] == str(built.content.digest)
