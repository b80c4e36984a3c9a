"""Images that are read: those that a build made, those that other tools made, and those that mean harm."""

import dataclasses
import json
import tarfile
from contextlib import nullcontext, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import modfile
from modfile import modelfile
from modfile.archive import walk
from modfile.content import Descriptor, Digest
from modfile.errors import ContentError, NotFoundError
from modfile.foreign import layers_of
from modfile.images import Platform, manifest_of
from modfile.images.index import entries_of
from modfile.images.labels import facts_from, labels_of
from modfile.listing import ANNOTATION
from modfile.manifest import OCI_INDEX, Manifest
from modfile.modelpack import PREFIX_ANNOTATION, Layer
from modfile.packer import Stamp
from modfile.reference import Reference
from modfile.session import Session
from modfile.sides import ArtifactSide
from modfile.store import BytesReader
from modfile.unpack import unpack
from modfile.verbs.build import Builder
from modfile.verbs.diff import diff
from modfile.verbs.extract import extract
from modfile.verbs.history import history
from modfile.verbs.image import ImageSettings
from modfile.verbs.inspect import inspect, inspect_config
from modfile.verbs.ls import ls
from modfile.verbs.prune import prune
from modfile.verbs.verify import verify_directory, verify_store
from modfile.workspace import Workspace
from tests import tars
from tests.images.makers import ImageMaker, directory, entry, index, shell_layer, tar_of
from tests.verbs.test_build import NOW

REF = Reference.parse("r.io/llm/tiny:v1")
IMAGE = Reference.parse("r.io/llm/tiny:v1-image")
CAR = Reference.parse("r.io/llm/car:v1")
FILES = ["README.md", "config.json", "data/train.csv", "model.safetensors", "run.py"]


@pytest.fixture
def built(storage, model):
    builder = Builder(storage.layout, Stamp.of(NOW, no_creation_time=True), image=ImageSettings(beside_artifact=True))
    return builder.build(Workspace(model), modelfile.load(model / "Modelfile"), [REF])


def below(directory):
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


# What a build made


@pytest.mark.parametrize("patterns", [["data"], ["*.json", "run.py"]])
def test_files_of_an_image_are_fetched_by_their_paths_in_the_model(storage, built, model, tmp_path, patterns):
    extract(IMAGE, storage.layout, tmp_path / "out", patterns=patterns)
    assert below(tmp_path / "out").keys() in ({"data/train.csv"}, {"config.json", "run.py"})
    for path, data in below(tmp_path / "out").items():
        assert data == (model / path).read_bytes()


@pytest.mark.parametrize("reference", [REF, IMAGE])
def test_a_directory_is_verified_against_an_image_and_against_the_artifact(storage, built, tmp_path, reference):
    out = tmp_path / "out"
    extract(reference, storage.layout, out)
    for alone in (True, False):
        assert verify_directory(REF, storage.layout, out, manifest_alone=alone).right == tuple(FILES)
        assert verify_directory(IMAGE, storage.layout, out, manifest_alone=alone).right == tuple(FILES)
    (out / "run.py").write_text("other")
    (out / "more").write_text("more")
    (out / "config.json").unlink()
    found = verify_directory(IMAGE, storage.layout, out)
    assert (found.missing, [path for path, _ in found.changed], found.extra) == (
        ("config.json",),
        ["run.py"],
        ("more",),
    )


def test_the_blobs_of_all_platforms_are_verified(storage, built):
    assert len(verify_store(IMAGE, storage.layout).right) == 5 + 2
    index = json.loads(storage.layout.blob_path(built.image.content.digest).read_bytes())
    other = json.loads(storage.layout.blob_path(Digest.parse(index["manifests"][1]["digest"])).read_bytes())
    storage.layout.blob_path(Digest.parse(other["config"]["digest"])).unlink()
    assert len(verify_store(IMAGE, storage.layout).missing) == 1


def test_inspect_tells_of_an_image_what_it_tells_of_the_artifact(storage, built):
    artifact, image = inspect(REF, storage.layout), inspect(IMAGE, storage.layout)
    assert image["Digest"] == str(built.image.content.digest)
    same = ("Architecture", "CreatedAt", "Family", "Format", "Name", "ParamSize", "Precision", "Quantization")
    assert {key: image[key] for key in same} == {key: artifact[key] for key in same}
    assert image["Family"] == "bert"
    kept = ("Digest", "Size", "Filepath", "Files")
    assert [{key: layer[key] for key in kept} for layer in image["Layers"]] == [
        {key: layer[key] for key in kept} for layer in artifact["Layers"]
    ]
    assert inspect_config(IMAGE, storage.layout)["os"] == "linux"


def test_ls_counts_what_platforms_share_once(storage, built):
    sizes = {row.tag: row.size for row in ls(storage.layout)}
    layers = sum(layer.size for layer in built.manifest.layers)
    assert layers < sizes["v1"] < sizes["v1-image"] < 2 * layers


def test_ls_asks_for_no_more_manifests_of_an_index_than_an_image_has(storage, built):
    listed = entries(*[AMD] * 33)
    storage.layout.tag(storage.layout.add_bytes(listed, OCI_INDEX), CAR)
    (row,) = [row for row in ls(storage.layout) if row.repository == CAR.name]
    assert (row.created, row.size, row.problem) == (None, len(listed), None)


def test_history_tells_of_an_image_by_its_own_digest(storage, built):
    (generation,) = history(IMAGE, storage.layout, storage.layout)
    assert (generation.digest, generation.layers) == (built.image.content.digest, 5)


def test_an_image_and_its_artifact_do_not_differ_in_their_files(storage, built, model):
    done = diff(ArtifactSide(REF, storage.layout, storage.layout), ArtifactSide(IMAGE, storage.layout, storage.layout))
    assert done.files == ()


def test_prune_leaves_an_image_whole_and_frees_it_without_its_name(storage, built):
    assert not prune(storage.layout).blobs
    storage.layout.untag([IMAGE, REF])
    prune(storage.layout)
    assert verify_store_is_empty(storage)


def verify_store_is_empty(storage):
    return not storage.layout.entries() and not list(storage.layout.blobs())


def test_python_gets_a_directory_of_an_image(storage, built, model):
    with Session(storage.directory) as session:
        path = modfile.pull(str(IMAGE), session=session, local_files_only=True)
        assert below(path) == {name: (model / name).read_bytes() for name in FILES}
        assert modfile.pull(str(IMAGE), session=session, local_files_only=True) == path
        with modfile.open_safetensors(str(IMAGE), session=session, local_files_only=True) as tensors:
            assert tensors.keys() == ["weight"]


def test_annotations_that_got_lost_leave_the_label_to_tell_where_the_files_are(storage, model, tmp_path):
    image = ImageSettings(prefix="opt/weights")
    builder = Builder(storage.layout, Stamp.of(NOW), image=image)
    built = builder.build(Workspace(model), modelfile.load(model / "Modelfile"), [REF])
    bare = tuple(dataclasses.replace(layer, annotations={}) for layer in built.manifest.layers)
    manifest = dataclasses.replace(built.manifest, layers=bare)
    content = storage.layout.add_bytes(manifest.to_bytes(), manifest.media_type)
    storage.layout.tag(content, CAR)
    extract(CAR, storage.layout, tmp_path / "out")
    assert below(tmp_path / "out") == {name: (model / name).read_bytes() for name in FILES}


# What other tools made


def car(storage, *tars_of_layers, compression="gzip", **config):
    """Write a modelcar as docker builds one: a shell below, then layers."""
    maker = ImageMaker(storage.layout).add(shell_layer(), "gzip")
    for tar in tars_of_layers:
        maker.add(tar, compression)
    return maker.write(reference=str(CAR), **config)


MODEL = tar_of(
    directory("models"),
    entry("models/config.json", b"{}"),
    directory("models/onnx"),
    entry("models/onnx/model.onnx", b"onnx", mode=0o4755),
)


MODEL_AND_SHELL = tar_of(
    directory("bin"),
    entry("bin/sh", kind=tarfile.SYMTYPE, link="busybox"),
    entry("models/config.json", b"{}"),
    entry("etc/" + "long" * 40, b"elsewhere"),
    entry("models/onnx/" + "long" * 40, b"onnx" * 200),
)


@pytest.mark.parametrize("compression", ["", "gzip"])
def test_the_files_in_models_of_any_image_are_the_model(storage, tmp_path, compression):
    car(
        storage,
        MODEL,
        tar_of(entry("models/README.md", b"# Tiny"), entry("etc/motd", b"hello")),
        compression=compression,
    )
    extract(CAR, storage.layout, tmp_path / "out")
    assert below(tmp_path / "out") == {"config.json": b"{}", "onnx/model.onnx": b"onnx", "README.md": b"# Tiny"}
    assert (tmp_path / "out/onnx/model.onnx").stat().st_mode & 0o7777 == 0o755
    extract(CAR, storage.layout, tmp_path / "some", patterns=["onnx"])
    assert below(tmp_path / "some") == {"onnx/model.onnx": b"onnx"}
    assert not verify_directory(CAR, storage.layout, tmp_path / "out").differs()
    with Session(storage.directory) as session:
        assert len(below(modfile.pull(str(CAR), session=session, local_files_only=True))) == 3


def test_a_modelcar_of_several_platforms_is_read_and_tells_what_it_knows(storage, tmp_path):
    entries = []
    for platform in ("linux/amd64", "linux/arm64", "linux/s390x"):
        maker = ImageMaker(storage.layout, docker=True).add(shell_layer()).add(MODEL)
        labels = {"org.opencontainers.image.title": "car", "org.opencontainers.image.version": "2", "odd": 5}
        maker_config = maker.write(platform, {"Labels": labels}, created="2026-01-02T03:04:05Z")
        entries.append(maker_config)
    entries.append(entries[0] | {"platform": {"os": "unknown", "architecture": "unknown"}})  # BuildKit's attestation
    index(storage.layout, str(CAR), *entries, docker=True)
    extract(CAR, storage.layout, tmp_path / "out")
    assert below(tmp_path / "out").keys() == {"config.json", "onnx/model.onnx"}
    said = inspect(CAR, storage.layout)
    assert (said["Name"], said["CreatedAt"]) == ("car", "2026-01-02T03:04:05Z")


def test_layers_that_are_there_twice_are_read_once(storage, tmp_path):
    maker = ImageMaker(storage.layout).add(tar_of(), "gzip").add(tar_of(), "gzip").add(MODEL)
    maker.write(reference=str(CAR))
    extract(CAR, storage.layout, tmp_path / "out")
    assert len(below(tmp_path / "out")) == 2


def test_an_image_without_a_model_is_an_error_and_no_directory_is_made(storage, tmp_path):
    car(storage)
    with pytest.raises(ContentError, match="the image has no file in /models, where a model would be"):
        extract(CAR, storage.layout, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.promise("W5")
@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (tar_of(entry("models", kind=tarfile.SYMTYPE, link="/etc")), "no directory, but the model would be in /models"),
        (tar_of(entry("./models", b"file")), "no directory, but the model would be in /models"),
        (tar_of(entry("models/link", kind=tarfile.SYMTYPE, link="/etc/passwd")), "models/link is a symbolic link"),
        (tar_of(entry("models/link", kind=tarfile.LNKTYPE, link="etc/passwd")), "models/link is a hard link"),
        (tar_of(entry("models/pipe", kind=tarfile.FIFOTYPE)), "models/pipe is a FIFO"),
        (tar_of(entry("models/.wh.config.json")), "takes away files of /models"),
        (tar_of(entry("models/.wh..wh..opq")), "takes away files of /models"),
        (tar_of(entry(".wh.models")), "takes away files of /models"),
        (tar_of(entry(".wh..wh..opq")), "takes away files of /models"),
        (tar_of(entry("models/../etc/passwd")), "has a '..' segment"),
        (tar_of(entry("etc/../models/x")), "has a '..' segment"),
        (tar_of(entry("/models/x", b"x")), "is absolute"),
        (tar_of(entry("models//x", b"x")), "empty"),
        (tar_of(entry("models/a\\b", b"x")), "backslash"),
        (tar_of(entry("models/x", b"1"), entry("models/X", b"2")), "differ only in case"),
        (tar_of(entry("models/config.json", b"other")), "config.json"),
        (tars.header(b"etc/sparse", b"S") + tars.END, "sparse"),
        (tars.header(b"etc/large", size=1 << 40) + tars.END, "may follow in the archive"),
        (tars.header(b"etc/negative", size=-512) + tars.END, "cannot have|broken"),
        (MODEL[:700], "cut off"),
        (b"no tar" * 200, "broken header"),
    ],
)
def test_a_layer_that_means_no_good_is_an_error_and_nothing_is_written(storage, tmp_path, layer, message):
    car(storage, MODEL, layer)
    with pytest.raises(ContentError, match=message):
        extract(CAR, storage.layout, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_what_is_elsewhere_in_an_image_is_passed_over_whatever_it_is(storage, tmp_path):
    odd = b"".join(
        [
            tars.header(b"dev/null", b"3"),
            tars.header(b"dev/sda", b"4"),
            tars.header(b"/absolute", b"2", link=b"/"),
            tars.header(b"etc/link", b"1", size=5000, link=b"bin/sh"),  # no bytes follow, whatever it says
            tars.header(b"etc/.wh.gone"),
            tars.header(b"modelsx/.wh.config.json"),
            tars.file(b"back\\slash", b"data"),
            tars.file(b"caf\xe9", b"not UTF-8"),
            tars.header(b"unknown", b"Z", size=600) + tars.padded(bytes(600)),
            tars.header(b"opt/models", b"2", link=b"/models"),
            tars.file(b"models/real", b"real"),
            tars.END,
        ]
    )
    car(storage, odd)
    extract(CAR, storage.layout, tmp_path / "out")
    assert below(tmp_path / "out") == {"real": b"real"}


@pytest.mark.promise("W6")
def test_a_bomb_in_an_image_stops_early(storage, tmp_path):
    header = tars.header(b"models/zeros", size=1 << 33)
    data = tars.zeros(64 << 20, "gzip", header)
    maker = ImageMaker(storage.layout).add(b"")
    content = storage.layout.add_bytes(data, "application/vnd.oci.image.layer.v1.tar+gzip")
    maker.layers, maker.diff_ids = [content], [str(content.digest)]
    maker.write(reference=str(CAR))
    with pytest.raises(ContentError, match="may follow in the archive"):
        extract(CAR, storage.layout, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_whatever_bytes_a_layer_has_only_files_of_the_model_come_of_it(data):
    whole = bytearray(MODEL_AND_SHELL)
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ContentError):
        for member, reader in walk(BytesReader(bytes(whole)), "", len(whole), "models"):
            assert member.path.startswith("models/")
            assert len(reader.read()) == member.size


# Annotations that lie


def own_layer(data, **annotations):
    """Return a layer of a ModelPack artifact that says it has a prefix."""
    media_type = "application/vnd.cncf.model.weight.v1.tar"
    return Descriptor(media_type, Digest.of(data), len(data), {PREFIX_ANNOTATION: "models"} | annotations)


def unpacked(layer, data):
    return {path: reader.read() for path, _, reader in unpack(Layer.parse(layer), BytesReader(data), 1 << 30)}


def test_a_prefix_is_taken_off(storage):
    data = tar_of(directory("models"), entry("models/a", b"1"), entry("models/b/c", b"2"))
    assert unpacked(own_layer(data), data) == {"a": b"1", "b/c": b"2"}


@pytest.mark.promise("W1")
@pytest.mark.parametrize(
    "prefix", ["", "/", "/models", "..", "models/..", "../models", "a//b", ".", "a\0b", "C:/x", "m\\n"]
)
def test_a_prefix_that_is_no_safe_path_is_refused(prefix):
    data = tar_of(entry("models/a", b"1"))
    with pytest.raises(ContentError, match=r"dev\.modfile\.prefix"):
        unpacked(own_layer(data, **{PREFIX_ANNOTATION: prefix}), data)


@pytest.mark.parametrize("name", ["a", "modelsx/a", "model/a", "models2", "etc/passwd"])
def test_a_file_outside_of_the_prefix_is_an_error(name):
    data = tar_of(entry("models/a", b"1"), entry(name, b"2"))
    with pytest.raises(ContentError, match="but says that its files are in models"):
        unpacked(own_layer(data), data)


def test_a_path_that_is_safe_only_with_its_prefix_is_refused():
    data = tar_of(entry("models/.modfile-partial/x", b"1"))
    with pytest.raises(ContentError, match=r"\.modfile-partial"):
        unpacked(own_layer(data), data)


def test_a_list_of_files_that_does_not_fit_is_refused():
    data = tar_of(entry("models/a", b"1"))
    listing = {"files": [{"path": "models/a", "size": 1, "sha256": Digest.of(b"1").hex}]}
    with pytest.raises(ContentError, match="where it lists models/a"):
        unpacked(own_layer(data, **{ANNOTATION: json.dumps(listing)}), data)


@pytest.mark.parametrize(
    "told",
    [
        "application/vnd.cncf.model.weight.v1.raw",
        "application/vnd.cncf.model.weight.v1.tar+gzip",
        "application/x-thing",
        "",
    ],
)
def test_a_layer_of_an_image_that_says_it_is_something_else_is_refused(storage, built, tmp_path, told):
    first, *others = built.image.image.manifest.layers
    lying = dataclasses.replace(first, annotations={**first.annotations, "dev.modfile.mediatype": told})
    manifest = dataclasses.replace(built.image.image.manifest, layers=(lying, *others))
    storage.layout.tag(storage.layout.add_bytes(manifest.to_bytes(), manifest.media_type), CAR)
    with pytest.raises(ContentError, match=r"cannot be|not known"):
        extract(CAR, storage.layout, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert inspect(CAR, storage.layout)["Layers"][0]["MediaType"] == first.media_type  # inspect shows it all the same


def test_a_layer_of_an_image_without_a_prefix_is_refused(storage, built):
    first = built.image.image.manifest.layers[0]
    annotations = {key: value for key, value in first.annotations.items() if key != PREFIX_ANNOTATION}
    manifest = dataclasses.replace(
        built.image.image.manifest, layers=(dataclasses.replace(first, annotations=annotations),)
    )
    with pytest.raises(ContentError, match="as well"):
        layers_of(manifest, b"{}")


@pytest.mark.parametrize("label", ["../etc", "/", "a/../b"])
def test_a_label_that_says_an_unsafe_prefix_is_refused(storage, tmp_path, label):
    car(storage, MODEL, inner={"Labels": {PREFIX_ANNOTATION: label}})
    with pytest.raises(ContentError, match="path"):
        extract(CAR, storage.layout, tmp_path / "out")


# Which manifest of an index


def entries(*platforms):
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [
                {
                    "mediaType": "application/vnd.oci.image.manifest.v1+json",
                    "digest": f"sha256:{number:064x}",
                    "size": 5,
                    **({"platform": platform} if platform is not None else {}),
                }
                for number, platform in enumerate(platforms)
            ],
        }
    ).encode()


class Indexed:
    """A source of an index, and of manifests that cannot be read: which one is asked for is what is looked at."""

    def __init__(self, data):
        self.data = data

    def open(self, content, start=0):
        if content.media_type == OCI_INDEX:
            return nullcontext(BytesReader(self.data))
        raise NotFoundError(f"asked for {int(content.digest.hex, 16)}")


def chosen(*platforms):
    data = entries(*platforms)
    root = Descriptor(OCI_INDEX, Digest.of(data), len(data))
    with pytest.raises(NotFoundError) as caught:
        manifest_of(root, Indexed(data), "many:v1", Platform("linux", "arm64"))
    return int(str(caught.value).removeprefix("asked for "))


AMD, ARM = {"os": "linux", "architecture": "amd64"}, {"os": "linux", "architecture": "arm64", "variant": "v8"}
UNKNOWN = {"os": "unknown", "architecture": "unknown"}


@pytest.mark.parametrize(
    ("platforms", "which"),
    [
        ([AMD, ARM], 1),
        ([ARM, AMD], 0),
        ([UNKNOWN, AMD], 1),
        ([AMD, UNKNOWN], 0),
        ([None], 0),
        ([{"os": "windows", "architecture": "arm64"}, AMD], 0),
        ([AMD, {"os": 5}], 0),
    ],
)
def test_of_an_index_the_manifest_for_the_platform_is_read_or_else_the_first(platforms, which):
    assert chosen(*platforms) == which


@pytest.mark.parametrize("platforms", [[], [None, None], [UNKNOWN], [AMD, None]])
def test_an_index_of_other_things_is_an_error(platforms):
    here = Platform("linux", "riscv64")
    data = entries(*platforms)
    with pytest.raises(ContentError, match=r"many:v1 is an index (of several manifests|that lists no manifest)"):
        manifest_of(Descriptor(OCI_INDEX, Digest.of(data), len(data)), Indexed(data), "many:v1", here)


def test_platforms_are_read_and_written():
    assert Platform.parse("linux/arm64/v8").to_json() == ARM | {"architecture": "arm64"}
    assert str(Platform.of(ARM)) == "linux/arm64/v8"
    assert Platform.of(ARM).fits(Platform.parse("linux/arm64"))
    assert not Platform.parse("linux/arm64").fits(Platform.of(ARM))
    assert [entry.platform and str(entry.platform) for entry in entries_of(entries(AMD, None))] == ["linux/amd64", None]


def test_labels_tell_all_that_a_config_says():
    said = {
        "descriptor": {"name": "tiny", "authors": ["a", "b"], "createdAt": "2026-01-01T00:00:00Z"},
        "config": {"paramSize": "8b", "capabilities": {"reasoning": True, "languages": ["en"]}},
    }
    assert facts_from(labels_of(said)) == said


def test_labels_that_make_no_sense_are_left_out():
    labels = {
        "dev.modfile.config.x+json": "{",
        "dev.modfile.config.": "x",
        "dev.modfile.other.y": "y",
        "dev.modfile.config.z": "z",
    }
    assert facts_from(labels) == {"descriptor": {}, "config": {"z": "z"}}


def test_a_manifest_that_says_it_is_an_artifact_is_no_image():
    manifest = Manifest.parse(
        json.dumps(
            {
                "schemaVersion": 2,
                "artifactType": "application/x-chart",
                "config": {
                    "mediaType": "application/vnd.oci.image.config.v1+json",
                    "digest": f"sha256:{0:064x}",
                    "size": 2,
                },
                "layers": [],
            }
        ).encode()
    )
    with pytest.raises(ContentError, match="not a ModelPack artifact"):
        layers_of(manifest)
