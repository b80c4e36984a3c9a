"""Images that a build makes: what they are made of, and what other tools unpack of them."""

import dataclasses
import io
import json
import os
import shutil
import tarfile
from contextlib import contextmanager
from datetime import UTC, datetime

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modfile import modelfile
from modfile.archive import Archive, Entry, PieceReader
from modfile.base import find_base
from modfile.content import Digest
from modfile.errors import ContentError, NotFoundError, UsageError, VerificationError
from modfile.foreign import layers_of
from modfile.images import ImageBase, Platform
from modfile.layerformat import LayerFormat
from modfile.packer import Stamp
from modfile.progress import Outcome
from modfile.reference import Reference
from modfile.storage import Storage
from modfile.store import BytesReader
from modfile.verbs.build import Builder
from modfile.verbs.extract import extract
from modfile.verbs.fsck import fsck
from modfile.verbs.image import MAX_IMAGE_LAYERS, ImageSettings, find_image_base, image_settings
from modfile.workspace import Workspace
from tests.images.makers import (
    SHELL,
    TAR,
    ImageMaker,
    entry,
    read_json,
    shell_image,
    tar_of,
    unpacked,
)
from tests.schemas import MANIFEST

REF = Reference.parse("r.io/llm/tiny:v1")
IMAGE = Reference.parse("r.io/llm/tiny:v1-image")
NOW = datetime(2026, 5, 1, 12, 30, 15, tzinfo=UTC)
REPRODUCIBLE = Stamp.of(NOW, no_creation_time=True)
AMD64 = Platform("linux", "amd64")
BOTH = ImageSettings(beside_artifact=True)
OF_AN_IMAGE = MANIFEST | {"required": [name for name in MANIFEST["required"] if name != "artifactType"]}
FILES = ["config.json", "model.safetensors", "run.py", "data/train.csv", "README.md"]


def build(storage, directory, image=BOTH, *, stamp=REPRODUCIBLE, references=(REF,), **settings):
    builder = Builder(storage.layout, stamp, cache=storage.cache, image=image, **settings)
    text = modelfile.load(directory / "Modelfile")
    base = find_base(text.base(), storage.layout, nowhere) if text.base() else None
    return builder.build(Workspace(directory), text, references, base)


def nowhere(reference):
    raise NotFoundError(f"{reference}: no registry is asked")


def files_in(directory):
    return {path: (directory / path).read_bytes() for path in FILES}


# What an image is made of


def test_an_image_is_an_index_of_two_platforms_with_the_same_layers(storage, model):
    built = build(storage, model, ImageSettings())
    assert storage.layout.resolve(REF) == built.content == built.image.content
    said = read_json(storage.layout, built.content)
    assert said["mediaType"] == "application/vnd.oci.image.index.v1+json"
    assert "subject" not in said
    assert [one["platform"] for one in said["manifests"]] == [
        {"architecture": "amd64", "os": "linux"},
        {"architecture": "arm64", "os": "linux"},
    ]
    manifests = [read_json(storage.layout, one) for one in said["manifests"]]
    configs = [read_json(storage.layout, one["config"]) for one in manifests]
    assert manifests[0]["layers"] == manifests[1]["layers"]
    for manifest, config, architecture in zip(manifests, configs, ("amd64", "arm64"), strict=True):
        jsonschema.validate(manifest, OF_AN_IMAGE)
        assert {layer["mediaType"] for layer in manifest["layers"]} == {TAR}
        assert (config["os"], config["architecture"]) == ("linux", architecture)
        # Plain tars: what they are uncompressed is what they are.
        assert config["rootfs"] == {"type": "layers", "diff_ids": [layer["digest"] for layer in manifest["layers"]]}
        assert [one["created_by"] for one in config["history"]] == [f"modfile: {path}" for path in FILES]
        assert "created" not in config


def test_a_layer_holds_one_file_and_the_directories_above_it(storage, model):
    (model / "run.py").chmod(0o700)
    (model / "config.json").chmod(0o600)
    built = build(storage, model, ImageSettings())
    found = []
    for layer in built.manifest.layers:
        data = storage.layout.blob_path(layer.digest).read_bytes()
        assert data[-1024:] == bytes(1024)
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            members = archive.getmembers()
        assert {(one.uid, one.gid, one.uname, one.gname, one.mtime) for one in members} == {(0, 0, "", "", 0)}
        found.append([(one.name, one.isdir(), oct(one.mode)) for one in members])
    assert found == [
        [("models", True, "0o755"), ("models/config.json", False, "0o644")],
        [("models", True, "0o755"), ("models/model.safetensors", False, "0o644")],
        [("models", True, "0o755"), ("models/run.py", False, "0o744")],
        [("models", True, "0o755"), ("models/data", True, "0o755"), ("models/data/train.csv", False, "0o644")],
        [("models", True, "0o755"), ("models/README.md", False, "0o644")],
    ]


def test_the_labels_say_what_is_known_of_the_model(storage, model):
    built = build(storage, model, ImageSettings(), stamp=Stamp.of(NOW, 1_700_000_000))
    config = read_json(storage.layout, built.manifest.config)
    assert config["created"] == "2023-11-14T22:13:20Z"
    assert config["history"][0]["created"] == config["created"]
    labels = config["config"]["Labels"]
    assert labels["org.opencontainers.image.title"] == "tiny"
    assert labels["org.opencontainers.image.licenses"] == "apache-2.0"
    assert labels["dev.modfile.descriptor.family"] == "bert"
    assert labels["dev.modfile.config.paramSize"] == "12"
    assert json.loads(labels["dev.modfile.config.capabilities+json"]) == {"languages": ["en"]}
    assert labels["dev.modfile.prefix"] == "models"
    assert list(labels) == sorted(labels)


def test_both_are_made_of_the_same_blobs_and_the_image_refers_to_the_artifact(storage, model):
    built = build(storage, model)
    assert storage.layout.resolve(REF) == built.content
    assert storage.layout.resolve(IMAGE) == built.image.content
    artifact = read_json(storage.layout, built.content)
    jsonschema.validate(artifact, MANIFEST)
    index = read_json(storage.layout, built.image.content)
    image = read_json(storage.layout, index["manifests"][0])
    assert index["subject"]["digest"] == str(built.content.digest)
    assert "subject" not in image
    assert [one["digest"] for one in image["layers"]] == [one["digest"] for one in artifact["layers"]]
    assert [one["mediaType"].rpartition(".v1.")[2] for one in artifact["layers"]] == ["tar"] * 5
    assert [one["annotations"]["org.cncf.model.filepath"] for one in artifact["layers"]] == FILES
    assert {one["annotations"]["dev.modfile.prefix"] for one in artifact["layers"]} == {"models"}
    config = read_json(storage.layout, artifact["config"])
    assert config["modelfs"]["diffIds"] == [one["digest"] for one in artifact["layers"]]
    assert fsck(storage.layout).findings == ()


@pytest.mark.parametrize("stamp", [REPRODUCIBLE, Stamp.of(NOW, 1_700_000_000)])
def test_the_same_files_give_the_same_image_anywhere(tmp_path, storage, model, stamp):
    first = build(storage, model, stamp=stamp)
    elsewhere = tmp_path / "a/b"
    shutil.copytree(model, elsewhere, copy_function=shutil.copyfile)
    os.utime(elsewhere / "run.py", ns=(0, 1_234_567_890))
    if os.getuid() == 0:
        os.chown(elsewhere / "config.json", 1234, 4321)
    other = Storage(tmp_path / "other")
    again = build(other, elsewhere, stamp=stamp)
    other.close()
    assert (again.content, again.image.content) == (first.content, first.image.content)


def test_an_unchanged_model_is_not_packed_again_and_a_raw_build_is_not_taken_for_it(storage, model):
    storage.cache._now_ns = lambda: 10**19
    Builder(storage.layout, REPRODUCIBLE, cache=storage.cache, form=LayerFormat.TAR).build(
        Workspace(model), modelfile.load(model / "Modelfile"), [REF]
    )
    first = build(storage, model)
    assert first.tally.pieces(Outcome.MOVED) == 5 + 2
    again = build(storage, model)
    assert again.content == first.content
    assert again.tally.pieces(Outcome.MOVED) == 0


# What other tools unpack


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_skopeo_and_umoci_unpack_the_files_with_content_and_modes(storage, model, tmp_path, architecture):
    (model / "run.py").chmod(0o755)
    build(storage, model)
    found = unpacked(storage.layout, IMAGE, tmp_path / "umoci", architecture)
    assert found == {
        "models/": (0o755, None),
        "models/README.md": (0o644, (model / "README.md").read_bytes()),
        "models/config.json": (0o644, (model / "config.json").read_bytes()),
        "models/data/": (0o755, None),
        "models/data/train.csv": (0o644, (model / "data/train.csv").read_bytes()),
        "models/model.safetensors": (0o644, (model / "model.safetensors").read_bytes()),
        "models/run.py": (0o755, (model / "run.py").read_bytes()),
    }


def test_files_that_share_layers_are_unpacked_alike(storage, model, tmp_path):
    for number in range(30):
        (model / f"data/{number:02}.csv").write_text(f"{number}\n")
    built = build(storage, model, max_layers=7)
    assert len(built.manifest.layers) == 7
    found = unpacked(storage.layout, IMAGE, tmp_path / "umoci")
    assert len([path for path in found if path.startswith("models/data/") and path.endswith(".csv")]) == 31
    assert found["models/data/07.csv"] == (0o644, b"7\n")
    extract(IMAGE, storage.layout, tmp_path / "out")
    assert (tmp_path / "out/data/07.csv").read_bytes() == b"7\n"


@pytest.mark.parametrize("prefix", ["/mnt/some/models", "weights/", "/models"])
def test_a_prefix_is_where_the_files_are_and_no_part_of_their_paths(storage, model, tmp_path, prefix):
    image = image_settings("both", prefix=prefix, find_base=lambda platforms: None)
    build(storage, model, image)
    found = unpacked(storage.layout, IMAGE, tmp_path / "umoci")
    place = prefix.strip("/")
    assert found[f"{place}/config.json"] == (0o644, (model / "config.json").read_bytes())
    assert all(path.startswith(f"{place}/") or place.startswith(path.rstrip("/")) for path in found)
    for name, reference in (("artifact", REF), ("image", IMAGE)):
        extract(reference, storage.layout, tmp_path / name)
        assert {path: (tmp_path / name / path).read_bytes() for path in FILES} == files_in(model)


@pytest.mark.parametrize(
    "path", ["日本/" + "語" * 70 + ".bin", "/".join(["deep" * 20] * 3) + "/x.bin", "new\nline.bin"]
)
def test_paths_that_need_extended_headers_are_unpacked(storage, model, tmp_path, path):
    (model / path).parent.mkdir(parents=True, exist_ok=True)
    (model / path).write_bytes(b"data")
    with (model / "Modelfile").open("a") as file:
        file.write("MODEL **/*.bin\n")
    build(storage, model)
    assert unpacked(storage.layout, IMAGE, tmp_path / "umoci")[f"models/{path}"] == (0o644, b"data")
    extract(IMAGE, storage.layout, tmp_path / "out")
    assert (tmp_path / "out" / path).read_bytes() == b"data"


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 1500), max_size=4), st.integers(0, 9000))
def test_a_layer_with_directories_can_be_read_from_any_byte_on(sizes, start):
    contents = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
    names = [("models", f"models/{number}") for number in range(len(sizes))]
    entries = [Entry(f"{above[-1]}/f", size, 0o644, 0, above) for above, size in zip(names, sizes, strict=True)]
    archive = Archive(entries)

    @contextmanager
    def opened(number):
        yield BytesReader(contents[number])

    whole = PieceReader(archive.pieces(opened)).read()
    assert len(whole) == archive.size
    assert PieceReader(archive.pieces(opened, start)).read() == whole[start:]
    assert [whole[at : at + size] for at, size in zip(archive.offsets, sizes, strict=True)] == contents
    with tarfile.open(fileobj=io.BytesIO(whole)) as opened_tar:
        expected = [name for number, above in enumerate(names) for name in (*above, f"models/{number}/f")]
        assert opened_tar.getnames() == expected


# An image base


@pytest.fixture
def based(storage):
    shell_image(storage.layout, "shell:v1")

    def of(**said):
        said = {"beside_artifact": True, "platforms": ImageSettings().platforms} | said
        base = find_image_base(Reference.parse("shell:v1"), storage.layout, nowhere, said["platforms"])
        return ImageSettings(**said, base=base)

    return of


@pytest.mark.parametrize(("architecture", "platform"), [("amd64", "linux/amd64"), ("arm64", "linux/arm64/v8")])
def test_an_image_has_its_bases_files_beside_the_model(storage, model, based, tmp_path, architecture, platform):
    build(storage, model, based())
    found = unpacked(storage.layout, IMAGE, tmp_path / "umoci", architecture)
    assert found["bin/busybox"][1] == SHELL
    assert found["bin/sh"] == (None, None)
    assert found["etc/platform"] == (0o644, platform.encode())
    assert found["models/data/train.csv"] == (0o644, (model / "data/train.csv").read_bytes())


def test_an_image_runs_as_its_base_does_and_says_what_it_is_itself(storage, model, based):
    built = build(storage, model, based())
    index = read_json(storage.layout, built.image.content)
    assert [one["platform"] for one in index["manifests"]] == [
        {"architecture": "amd64", "os": "linux"},
        {"architecture": "arm64", "os": "linux", "variant": "v8"},
    ]
    bases = read_json(storage.layout, storage.layout.resolve(Reference.parse("shell:v1")))["manifests"]
    for one, base in zip(index["manifests"], bases, strict=True):
        manifest, below = read_json(storage.layout, one), read_json(storage.layout, base)
        assert manifest["layers"][:2] == below["layers"]
        assert manifest["annotations"]["org.opencontainers.image.base.digest"] == base["digest"]
        assert "org.opencontainers.image.base.name" not in manifest["annotations"]  # it is in no registry
        config, under = read_json(storage.layout, manifest["config"]), read_json(storage.layout, below["config"])
        assert config["rootfs"]["diff_ids"][:2] == under["rootfs"]["diff_ids"]
        assert len(config["rootfs"]["diff_ids"]) == 7 == len(manifest["layers"])
        assert config["history"][:3] == under["history"]
        inner = config["config"]
        assert (inner["Env"], inner["Entrypoint"], inner["User"]) == (["PATH=/bin"], ["/bin/sh"], "1010")
        assert inner["Labels"]["maintainer"] == "somebody"
        assert inner["Labels"]["org.opencontainers.image.title"] == "tiny"
    assert fsck(storage.layout).findings == ()


@pytest.mark.parametrize("name", ["artifact", "image"])
def test_of_an_image_with_a_base_only_the_model_is_extracted(storage, model, based, tmp_path, name):
    build(storage, model, based())
    extract(REF if name == "artifact" else IMAGE, storage.layout, tmp_path / "out")
    found = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert found == set(FILES)


def test_a_base_of_docker_gets_ocis_names_for_the_same_layers(storage, model, tmp_path):
    shell_image(storage.layout, "docker:v1", docker=True)
    base = find_image_base(Reference.parse("docker:v1"), storage.layout, nowhere, ImageSettings().platforms)
    built = build(storage, model, ImageSettings(True, base=base))
    image = read_json(storage.layout, read_json(storage.layout, built.image.content)["manifests"][0])
    assert [one["mediaType"] for one in image["layers"][:3]] == [f"{TAR}+gzip", f"{TAR}+gzip", TAR]
    assert unpacked(storage.layout, IMAGE, tmp_path / "umoci", "amd64")["bin/busybox"][1] == SHELL


def test_a_platform_that_the_base_lacks_is_named_with_those_that_it_has(storage, model):
    shell_image(storage.layout, "shell:v1", ["linux/amd64", "linux/s390x"])
    shell = Reference.parse("shell:v1")
    with pytest.raises(UsageError, match=r"not there for linux/arm64; it has: linux/amd64, linux/s390x \(--platform"):
        find_image_base(shell, storage.layout, nowhere, ImageSettings().platforms)
    base = find_image_base(shell, storage.layout, nowhere, (AMD64,))
    built = build(storage, model, ImageSettings(True, platforms=(AMD64,), base=base))
    assert len(read_json(storage.layout, built.image.content)["manifests"]) == 1


def test_a_base_that_is_no_index_is_for_the_platform_of_its_config(storage, model):
    ImageMaker(storage.layout).add(tar_of(entry("bin/sh", SHELL))).write("linux/arm64", reference="one:v1")
    one = Reference.parse("one:v1")
    with pytest.raises(UsageError, match="not there for linux/amd64; it has: linux/arm64"):
        find_image_base(one, storage.layout, nowhere, ImageSettings().platforms)
    base = find_image_base(one, storage.layout, nowhere, (Platform("linux", "arm64"),))
    built = build(storage, model, ImageSettings(True, platforms=(Platform("linux", "arm64"),), base=base))
    config = read_json(storage.layout, built.image.image.manifest.config)
    assert config["history"][0]["created_by"].endswith("of the base")
    assert len(config["history"]) == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rootfs": {"diff_ids": []}}, "does not say the diff_ids of its 1 layers"),
        ({"rootfs": None}, "does not say the diff_ids"),
        ({"rootfs": {"diff_ids": ["sha256:../../etc"]}}, "is not a digest"),
        ({"os": 5}, "says no platform"),
        ({"architecture": "am\nd64"}, "says no platform"),
    ],
)
def test_a_base_whose_config_makes_no_sense_is_refused(storage, change, message):
    ImageMaker(storage.layout).add(tar_of(entry("bin/sh", SHELL))).write(reference="bad:v1", **change)
    with pytest.raises(ContentError, match=message):
        find_image_base(Reference.parse("bad:v1"), storage.layout, nowhere, (AMD64,))


def test_a_base_whose_layers_must_not_be_copied_or_are_not_known_is_refused(storage):
    for media_type in ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "application/x-thing"):
        maker = ImageMaker(storage.layout).add(tar_of())
        maker.layers = [dataclasses.replace(maker.layers[0], media_type=media_type)]
        maker.write(reference="bad:v1")
        with pytest.raises(ContentError, match="no image can be built on"):
            find_image_base(Reference.parse("bad:v1"), storage.layout, nowhere, (AMD64,))


def test_what_is_no_image_is_no_base(storage, model):
    build(storage, model)
    with pytest.raises(ContentError, match=r"no container image: its config is application/vnd\.cncf"):
        find_image_base(REF, storage.layout, nowhere, (AMD64,))
    with pytest.raises(NotFoundError, match="image base none:v1 is not in the local store"):
        find_image_base(Reference.parse("none:v1"), storage.layout, nowhere, (AMD64,))


def test_a_damaged_layer_of_a_base_stops_the_build_before_a_name_is_given(storage, model, tmp_path):
    other = Storage(tmp_path / "other")
    root = shell_image(other.layout, "shell:v1")
    base = ImageBase.read(root, other.layout, "shell:v1", (AMD64,))
    path = other.layout.blob_path(base.layers[0].digest)
    path.chmod(0o600)
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(VerificationError):
        build(storage, model, ImageSettings(True, platforms=(AMD64,), base=base))
    other.close()
    assert storage.layout.entries() == ()


def test_the_bases_layers_count_among_those_allowed(storage, model, based):
    with pytest.raises(UsageError, match="the image base alone has 2"):
        build(storage, model, based(), max_layers=2)
    assert len(build(storage, model, based(), max_layers=7).image.image.manifest.layers) == 7


def test_more_layers_than_docker_takes_are_warned_of(storage, model):
    for number in range(130):
        (model / f"data/{number:03}.csv").write_text(f"{number}\n")
    assert not [one for one in build(storage, model, max_layers=MAX_IMAGE_LAYERS).warnings if "Docker" in one]
    assert any("the image has 135 layers, and Docker takes 125" in one for one in build(storage, model).warnings)


# FROM


@pytest.mark.parametrize("form", list(LayerFormat))
@pytest.mark.parametrize("max_layers", [400, 6])
def test_a_child_of_any_model_becomes_an_image(storage, model, tmp_path, form, max_layers):
    for number in range(5):
        (model / f"data/{number}.csv").write_text(f"{number}\n")
    parent = Reference.parse("r.io/llm/parent:v1")
    Builder(storage.layout, REPRODUCIBLE, form=form, max_layers=max_layers).build(
        Workspace(model), modelfile.load(model / "Modelfile"), [parent]
    )
    child = tmp_path / "child"
    child.mkdir()
    (child / "config.json").write_text("{}")
    (child / "adapter.safetensors").write_bytes(b"adapter")
    (child / "Modelfile").write_text(f"FROM {parent}\nNAME child\nCONFIG config.json\nMODEL *.safetensors\n")
    built = build(storage, child)
    expected = {path: (model / path).read_bytes() for path in [*FILES, *(f"data/{n}.csv" for n in range(5))]}
    expected |= {"config.json": b"{}", "adapter.safetensors": b"adapter"}
    found = unpacked(storage.layout, IMAGE, tmp_path / "umoci")
    assert {path: data for path, (_, data) in found.items() if data is not None} == {
        f"models/{path}": data for path, data in expected.items()
    }
    for name, reference in (("artifact", REF), ("image", IMAGE)):
        extract(reference, storage.layout, tmp_path / name)
        assert {path: (tmp_path / name / path).read_bytes() for path in expected} == expected
    assert all((layer.format, layer.prefix) == ("tar", "models") for layer in layers_of(built.manifest))
    assert fsck(storage.layout).findings == ()


def test_a_child_of_an_artifact_that_was_made_beside_an_image_shares_its_layers(storage, model, tmp_path):
    parent = build(storage, model)
    child = tmp_path / "child"
    child.mkdir()
    (child / "adapter.safetensors").write_bytes(b"adapter")
    (child / "Modelfile").write_text(f"FROM {REF}\nNAME child\nMODEL *.safetensors\n")
    built = build(storage, child, references=[Reference.parse("r.io/llm/child:v1")])
    assert built.inherited == 5
    shared = {layer.digest for layer in parent.manifest.layers} & {layer.digest for layer in built.manifest.layers}
    assert len(shared) == 5
    raw = Builder(storage.layout, REPRODUCIBLE).build(
        Workspace(child),
        modelfile.load(child / "Modelfile"),
        [Reference.parse("r.io/llm/raw:v1")],
        find_base(REF, storage.layout, nowhere),
    )
    assert raw.inherited == 5
    extract(Reference.parse("r.io/llm/raw:v1"), storage.layout, tmp_path / "out")
    assert {path: (tmp_path / "out" / path).read_bytes() for path in FILES} == files_in(model)


def test_a_damaged_layer_of_what_from_names_does_not_become_part_of_an_image(storage, model, tmp_path):
    parent = Reference.parse("r.io/llm/parent:v1")
    built = Builder(storage.layout, REPRODUCIBLE).build(Workspace(model), modelfile.load(model / "Modelfile"), [parent])
    path = storage.layout.blob_path(built.manifest.layers[1].digest)
    path.chmod(0o600)
    path.write_bytes(b"x" * path.stat().st_size)
    child = tmp_path / "child"
    child.mkdir()
    (child / "adapter.safetensors").write_bytes(b"adapter")
    (child / "Modelfile").write_text(f"FROM {parent}\nMODEL *.safetensors\n")
    with pytest.raises(VerificationError):
        build(storage, child)
    assert storage.layout.find(REF) is None
    assert storage.layout.find(IMAGE) is None


def test_a_name_of_the_parents_that_would_take_another_file_away_is_refused(storage, model, tmp_path):
    (model / "data/.wh.train.csv").write_bytes(b"x")
    with (model / "Modelfile").open("a") as file:
        file.write("DATASET data/.wh.train.csv\n")
    parent = Reference.parse("r.io/llm/parent:v1")
    Builder(storage.layout, REPRODUCIBLE).build(Workspace(model), modelfile.load(model / "Modelfile"), [parent])
    child = tmp_path / "child"
    child.mkdir()
    (child / "adapter.safetensors").write_bytes(b"adapter")
    (child / "Modelfile").write_text(f"FROM {parent}\nMODEL *.safetensors\n")
    with pytest.raises(ContentError, match="takes another file away"):
        build(storage, child)
    assert storage.layout.find(REF) is None


# What is refused


@pytest.mark.parametrize("name", [".wh.config.json", "data/.wh..wh..opq", ".wh.data/x.csv"])
def test_a_name_that_would_take_another_file_away_is_refused(storage, model, name):
    (model / name).parent.mkdir(exist_ok=True)
    (model / name).write_bytes(b"x")
    with (model / "Modelfile").open("a") as file:
        file.write(f"DATASET {name}\n")
    with pytest.raises(ContentError, match="takes another file away"):
        build(storage, model)
    assert storage.layout.entries() == ()


@pytest.mark.parametrize("prefix", ["", "/", "a/../b", "./models", "a//b", "mod\0els", "a\\b", "x" * 256, ".wh.models"])
def test_a_prefix_that_is_no_directory_is_refused(prefix):
    with pytest.raises(UsageError, match="no directory for an image's files"):
        image_settings("image", prefix=prefix, find_base=lambda platforms: None)


@pytest.mark.parametrize("platforms", [["linux"], ["linux/"], ["Linux/amd64"], ["a/b/c/d"], ["linux/amd 64"]])
def test_a_platform_that_is_none_is_refused(platforms):
    with pytest.raises(UsageError, match="is not a platform such as linux/amd64"):
        image_settings("image", platforms=platforms, find_base=lambda platforms: None)


def test_the_image_may_not_take_the_artifacts_name(storage, model):
    with pytest.raises(UsageError, match="cannot be both"):
        build(storage, model, ImageSettings(True, tag="v1"))
    with pytest.raises(UsageError, match="say another --image-tag"):
        build(storage, model, ImageSettings(True, tag="not a tag"))
    long = dataclasses.replace(REF, tag="v" * 125)
    with pytest.raises(UsageError, match="say another --image-tag"):
        build(storage, model, references=[long])
    assert storage.layout.entries() == ()


def test_several_names_of_the_artifact_are_several_of_the_image(storage, model):
    latest = Reference.parse("r.io/llm/tiny:latest")
    built = build(storage, model, references=[REF, latest])
    assert [str(one) for one in built.image.references] == ["r.io/llm/tiny:v1-image", "r.io/llm/tiny:latest-image"]
    once = build(storage, model, ImageSettings(True, tag="pod"), references=[REF, latest])
    assert [str(one) for one in once.image.references] == ["r.io/llm/tiny:pod"]


def test_the_digest_of_an_index_is_that_of_its_bytes(storage, model):
    built = build(storage, model)
    assert Digest.of(storage.layout.blob_path(built.image.content.digest).read_bytes()) == built.image.content.digest
