"""`modfile import --format image|both`: tars that are sent while they are read, and read once."""

from __future__ import annotations

import json
import subprocess
import tarfile

import pytest

from modfile.content import Digest
from modfile.digestcache import DigestCache
from modfile.errors import VerificationError
from modfile.importing.bringing import Nearby
from modfile.layout import Layout
from modfile.manifest import Manifest
from modfile.reference import Reference
from modfile.registry import Registry
from modfile.store import read
from modfile.verbs.extract import extract
from modfile.verbs.image import ImageSettings
from tests.registries.fake import Answer
from tests.registry.reach import Credentials, reference, settings

from .origins import MemoryOrigin
from .test_command import BIG, REPO, SECOND, name, resolve, there
from .test_importing import Cache, tags

__all__ = ["name", "there"]

BOTH, IMAGE = ImageSettings(beside_artifact=True), ImageSettings()
WINDOWS = 2 * 65536


@pytest.fixture(params=["fake", "layout"])
def target(request):
    """A repository of a registry, and the local store."""
    if request.param == "layout":
        return request.getfixturevalue("layout")
    host = request.getfixturevalue("fake").host
    return Registry(host, settings(chunk_size=1 << 20), Credentials(None)).repository("org/model")


@pytest.fixture
def tiny(target) -> Reference:
    return Reference.parse("r.example/org/model:v1") if isinstance(target, Layout) else reference(target)


@pytest.fixture
def cache(tmp_path):
    one = DigestCache(tmp_path / "cache.db")
    yield one
    one.close()


@pytest.mark.parametrize("image", [BOTH, IMAGE])
def test_each_byte_is_given_once_and_the_files_are_right(importer, target, tiny, origin, files, image, tmp_path):
    done = importer(target, image=image).bring(origin, [tiny])
    for path in (BIG, SECOND):
        assert len(files[path]) <= origin.bytes_of(path) <= len(files[path]) + 65536
    extract(tiny, target, tmp_path / "out")
    for path in (BIG, SECOND, "config.json", "README.md"):
        assert (tmp_path / "out" / path).read_bytes() == files[path]
    if image.beside_artifact:
        assert target.resolve(image.names([tiny])[0]).digest == done.image.digest


def test_both_are_of_one_set_of_blobs(importer, fake, origin, files):
    repository = Registry(fake.host, settings(), Credentials(None)).repository("org/model")
    done = importer(repository, image=BOTH).bring(origin, [reference(repository)])
    sent = sum(len(seen.body) for seen in fake.seen if "/blobs/uploads/" in seen.path)
    assert sent < sum(map(len, files.values())) + 20_000
    index = json.loads(fake.manifests["v1-image"][1])
    assert index["subject"]["digest"] == str(done.content.digest)


def test_the_local_store_and_a_registry_get_the_same_digests(importer, fake, layout, files):
    repository = Registry(fake.host, settings(), Credentials(None)).repository("org/model")
    far = importer(repository, image=BOTH).bring(MemoryOrigin(files), [reference(repository)])
    near = importer(layout, image=BOTH).bring(MemoryOrigin(files), [Reference.parse("r.example/a:b")])
    assert (far.content.digest, far.image.digest) == (near.content.digest, near.image.digest)


@pytest.mark.parametrize("image", [BOTH, IMAGE])
def test_an_unchanged_revision_reads_nothing(importer, target, tiny, origin, image):
    first = importer(target, image=image).bring(origin, [tiny])
    origin.given.clear()
    again = importer(target, image=image).bring(origin, [tiny])
    assert again.unchanged
    assert origin.given == []
    assert again.content.digest == first.content.digest
    assert (again.image and again.image.digest) == (first.image and first.image.digest)


def test_another_form_of_the_same_files_is_another_import(importer, target, tiny, origin):
    importer(target).bring(origin, [tiny])
    for image in (BOTH, IMAGE, ImageSettings(prefix="other")):
        done = importer(target, image=image).bring(origin, [tiny])
        assert not done.unchanged


def test_a_new_revision_reads_no_weights_that_were_packed_before(importer, target, tiny, files, cache):
    importer(target, image=BOTH, cache=cache).bring(MemoryOrigin(files), [tiny])
    origin = MemoryOrigin(files | {"README.md": b"# Another\n"}, revision="f" * 40)
    importer(target, image=BOTH, cache=cache).bring(origin, [tiny])
    assert origin.bytes_of(BIG) + origin.bytes_of(SECOND) <= WINDOWS


def test_a_stream_that_breaks_off_goes_on_in_the_middle_of_a_file(importer, target, tiny, origin, files, tmp_path):
    origin.cuts[BIG] = [65536, 100_000, 1_000_000]
    importer(target, image=BOTH).bring(origin, [tiny])
    extract(tiny, target, tmp_path / "out")
    assert (tmp_path / "out" / BIG).read_bytes() == files[BIG]
    assert origin.bytes_of(BIG) <= len(files[BIG]) + WINDOWS


def test_a_registry_that_hangs_up_is_sent_the_chunk_again(importer, fake, origin, files, tmp_path):
    repository = Registry(fake.host, settings(chunk_size=1 << 20), Credentials(None)).repository("org/model")
    fake.on("PATCH", "", Answer(503), Answer(500), Answer(503))
    importer(repository, image=BOTH).bring(origin, [reference(repository)])
    extract(reference(repository), repository, tmp_path / "out")
    for path in (BIG, SECOND):
        assert (tmp_path / "out" / path).read_bytes() == files[path]
        assert origin.bytes_of(path) <= len(files[path]) + 3 * (5 << 20)


@pytest.mark.promise("O2")
@pytest.mark.parametrize("fault", ["short", "long", "other"])
def test_wrong_bytes_are_named_and_nothing_is_tagged(importer, target, tiny, origin, files, fault):
    data = files[BIG]
    origin.wrong[BIG] = {"short": data[:-1], "long": data + b"!", "other": data[:-1] + bytes([data[-1] ^ 1])}[fault]
    with pytest.raises(VerificationError, match=BIG):
        importer(target, image=BOTH).bring(origin, [tiny])
    assert not tags(target, tiny)


def test_a_nearby_copy_is_taken_and_a_damaged_one_passed_over(importer, target, tiny, origin, files, tmp_path):
    near = Cache(files[BIG])
    near.contents[Digest.of(files[SECOND])] = files[SECOND][:-1] + bytes([files[SECOND][-1] ^ 1])
    done = importer(target, image=BOTH, nearby=[Nearby("the cache", near)]).bring(origin, [tiny])
    assert origin.bytes_of(BIG) <= 65536
    assert origin.bytes_of(SECOND) >= len(files[SECOND])
    assert [warning for warning in done.warnings if "the cache" in warning and SECOND in warning]
    extract(tiny, target, tmp_path / "out")
    for path in (BIG, SECOND):
        assert (tmp_path / "out" / path).read_bytes() == files[path]


def test_files_may_share_layers(importer, target, tiny, tmp_path):
    files = {f"part-{at:02}.json": b'{"at": %d}' % at for at in range(30)}
    done = importer(target, image=BOTH, max_layers=4).bring(MemoryOrigin(files), [tiny])
    assert len(done.manifest.layers) <= 4
    extract(tiny, target, tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == files


def test_empty_files_are_there(importer, target, tiny, tmp_path):
    files = {"empty.json": b"", "config.json": b"{}"}
    importer(target, image=BOTH).bring(MemoryOrigin(files, lfs_above=-1), [tiny])
    extract(tiny, target, tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == files


# The command, a real registry, and other people's tools


def test_skopeo_and_umoci_find_the_files_in_the_image(modfile, there, hub, name, files, tmp_path):
    done = modfile("import", f"hf://{REPO}", "-t", f"{name}:v1", "--format", "both")
    first, second = done.stdout.splitlines()
    assert first == f"{name}:v1@{resolve(f'{name}:v1')[1]}"
    assert second.startswith(f"{name}:v1-image@sha256:")
    assert hub.bytes_of(BIG) <= len(files[BIG]) + 65536
    layout = tmp_path / "oci"
    skopeo = ["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{name}:v1-image", f"oci:{layout}:t"]
    subprocess.run(skopeo, check=True, capture_output=True, timeout=60)
    bundle = tmp_path / "bundle"
    umoci = ["umoci", "unpack", "--rootless", "--image", f"{layout}:t", str(bundle)]
    subprocess.run(umoci, check=True, capture_output=True, timeout=60)
    for path in (BIG, SECOND, "config.json", "README.md"):
        assert (bundle / "rootfs" / "models" / path).read_bytes() == files[path]


def test_our_own_registry_takes_what_is_named_in_the_end(modfile, there, served_registry, files, tmp_path):
    name = f"{served_registry.host}/imports/images:v1"
    modfile("import", f"hf://{REPO}", "-t", name, "--format", "both")
    for tag in (name, f"{name}-image"):
        modfile("fetch", tag, "-o", tmp_path / tag[-5:], "--patterns", "**")
        assert (tmp_path / tag[-5:] / BIG).read_bytes() == files[BIG]


def test_format_image_is_the_image_alone(modfile, there, hub, name, files, tmp_path):
    done = modfile("import", f"hf://{REPO}", "-t", f"{name}:v1", "--format", "image", "--image-prefix", "/weights")
    assert len(done.stdout.splitlines()) == 1
    modfile("fetch", f"{name}:v1", "-o", tmp_path / "out", "--patterns", "**")
    assert (tmp_path / "out" / BIG).read_bytes() == files[BIG]
    hub.forget()
    again = modfile("import", f"hf://{REPO}", "-t", f"{name}:v1", "--format", "image", "--image-prefix", "/weights")
    assert again.stdout == done.stdout
    assert hub.bytes_given == 0
    said = json.loads(
        modfile("import", f"hf://{REPO}", "-t", f"{name}:v2", "--format", "both", "--dry-run", "--json").stdout
    )
    assert {one["How"] for one in said["Files"]} == {"read"}


def test_a_layer_is_a_tar_that_python_reads(modfile, there, tmp_path, files):
    modfile("import", f"hf://{REPO}", "-t", "tiny:v1", "--local", "--format", "both")
    layout = Layout(tmp_path / "storage" / "store")
    found = Manifest.parse(read(layout, layout.resolve(Reference.parse("tiny:v1")), 1 << 22))
    layer = next(one for one in found.layers if one.annotations["org.cncf.model.filepath"] == BIG)
    with tarfile.open(layout.blob_path(layer.digest)) as tar:
        assert tar.getnames() == ["models", f"models/{BIG}"]
        assert tar.extractfile(f"models/{BIG}").read() == files[BIG]


def test_options_of_an_image_need_one(modfile, there):
    failed = modfile("import", f"hf://{REPO}", "-t", "tiny:v1", "--local", "--image-tag", "x", exit_code=2)
    assert "--format" in failed.stderr
