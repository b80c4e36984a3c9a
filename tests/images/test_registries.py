"""Images that go to registries: no byte twice, listed as what refers to the artifact, read from there by others."""

import json

import pytest

import modfile
from modfile import modelfile
from modfile.content import Digest
from modfile.errors import NotFoundError
from modfile.images import ImageBase, Platform
from modfile.packer import Stamp
from modfile.progress import Outcome
from modfile.reference import Reference
from modfile.registry import Registry
from modfile.storage import Storage
from modfile.verbs.build import Builder
from modfile.verbs.extract import extract
from modfile.verbs.image import ImageSettings, find_image_base
from modfile.verbs.pull import pull
from modfile.verbs.push import push
from modfile.workspace import Workspace
from tests.images.makers import SHELL, ImageMaker, entry, run, shell_image, shell_layer, tar_of, unpacked_layout
from tests.registry.reach import Credentials, repository, settings
from tests.verbs.test_build import NOW

REPRODUCIBLE = Stamp.of(NOW, no_creation_time=True)
BOTH = ImageSettings(beside_artifact=True)
FILES = {"README.md", "config.json", "data/train.csv", "model.safetensors", "run.py"}


@pytest.fixture
def name(unused_name):
    return f"images/{unused_name}"


def build(target, directory, reference, image=BOTH, **settings):
    builder = Builder(target, REPRODUCIBLE, image=image, **settings)
    return builder.build(Workspace(directory), modelfile.load(directory / "Modelfile"), [reference])


def names(host, name):
    return Reference.parse(f"{host}/{name}:v1"), Reference.parse(f"{host}/{name}:v1-image")


def below(directory):
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def uploaded(fake):
    """Return the digests that were uploaded, in the order in which they were."""
    return [seen.query["digest"] for seen in fake.requests("PUT", "/blobs/uploads/")]


def bytes_sent(fake):
    return sum(len(seen.body) for method in ("PATCH", "PUT", "POST") for seen in fake.requests(method, "/blobs/"))


def test_of_both_each_blob_is_uploaded_once(fake, model):
    target = repository(fake.host, "llm/tiny")
    artifact = names(fake.host, "llm/tiny")[0]
    built = build(target, model, artifact)
    blobs = {str(one.digest): one.size for one in (*built.manifest.layers, built.manifest.config)}
    configs = {str(one.digest): one.size for one in built.image.image.documents if ".config." in one.media_type}
    assert len(configs) == 2
    assert sorted(uploaded(fake)) == sorted(blobs | configs)
    assert bytes_sent(fake) == sum((blobs | configs).values())
    assert built.tally.bytes(Outcome.MOVED) == bytes_sent(fake)
    assert fake.manifests["v1"][1] == fake.manifests[str(built.content.digest)][1]
    assert fake.manifests["v1-image"][1] == fake.manifests[str(built.image.content.digest)][1]
    before = len(fake.seen)
    build(target, model, artifact)
    assert not [seen for seen in fake.seen[before:] if "/blobs/uploads/" in seen.path]


def test_what_is_pushed_from_the_local_store_is_uploaded_once(fake, storage, model):
    artifact, image = names(fake.host, "llm/tiny")
    build(storage.layout, model, artifact)
    target = repository(fake.host, "llm/tiny")
    push(artifact, storage.layout, target)
    done = push(image, storage.layout, target)
    assert len(uploaded(fake)) == len(set(uploaded(fake))) == 5 + 1 + 2
    assert (done.tally.pieces(Outcome.SKIPPED), done.tally.pieces(Outcome.MOVED)) == (5, 2)


def test_a_build_into_a_registry_gives_what_a_build_here_gives(registry, storage, model, name):
    artifact = names(registry.host, name)[0]
    here = build(storage.layout, model, artifact)
    there = build(repository(registry.host, name), model, artifact)
    assert (there.content, there.image.content) == (here.content, here.image.content)


@pytest.mark.parametrize("straight", [True, False])
def test_the_registry_lists_the_image_as_what_refers_to_the_artifact(registry, storage, model, name, straight):
    artifact, image = names(registry.host, name)
    target = repository(registry.host, name)
    built = build(target if straight else storage.layout, model, artifact)
    if not straight:
        push(artifact, storage.layout, target)
        push(image, storage.layout, target)
    assert [one.digest for one in target.referrers.list(built.content.digest)] == [built.image.content.digest]
    assert target.resolve(image).digest == built.image.content.digest


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_skopeo_brings_an_image_from_a_registry_and_umoci_unpacks_it(registry, model, name, tmp_path, architecture):
    artifact, image = names(registry.host, name)
    built = build(repository(registry.host, name), model, artifact)
    raw = run("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{image}")
    assert Digest.of(raw.encode()) == built.image.content.digest
    said = json.loads(
        run("skopeo", f"--override-arch={architecture}", "inspect", "--tls-verify=false", f"docker://{image}")
    )
    assert (said["Os"], said["Architecture"]) == ("linux", architecture)
    assert said["Layers"] == [str(layer.digest) for layer in built.manifest.layers]
    assert said["Labels"]["dev.modfile.descriptor.name"] == "tiny"
    copy = tmp_path / "copy"
    run(
        "skopeo", f"--override-arch={architecture}", "copy", "-q", "--src-tls-verify=false",
        f"docker://{image}", f"oci:{copy}:t",
    )  # fmt: skip
    found = unpacked_layout(copy, tmp_path)
    assert {path: data for path, (_, data) in found.items() if data is not None} == {
        f"models/{path}": (model / path).read_bytes() for path in FILES
    }
    run("skopeo", "copy", "-q", "--all", "--src-tls-verify=false", f"docker://{image}", f"oci:{tmp_path / 'all'}:t")


def test_an_image_is_pulled_whole_and_extracted_from_afar(registry, storage, model, name, tmp_path):
    artifact, image = names(registry.host, name)
    origin = repository(registry.host, name)
    built = build(origin, model, artifact)
    extract(image, origin, tmp_path / "afar", patterns=["data"])
    assert below(tmp_path / "afar").keys() == {"data/train.csv"}
    assert pull(image, origin, storage.layout).content == built.image.content
    extract(image, storage.layout, tmp_path / "near")
    assert below(tmp_path / "near") == {path: (model / path).read_bytes() for path in FILES}


def test_python_pulls_an_image_and_has_its_name_for_all_platforms(registry, model, name, tmp_path):
    artifact, image = names(registry.host, name)
    built = build(repository(registry.host, name), model, artifact)
    with modfile.Session(tmp_path / "home") as session:
        some = modfile.pull(str(image), allow_patterns="*.json", session=session)
        assert below(some).keys() == {"config.json"}
        path = modfile.pull(str(image), session=session)
        assert below(path) == {one: (model / one).read_bytes() for one in FILES}
        layout = session.storage.layout
        assert layout.resolve(image) == built.image.content
        assert all(layout.exists(content) for content in built.image.image.documents)
        assert modfile.inspect(str(image), session=session).family == "bert"


def test_modelcars_of_other_tools_are_extracted_from_a_registry(docker_registry, storage, model, name, tmp_path):
    car = Reference.parse(f"{docker_registry.host}/{name}:v1")
    maker = ImageMaker(storage.layout)
    maker.add(shell_layer(), "gzip").add(tar_of(entry("models/config.json", b"{}")), "gzip").write(reference="car:v1")
    run(
        "skopeo", "copy", "-q", "--format=v2s2", "--dest-tls-verify=false",
        f"oci:{storage.layout.root}:car:v1", f"docker://{car}",
    )  # fmt: skip
    extract(car, repository(docker_registry.host, name), tmp_path / "out")
    assert below(tmp_path / "out") == {"config.json": b"{}"}


# A base in a registry


def send(storage, host, name):
    """Put an image with a shell into a repository; return its reference."""
    reference = Reference.parse(f"{host}/{name}:v1")
    shell_image(storage.layout, str(reference))
    push(reference, storage.layout, repository(host, name))
    return reference


def test_a_base_in_the_same_registry_is_mounted(registry, storage, model, name, tmp_path):
    shell = send(storage, registry.host, f"{name}-base")
    base = find_image_base(shell, None, lambda one: repository(one.host, one.repository), BOTH.platforms)
    target = mounting(registry.host, name, f"{name}-base")
    artifact, image = names(registry.host, name)
    built = build(target, model, artifact, ImageSettings(True, base=base))
    assert built.tally.pieces(Outcome.MOUNTED) == 3  # the shell, which both platforms have, and what each has alone
    manifest = built.image.image.manifest
    assert manifest.annotations["org.opencontainers.image.base.name"] == str(shell)
    assert target.resolve(image) == built.image.content
    run("skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{image}", f"oci:{tmp_path / 'copy'}:t")
    assert unpacked_layout(tmp_path / "copy", tmp_path)["bin/busybox"][1] == SHELL


def mounting(host, name, other):
    return Registry(host, settings(), Credentials(None), mounts=lambda digest: (other,)).repository(name)


def test_a_base_in_another_registry_is_copied_as_it_is(fake, other_fake, storage, model):
    shell = send(storage, other_fake.host, "library/shell")
    base = find_image_base(shell, None, lambda one: repository(one.host, one.repository), BOTH.platforms)
    built = build(
        repository(fake.host, "llm/tiny"), model, names(fake.host, "llm/tiny")[0], ImageSettings(True, base=base)
    )
    assert len(uploaded(fake)) == len(set(uploaded(fake))) == 5 + 1 + 2 + 3
    for layer in base.layers:
        assert fake.blobs[str(layer.digest)] == other_fake.blobs[str(layer.digest)]
    assert {layer.digest for layer in base.layers} > {layer.digest for layer in built.image.image.manifest.layers[:2]}


def test_a_base_of_a_registry_comes_to_the_local_store_with_the_image(fake, other_fake, storage, model, tmp_path):
    shell = send(storage, fake.host, "library/shell")
    here = Storage(tmp_path / "here")
    base = find_image_base(shell, here.layout, lambda one: repository(one.host, one.repository), BOTH.platforms)
    artifact, image = names("r.io", "llm/tiny")
    build(here.layout, model, artifact, ImageSettings(True, base=base))
    here.close()
    push(image, here.layout, repository(other_fake.host, "llm/tiny"))
    assert len(uploaded(other_fake)) == 5 + 2 + 3


def test_a_base_that_lacks_a_layer_leaves_no_tag(fake, other_fake, storage, model):
    shell = send(storage, other_fake.host, "library/shell")
    base = ImageBase.read(
        repository(other_fake.host, "library/shell").resolve(shell),
        repository(other_fake.host, "library/shell"),
        str(shell),
        (Platform("linux", "amd64"),),
    )
    del other_fake.blobs[str(base.layers[0].digest)]
    image = ImageSettings(True, platforms=(Platform("linux", "amd64"),), base=base)
    with pytest.raises(NotFoundError):
        build(repository(fake.host, "llm/tiny"), model, names(fake.host, "llm/tiny")[0], image)
    assert not {"v1", "v1-image"} & fake.manifests.keys()
