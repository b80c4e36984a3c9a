"""Images, as a person asks for them."""

import json

import pytest

import modfile as library
from modfile.layout import Layout, new_layout
from modfile.reference import Reference
from tests.cmd.test_registry import ref as ref  # noqa: PLC0414 - a fixture
from tests.cmd.test_remote import blobs, forget
from tests.images.makers import SHELL, run, shell_image, unpacked, unpacked_layout

FILES = {"README.md", "config.json", "data/train.csv", "model.safetensors", "run.py"}


@pytest.fixture
def layout(tmp_path):
    """The local store's."""
    return Layout(tmp_path / "storage/store")


def below(directory):
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}


def test_both_are_built_and_told(modfile, model, layout, tmp_path):
    done = modfile("build", "-t", "llm/tiny:v1", "--format", "both", "--no-creation-time")
    artifact, image = done.stdout.split()
    assert "built 5 layers: 7 stored" in done.stderr
    assert "image llm/tiny:v1-image for linux/amd64, linux/arm64" in done.stderr
    said = json.loads(modfile("build", "-t", "llm/tiny:v1", "--format", "both", "--no-creation-time", "--json").stdout)
    assert said["Digest"] == artifact
    assert said["Image"] == {
        "Digest": image,
        "References": ["llm/tiny:v1-image"],
        "Platforms": ["linux/amd64", "linux/arm64"],
    }
    rows = [line.split()[:3] for line in modfile("ls").stdout.splitlines()[1:]]
    assert sorted(rows) == [["llm/tiny", "v1", artifact[7:19]], ["llm/tiny", "v1-image", image[7:19]]]
    modfile("extract", "llm/tiny:v1-image", "-o", tmp_path / "out")
    assert below(tmp_path / "out") == FILES
    modfile("verify", "llm/tiny:v1-image", tmp_path / "out")
    modfile("verify", "llm/tiny:v1-image")
    modfile("fsck")
    assert modfile("diff", "llm/tiny:v1-image", tmp_path / "out", exit_code=0).exit_code == 0


def test_an_image_alone_has_the_builds_name(modfile, model, layout):
    done = modfile("build", "-t", "llm/tiny:v1", "--format", "image", "--image-prefix", "/mnt/models")
    assert str(layout.resolve(Reference.parse("llm/tiny:v1")).digest) == done.stdout.strip()
    assert "image llm/tiny:v1 for" in done.stderr
    assert len(modfile("ls").stdout.splitlines()) == 2


def test_an_image_goes_straight_to_a_registry(modfile, model, ref, tmp_path):
    tag = ["--image-tag", "pod", "--platform", "linux/amd64"]
    done = modfile("build", "-t", ref, "--format", "both", "--output-remote", "--no-creation-time", *tag, "--json")
    assert blobs(tmp_path) == []
    said = json.loads(done.stdout)
    image = ref.removesuffix("v1") + "pod"
    assert said["Image"]["References"] == [image]
    assert (said["Moved"]["Pieces"], said["Skipped"]["Pieces"]) == (5 + 1 + 1, 0)
    local = modfile("build", "-t", ref, "--format", "both", "--no-creation-time", *tag).stdout
    assert local.split() == [said["Digest"], said["Image"]["Digest"]]
    forget(tmp_path)
    assert modfile("pull", image, "--extract-dir", tmp_path / "out").stdout.strip() == said["Image"]["Digest"]
    assert below(tmp_path / "out") == FILES
    forget(tmp_path)
    fetched = modfile("fetch", image, "-o", tmp_path / "some", "--patterns", "data/*").stdout.split()
    assert fetched == [str(tmp_path / "some/data/train.csv")]
    modfile("verify", "--remote", image, tmp_path / "out")
    assert json.loads(modfile("inspect", "--remote", image).stdout)["Family"] == "bert"
    assert "pod" in modfile("ls", "--remote", ref.rpartition(":")[0]).stdout


@pytest.mark.parametrize("transport", ["oci", "oci-archive", "store", "registry"])
def test_a_base_is_taken_from_wherever_it_is(modfile, model, ref, layout, tmp_path, transport):
    places = {"oci": f"oci:{tmp_path / 'dir'}:shell:v1", "oci-archive": f"oci-archive:{tmp_path / 'a.tar'}:shell:v1"}
    if transport in ("oci", "oci-archive"):
        shell_image(new_layout(tmp_path / "dir"), "shell:v1")
        if transport == "oci-archive":
            run("skopeo", "copy", "-q", "--all", f"oci:{tmp_path / 'dir'}:shell:v1", places["oci-archive"])
        place = places[transport]
    else:
        place = ref.replace(":v1", "-base:v1")
        shell_image(layout, place)
        modfile("push", place)
        if transport == "registry":
            forget(tmp_path)
    done = modfile("build", "-t", ref, "--format", "both", "--base", place, "--json")
    assert json.loads(done.stdout)["Image"]["Platforms"] == ["linux/amd64", "linux/arm64/v8"]
    image = ref + "-image"
    found = unpacked(layout, image, tmp_path / "umoci", "arm64")
    assert found["bin/busybox"][1] == SHELL
    assert found["models/run.py"][1] == (model / "run.py").read_bytes()
    modfile("push", image)
    run("skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{image}", f"oci:{tmp_path / 'copy'}:t")
    assert unpacked_layout(tmp_path / "copy", tmp_path)["bin/busybox"][1] == SHELL


def test_a_base_in_the_same_registry_is_mounted(modfile, model, ref, layout, tmp_path):
    place = ref.replace(":v1", "-base:v1")
    shell_image(layout, place)
    modfile("push", place)
    forget(tmp_path)
    done = modfile("build", "-t", ref, "--format", "image", "--base", place, "--output-remote", "--json")
    assert json.loads(done.stdout)["Mounted"]["Pieces"] == 3
    assert blobs(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--format", "image", "--compression", "zstd"], "plain tars"),
        (["--format", "both", "--raw"], "plain tars"),
        (["--format", "modelpack", "--base", "x"], "--base is of an image"),
        (["--image-prefix", "/x"], "--image-prefix is of an image"),
        (["--image-tag", "x"], "--image-tag is of an image"),
        (["--platform", "linux/amd64"], "--platform is of an image"),
        (["--format", "image", "--image-tag", "x"], "of format both"),
        (["--format", "both", "--image-tag", "v1"], "cannot be both"),
        (["--format", "both", "--platform", "amd64"], "is not a platform"),
        (["--format", "both", "--image-prefix", "a/../b"], "no directory for an image's files"),
        (["--format", "rpm"], "rpm"),
    ],
)
def test_options_that_do_not_go_together_are_refused(modfile, model, layout, options, told):
    assert told in modfile("build", "-t", "llm/tiny:v1", *options, exit_code=2).stderr
    assert layout.entries() == ()


def test_a_base_that_is_nowhere_is_named(modfile, model):
    done = modfile("build", "-t", "llm/tiny:v1", "--format", "image", "--base", "busybox", exit_code=3)
    assert "image base busybox:latest is not in the local store" in done.stderr


def test_a_rehearsal_tells_of_all_that_would_be_sent(modfile, model, ref, tmp_path):
    arguments = ["-t", ref, "--format", "both", "--output-remote", "--no-creation-time"]
    said = json.loads(modfile("build", *arguments, "--dry-run", "--json").stdout)
    done = json.loads(modfile("build", *arguments, "--json").stdout)
    assert said["Digest"] == done["Digest"]
    assert len(said["Missing"]) == done["Moved"]["Pieces"] + 4  # and the manifests


def test_a_child_of_a_model_in_a_registry_becomes_an_image_there(modfile, model, ref, tmp_path):
    modfile("build", "-t", ref, "--output-remote")
    child = tmp_path / "child"
    child.mkdir()
    (child / "adapter.safetensors").write_bytes(b"adapter")
    (child / "Modelfile").write_text(f"FROM {ref}\nNAME child\nMODEL *.safetensors\n")
    name = ref.replace(":v1", "-child:v1")
    for where in (["--output-remote"], []):
        forget(tmp_path)
        modfile("build", "-t", name, "--format", "both", *where, child)
        if not where:
            modfile("push", name)
            modfile("push", f"{name}-image")
        forget(tmp_path)
        modfile("pull", f"{name}-image", "--extract-dir", tmp_path / f"out{len(where)}")
        assert below(tmp_path / f"out{len(where)}") == {*FILES, "adapter.safetensors"}


def test_an_attached_file_joins_the_artifact_that_was_made_beside_an_image(modfile, model, layout, tmp_path):
    for number in range(5):
        (model / f"data/{number}.csv").write_text(f"{number}\n")
    modfile("build", "-t", "llm/tiny:v1", "--format", "both", "--max-layers", "6")
    (model / "data/3.csv").write_text("changed\n")
    modfile("attach", "data/3.csv", "-s", "llm/tiny:v1", "-t", "llm/tiny:v2", "--force")
    modfile("extract", "llm/tiny:v2", "-o", tmp_path / "out")
    assert (tmp_path / "out/data/3.csv").read_text() == "changed\n"
    assert (tmp_path / "out/data/4.csv").read_text() == "4\n"
    modfile("fsck")


def test_python_builds_an_image_on_a_base(model, layout, tmp_path):
    shell_image(layout, "shell:v1")
    with library.Session(tmp_path / "storage") as session:
        built = library.build(
            model,
            "llm/tiny:v1",
            format="both",
            image_base="shell:v1",
            image_prefix="/m",
            reproducible=True,
            session=session,
        )
        image = library.inspect("llm/tiny:v1-image", session=session)
        assert {file.path for file in built.files} == {file.path for file in image.files} - {""} == FILES
        assert built.digest != image.digest
        with pytest.raises(library.errors.UsageError, match="image base is of an image"):
            library.build(model, "a:v1", image_base="shell:v1", session=session)
        with pytest.raises(library.errors.UsageError, match="format 'oci' is not known"):
            library.build(model, "a:v1", format="oci", session=session)
        with pytest.raises(library.errors.UsageError, match="of an image"):
            library.build(model, "a:v1", platforms=["linux/amd64"], session=session)
