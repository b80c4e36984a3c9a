"""`modfile.verbs.importing`, with an origin in memory, into a registry and into the local store."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import pytest

from modfile import modelconfig
from modfile.content import Descriptor, Digest
from modfile.errors import (
    AccessDeniedError,
    ContentError,
    InvalidReferenceError,
    ModfileError,
    NotFoundError,
    OriginError,
    UsageError,
    VerificationError,
    WorkspaceError,
)
from modfile.importing.bringing import Nearby
from modfile.importing.choice import Choice, name_for
from modfile.layout import Layout
from modfile.manifest import Manifest
from modfile.modelpack import layers_of
from modfile.origins.origin import Listing
from modfile.progress import SILENT
from modfile.reference import Reference
from modfile.store import BytesReader, InMemory, Nameless, read
from modfile.verbs.extract import extract
from tests.registries.fake import Answer
from tests.registry.reach import reference, repository

from .conftest import weights
from .origins import COMMIT, URL, MemoryOrigin

BIG, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
HEADERS = 2 * 65536


@pytest.fixture(params=["fake", "layout"])
def target(request, tmp_path):
    """A repository of a registry, and the local store."""
    if request.param == "layout":
        return request.getfixturevalue("layout")
    return repository(request.getfixturevalue("fake").host)


@pytest.fixture
def tiny(target) -> Reference:
    """A name in the target."""
    return Reference.parse("r.example/org/model:v1") if isinstance(target, Layout) else reference(target)


def paths(imported) -> list[str]:
    return [layer.path for layer in layers_of(imported.manifest)]


def tags(target, name) -> bool:
    try:
        target.resolve(name)
    except NotFoundError:
        return False
    return True


# What is made


def test_every_file_is_a_raw_layer_named_by_its_own_sha256(importer, target, tiny, origin, files):
    done = importer(target).bring(origin, [tiny])
    assert paths(done) == ["config.json", BIG, SECOND, "README.md"]
    for layer in done.manifest.layers:
        path = layer.annotations["org.cncf.model.filepath"]
        assert layer.digest == Digest.of(files[path])
        assert layer.media_type.endswith(".raw")
        assert target.exists(layer)
    assert target.resolve(tiny).digest == done.content.digest


def test_what_was_imported_is_extracted_as_it_was(importer, target, tiny, origin, files, tmp_path):
    importer(target).bring(origin, [tiny])
    extract(tiny, target, tmp_path / "out")
    for path in (BIG, SECOND, "config.json", "README.md"):
        assert (tmp_path / "out" / path).read_bytes() == files[path]
    assert not (tmp_path / "out" / ".gitattributes").exists()


def test_source_revision_license_and_base_model_are_in_config_and_annotations(importer, target, tiny, files):
    origin = MemoryOrigin(files, licenses=("apache-2.0",), base_models=("acme/big",))
    done = importer(target).bring(origin, [tiny])
    said = modelconfig.parse(read(target, done.manifest.config, 1 << 20))["descriptor"]
    assert (said["sourceURL"], said["revision"], said["licenses"]) == (URL, COMMIT, ["mit"])  # the card counts for more
    told = done.manifest.annotations
    assert told["org.opencontainers.image.source"] == URL
    assert told["org.opencontainers.image.revision"] == COMMIT
    assert told["org.opencontainers.image.licenses"] == "mit"
    assert told["co.huggingface.base_model"] == "acme/big"


def test_a_license_that_only_the_origin_names_is_said(importer, target, tiny, files):
    del files["README.md"]
    done = importer(target).bring(MemoryOrigin(files, licenses=("apache-2.0", "llama3")), [tiny])
    said = modelconfig.parse(read(target, done.manifest.config, 1 << 20))["descriptor"]
    assert said["licenses"] == ["apache-2.0", "LicenseRef-llama3"]


def test_weights_are_described_by_their_headers(importer, target, tiny, origin):
    done = importer(target).bring(origin, [tiny])
    said = modelconfig.parse(read(target, done.manifest.config, 1 << 20))
    assert said["config"]["format"] == "safetensors"
    assert said["config"]["paramSize"] == "2.5M"
    assert said["descriptor"]["name"] == "tiny"


def test_the_same_revision_gives_the_same_digest_wherever_and_whenever(importer, fake, layout, files, tmp_path):
    repo = repository(fake.host)
    digests = {
        importer(repo).bring(MemoryOrigin(files), [reference(repo)]).content.digest,
        importer(layout).bring(MemoryOrigin(files), [Reference.parse("r.example/a/b:c")]).content.digest,
        importer(Layout(tmp_path / "other"), concurrency=1)
        .bring(MemoryOrigin(files), [Reference.parse("r.example/d:e")])
        .content.digest,
    }
    assert len(digests) == 1


def test_times_owners_and_modes_are_nobodys(importer, target, tiny, origin):
    done = importer(target).bring(origin, [tiny])
    for layer in layers_of(done.manifest):
        assert (layer.metadata.mode, layer.metadata.uid, layer.metadata.gid, layer.metadata.mtime_ns) == (
            0o644,
            0,
            0,
            0,
        )
    assert "org.opencontainers.image.created" not in done.manifest.annotations
    assert "createdAt" not in modelconfig.parse(read(target, done.manifest.config, 1 << 20))["descriptor"]


@pytest.mark.promise("O3")
def test_a_modelfile_of_the_models_own_is_not_followed_and_that_is_said(importer, target, tiny, files):
    files["Modelfile"] = b"FROM evil.example/other:v1\n"
    done = importer(target).bring(MemoryOrigin(files), [tiny])
    assert "Modelfile" not in paths(done)
    assert any("Modelfile of the model is not followed" in warning for warning in done.warnings)


def test_more_files_than_layers_share_tars(importer, target, tiny, tmp_path):
    files = {f"part-{at:03}.json": b'{"at": %d}' % at for at in range(30)} | {"model.safetensors": weights(200_000)}
    done = importer(target, max_layers=5).bring(MemoryOrigin(files), [tiny])
    assert len(done.manifest.layers) == 5
    (warning,) = (warning for warning in done.warnings if "layers allowed" in warning)
    assert "--max-layers" not in warning  # an option of `build`
    extract(tiny, target, tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == files


# What is moved


def test_each_byte_of_weights_is_given_once_beside_the_headers(importer, target, tiny, origin, files):
    importer(target).bring(origin, [tiny])
    moved = origin.bytes_of(BIG) + origin.bytes_of(SECOND)
    assert moved <= len(files[BIG]) + len(files[SECOND]) + HEADERS
    for small in ("config.json", "README.md"):
        assert origin.bytes_of(small) == len(files[small])
    assert origin.bytes_of(".gitattributes") == 0


def test_the_same_bytes_under_two_names_are_given_once(importer, target, tiny):
    data = weights(2_000_000)
    origin = MemoryOrigin({"a.safetensors": data, "b/model.safetensors": data})
    done = importer(target, concurrency=4).bring(origin, [tiny])
    assert len(done.manifest.layers) == 2
    assert origin.bytes_of("a.safetensors") + origin.bytes_of("b/model.safetensors") <= len(data) + HEADERS


def test_what_the_registry_has_is_skipped_before_a_byte_is_downloaded(importer, target, tiny, origin, files):
    content = Descriptor("application/octet-stream", Digest.of(files[BIG]), len(files[BIG]))
    target.put(content, InMemory({content: files[BIG]}), SILENT)
    importer(target).bring(origin, [tiny])
    assert origin.bytes_of(BIG) <= 65536  # its header
    assert origin.bytes_of(SECOND) >= len(files[SECOND])


def test_a_blob_of_another_repository_is_mounted_and_not_downloaded(importer, docker_registry, origin, files, layout):
    from modfile.registry import Registry, RegistrySettings
    from tests.registry.reach import Credentials

    first = Registry(docker_registry.host, RegistrySettings(), Credentials(None)).repository("mounts/first")
    importer(first).bring(origin, [reference(first)])
    origin.given.clear()
    second = Registry(
        docker_registry.host, RegistrySettings(), Credentials(None), mounts=lambda digest: ["mounts/first"]
    ).repository("mounts/second")
    done = importer(second).bring(origin, [reference(second)])
    assert origin.bytes_of(BIG) <= 65536
    assert done.tally.to_json()["Mounted"]["Pieces"] >= 2


def test_an_unchanged_revision_asks_for_the_listing_and_the_manifest_only(importer, fake, origin):
    repo = repository(fake.host)
    first = importer(repo).bring(origin, [reference(repo)])
    origin.given.clear()
    fake.seen.clear()
    again = importer(repository(fake.host)).bring(origin, [reference(repo)])
    assert again.unchanged
    assert again.content.digest == first.content.digest
    assert origin.given == []
    assert {(one.method, one.path.rsplit("/", 2)[1]) for one in fake.seen} <= {
        ("GET", "v2"),
        ("GET", "manifests"),
        ("PUT", "manifests"),
    }


def test_an_unchanged_revision_is_known_by_the_tag_of_its_commit(importer, target, tiny, origin):
    first = importer(target).bring(origin, [replace(tiny, tag=COMMIT[:12])])
    origin.given.clear()
    again = importer(target).bring(origin, [tiny, replace(tiny, tag="latest")])
    assert again.unchanged
    assert origin.given == []
    assert target.resolve(tiny).digest == target.resolve(replace(tiny, tag="latest")).digest == first.content.digest


@pytest.mark.parametrize("change", ["revision", "url", "choice", "no revision", "number"])
def test_what_is_not_the_same_import_is_done(importer, target, tiny, files, change):
    before = {"no revision": "", "number": "3"}.get(change, COMMIT)
    importer(target).bring(MemoryOrigin(files, revision=before), [tiny])
    origin, choice = MemoryOrigin(files, revision=before), Choice()
    if change == "revision":
        origin = MemoryOrigin(files, revision="f" * 40)
    elif change == "url":
        origin = MemoryOrigin(files, url="https://hub.example/other/tiny")
    elif change == "choice":
        choice = Choice.parse((), ["README.md"])
    done = importer(target).bring(origin, [tiny], choice)
    assert not done.unchanged
    assert origin.bytes_of("config.json") > 0
    assert origin.bytes_of(BIG) <= 65536  # what is there is not moved again in any case


def test_a_version_whose_files_all_have_digests_is_known_again(importer, target, tiny, files):
    importer(target).bring(MemoryOrigin(files, revision="3", lfs_above=0), [tiny])
    origin = MemoryOrigin(files, revision="3", lfs_above=0)
    assert importer(target).bring(origin, [tiny]).unchanged
    assert origin.given == []


def test_a_tag_with_something_else_is_moved(importer, target, tiny, files, origin):
    importer(target).bring(MemoryOrigin({"config.json": b"{}"}, url="https://elsewhere.example/a"), [tiny])
    done = importer(target).bring(origin, [tiny])
    assert target.resolve(tiny).digest == done.content.digest


# Nearby copies


class Cache(Nameless):
    """Another program's cache, by digest."""

    def __init__(self, *contents: bytes, **claimed: bytes) -> None:
        self.contents = {Digest.of(data): data for data in contents}
        self.opened = 0

    def exists(self, content) -> bool:
        return content.digest in self.contents

    def open(self, content, start=0):
        from contextlib import nullcontext

        self.opened += 1
        return nullcontext(BytesReader(self.contents[content.digest], start))


def test_a_nearby_copy_is_taken_instead_of_a_download(importer, target, tiny, origin, files):
    cache = Cache(files[BIG])
    done = importer(target, nearby=[Nearby("the cache", cache)]).bring(origin, [tiny])
    assert origin.bytes_of(BIG) <= 65536
    assert cache.opened == 1
    assert not [warning for warning in done.warnings if "cache" in warning]


def test_a_damaged_nearby_copy_is_passed_over_with_a_warning(importer, target, tiny, origin, files, tmp_path):
    cache = Cache()
    cache.contents[Digest.of(files[BIG])] = files[BIG][:-1] + b"!"
    done = importer(target, nearby=[Nearby("the cache", cache)]).bring(origin, [tiny])
    assert any(BIG in warning and "the cache" in warning for warning in done.warnings)
    extract(tiny, target, tmp_path / "out")
    assert (tmp_path / "out" / BIG).read_bytes() == files[BIG]


# Which files


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        ((), (), ["config.json", BIG, SECOND, "README.md"]),
        ((), ("*.md",), ["config.json", BIG, SECOND]),
        (("*.json",), (), ["config.json"]),
        (("*.safetensors",), (SECOND,), [BIG]),
        ((".gitattributes", "config.json"), (), ["config.json", ".gitattributes"]),
    ],
)
def test_patterns_choose_before_anything_is_read(importer, target, tiny, origin, include, exclude, expected):
    done = importer(target).bring(origin, [tiny], Choice.parse(include, exclude))
    assert paths(done) == expected
    assert {one.path for one in origin.given} <= set(expected)


def test_a_directory_names_what_is_in_it():
    listing = Listing(
        MemoryOrigin({"onnx/a.json": b"1", "onnx/b/c.json": b"2", "d.json": b"3"}).listing().files, URL, "", "n"
    )
    assert [file.path for file in Choice.parse(["onnx"], ["onnx/b"]).of(listing)] == ["onnx/a.json"]


@pytest.mark.parametrize(("include", "exclude"), [(("*.gguf",), ()), ((), ("**",))])
def test_a_choice_of_nothing_is_an_error(importer, target, tiny, origin, include, exclude):
    with pytest.raises(NotFoundError, match=r"matches no file|no file of"):
        importer(target).bring(origin, [tiny], Choice.parse(include, exclude))
    assert not tags(target, tiny)


@pytest.mark.parametrize("name", ["-x.json", "a b.json", 'q".json', "[x].json", "#c.json", "${A}.json", "é.json"])
def test_strange_names_come_as_they_are(importer, target, tiny, name, tmp_path):
    files = {name: b"{}", "config.json": b"[]"}
    importer(target).bring(MemoryOrigin(files), [tiny])
    extract(tiny, target, tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == files


def test_a_name_with_a_line_feed_is_refused_and_can_be_left_out(importer, target, tiny):
    origin = MemoryOrigin({"a\nb.json": b"{}", "config.json": b"{}"})
    with pytest.raises(ContentError, match="line feed"):
        importer(target).bring(origin, [tiny])
    assert origin.given == []
    importer(target).bring(origin, [tiny], Choice.parse((), ["a*"]))


# Names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:5000/x", f"127.0.0.1:5000/x:{COMMIT[:12]}"),
        ("127.0.0.1:5000/x:v1", "127.0.0.1:5000/x:v1"),
        ("127.0.0.1:5000/x:latest", "127.0.0.1:5000/x:latest"),
        ("x", f"x:{COMMIT[:12]}"),
    ],
)
def test_the_tag_is_the_commits_first_twelve_characters_unless_it_is_said(text, expected, origin):
    assert str(name_for(text, origin.listing())) == expected


def test_a_name_with_a_digest_is_refused(origin):
    with pytest.raises(InvalidReferenceError, match="digest"):
        name_for("r.example/x@sha256:" + "0" * 64, origin.listing())


@pytest.mark.parametrize("revision", ["", "-strange", "@", "ü"])
def test_without_a_revision_that_can_be_a_tag_one_has_to_be_said(files, revision):
    listing = MemoryOrigin(files, revision=revision).listing()
    assert str(name_for("r.example/x:v1", listing)) == "r.example/x:v1"
    with pytest.raises(UsageError, match="-t"):
        name_for("r.example/x", listing)


# What goes wrong


def test_a_stream_that_breaks_off_goes_on_where_it_broke(importer, target, tiny, origin, files, tmp_path):
    origin.cuts[BIG] = [100_000, 1_000_000, 700_000]
    importer(target).bring(origin, [tiny])
    extract(tiny, target, tmp_path / "out")
    assert (tmp_path / "out" / BIG).read_bytes() == files[BIG]
    assert origin.bytes_of(BIG) <= len(files[BIG]) + HEADERS


def test_a_stream_that_breaks_again_and_again_is_an_error_that_names_the_file(importer, target, tiny, origin):
    origin.cuts[BIG] = [65536 + 1] + [0] * 50
    with pytest.raises(ModfileError, match=BIG):
        importer(target).bring(origin, [tiny])
    assert not tags(target, tiny)


@pytest.mark.promise("O2")
@pytest.mark.promise("G1")
@pytest.mark.parametrize(
    "error",
    [
        NotFoundError("404"),
        AccessDeniedError("gated"),
        OriginError("HTTP 503"),
        VerificationError("changed"),
    ],
)
@pytest.mark.parametrize("path", ["config.json", BIG])
def test_a_file_that_cannot_be_downloaded_is_named_and_nothing_is_tagged(importer, target, tiny, origin, error, path):
    origin.errors[path] = error
    with pytest.raises(type(error), match=path):
        importer(target).bring(origin, [tiny])
    assert not tags(target, tiny)


@pytest.mark.promise("O2")
@pytest.mark.promise("R3", "G1")
@pytest.mark.parametrize(
    ("path", "fault"),
    [(BIG, "short"), (BIG, "long"), (BIG, "other"), ("config.json", "short"), ("config.json", "long")],
)
def test_wrong_bytes_are_an_error_that_names_the_file(importer, target, tiny, origin, files, path, fault):
    data = files[path]
    origin.wrong[path] = {"short": data[:-1], "long": data + b"!", "other": data[:-1] + b"~"}[fault]
    with pytest.raises(VerificationError, match=path):
        importer(target).bring(origin, [tiny])
    assert not tags(target, tiny)
    content = Descriptor("application/octet-stream", Digest.of(origin.wrong[path]), len(origin.wrong[path]))
    assert not target.exists(content)


def test_with_keep_going_all_failures_are_told_and_the_rest_is_brought(importer, target, tiny, origin, files):
    origin.errors["README.md"] = NotFoundError("gone")
    origin.wrong[SECOND] = files[SECOND][:-1] + b"~"
    with pytest.raises(ModfileError) as failed:
        importer(target, keep_going=True).bring(origin, [tiny])
    assert type(failed.value) is ModfileError
    lines = str(failed.value).splitlines()
    assert lines[0] == "2 of 4 files could not be brought, so nothing is tagged:"
    assert "README.md" in lines[1]
    assert SECOND in lines[2]
    assert not tags(target, tiny)
    assert target.exists(Descriptor("application/octet-stream", Digest.of(files[BIG]), len(files[BIG])))


def test_with_keep_going_weights_whose_headers_cannot_be_read_are_told_once(importer, target, tiny, origin):
    origin.errors[BIG] = OriginError("HTTP 503")
    with pytest.raises(ModfileError) as failed:
        importer(target, keep_going=True).bring(origin, [tiny])
    assert str(failed.value).count(BIG) == 1
    assert str(failed.value).startswith("1 of 4")


def test_with_keep_going_and_nothing_wrong_all_is_as_without(importer, target, tiny, origin, files):
    kept = importer(target, keep_going=True).bring(origin, [tiny])
    assert kept.content.digest == importer(target).bring(MemoryOrigin(files), [tiny]).content.digest


def test_the_first_failure_stops_the_others(importer, target, tiny, files):
    """The large file's stream would never end."""
    going = threading.Event()

    class Endless(MemoryOrigin):
        def open(self, file, start=0, stop=None):
            if file.path == BIG and stop is None:
                going.set()
                from contextlib import nullcontext

                class Drip:
                    def readinto(self, buffer):
                        threading.Event().wait(0.01)
                        buffer[:1] = b"x"
                        return 1

                return nullcontext(Drip())
            if file.path == SECOND and stop is None:
                going.wait(20)
                raise OriginError("HTTP 503")
            return super().open(file, start, stop)

    with pytest.raises(OriginError, match=SECOND):
        importer(target, concurrency=2).bring(Endless(files), [tiny])
    assert not tags(target, tiny)


@pytest.mark.promise("C5")
def test_what_looks_like_a_secret_is_refused_before_anything_is_sent(importer, fake, origin, files):
    files[".env"] = b"HF_TOKEN=hf_abcdefghijKLMNOPQRSTUVWXyz0123456789\n"
    repo = repository(fake.host)
    choice = Choice.parse(["*", ".env"], ())
    with pytest.raises(WorkspaceError, match=r"\.env .*--exclude"):
        importer(repo).bring(MemoryOrigin(files), [reference(repo)], choice)
    assert fake.requests("POST") == []
    done = importer(repo, allow_secrets=[".env"]).bring(MemoryOrigin(files), [reference(repo)], choice)
    assert ".env" in paths(done)


@pytest.mark.promise("C6")
def test_pickles_are_warned_of(importer, target, tiny, files):
    import pickle

    files["weights.pkl"] = pickle.dumps(list(range(1000)))
    done = importer(target).bring(MemoryOrigin(files), [tiny])
    assert any("weights.pkl" in warning for warning in done.warnings)


def test_a_refusal_of_the_registry_names_the_file(importer, fake, origin):
    repo = repository(fake.host)
    fake.always("PUT", "/blobs/uploads/", Answer(400, body=b'{"errors":[{"code":"SIZE_INVALID","message":"no"}]}'))
    with pytest.raises(ModfileError, match=r"config\.json|README|safetensors"):
        importer(repo).bring(origin, [reference(repo)])
    assert fake.manifests == {}


def test_a_registry_that_fails_for_a_while_is_asked_again(importer, fake, origin, files):
    repo = repository(fake.host)
    fake.on("PUT", "/blobs/uploads/", Answer(503), Answer(429, {"Retry-After": "1"}), Answer(503))
    done = importer(repo).bring(origin, [reference(repo)])
    assert all(str(layer.digest) in fake.blobs for layer in done.manifest.layers)


def test_a_config_that_would_be_too_large_is_an_error(importer, target, tiny):
    origin = MemoryOrigin(
        {f"{at}.json": b"{}" for at in range(3)}, licenses=tuple(f"mit-{at:0900}" for at in range(1200))
    )
    with pytest.raises(ContentError, match="config"):
        importer(target).bring(origin, [tiny])
    assert not tags(target, tiny)


# Memory and disk


def test_large_files_without_a_digest_wait_on_disk_without_a_name(importer, target, tiny, tmp_path):
    data = weights(30 << 20)
    origin = MemoryOrigin({"model.safetensors": data, "config.json": b"{}"}, lfs_above=1 << 40)
    done = importer(target).bring(origin, [tiny])
    assert origin.bytes_of("model.safetensors") == len(data)
    assert done.manifest.layers[1].digest == Digest.of(data)
    assert list((tmp_path / "spool").iterdir()) == []


def test_nothing_is_written_to_disk_for_files_with_a_digest(importer, fake, origin, tmp_path):
    repo = repository(fake.host)
    importer(repo).bring(origin, [reference(repo)])
    assert not (tmp_path / "spool").exists()


def test_two_imports_at_once_give_one_artifact(importer, target, tiny, files):
    done = []

    def run() -> None:
        done.append(importer(target).bring(MemoryOrigin(files), [tiny]))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(done) == 2
    assert done[0].content.digest == done[1].content.digest
    manifest = Manifest.parse(read(target, target.resolve(tiny), 1 << 22))
    assert json.loads(manifest.to_bytes())["layers"]
