import hashlib
import shutil

import pytest
from huggingface_hub import hf_hub_download, scan_cache_dir, snapshot_download, try_to_load_from_cache

from modfile.content import Descriptor, Digest
from modfile.errors import ContentError, DestinationError, NotFoundError, UsageError, VerificationError
from modfile.origins.hfcache import CachedFile, HuggingFaceCache, write_snapshot

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "hub"


def content_of(data):
    return Descriptor("application/octet-stream", Digest.of(data), len(data))


# A source of what it has


@pytest.fixture
def filled(hub, model, cache):
    """A cache that Hugging Face's own library filled."""
    hub.add("org/tiny", model)
    snapshot_download("org/tiny", endpoint=hub.endpoint, cache_dir=cache, token=False)
    return HuggingFaceCache(cache)


def test_an_lfs_file_is_found_by_its_sha256(filled, model):
    weights = (model / "model.safetensors").read_bytes()
    assert filled.exists(content_of(weights))
    with filled.open(content_of(weights), 10) as reader:
        assert reader.read() == weights[10:]


def test_what_is_not_there_is_not_found(filled, model):
    small = content_of((model / "config.json").read_bytes())
    for content in (small, content_of(b"other"), Descriptor("x/y", Digest("sha256", ""), 0)):
        assert not filled.exists(content)
        with pytest.raises(NotFoundError), filled.open(content):
            pass


def test_a_file_of_another_size_is_not_it(filled, model, cache):
    weights = (model / "model.safetensors").read_bytes()
    place = cache / "models--org--tiny" / "blobs" / Digest.of(weights).hex
    place.write_bytes(weights[:-1])
    assert not filled.exists(content_of(weights))


def test_links_inside_the_cache_are_followed_and_others_are_not(filled, model, cache, tmp_path):
    weights = (model / "model.safetensors").read_bytes()
    place = cache / "models--org--tiny" / "blobs" / Digest.of(weights).hex
    (cache / "blobs").mkdir(exist_ok=True)
    place.rename(cache / "blobs" / "shared")
    place.symlink_to("../../blobs/shared")
    assert filled.exists(content_of(weights))
    place.unlink()
    (cache / "blobs" / "shared").rename(tmp_path / "outside")
    place.symlink_to(tmp_path / "outside")
    assert not filled.exists(content_of(weights))
    place.unlink()
    place.symlink_to(place.name)
    assert not filled.exists(content_of(weights))


@pytest.mark.parametrize("kind", ["nothing", "file", "directory in the way"])
def test_a_place_that_is_no_cache_has_nothing(tmp_path, kind):
    place = tmp_path / "cache"
    if kind == "file":
        place.touch()
    if kind == "directory in the way":
        (place / "models--a--b" / "blobs" / Digest.of(b"").hex).mkdir(parents=True)
    assert not HuggingFaceCache(place).exists(content_of(b""))


# Written


@pytest.fixture
def files(model):
    """The model's files, and what brings them."""
    paths = [path.relative_to(model).as_posix() for path in sorted(model.rglob("*")) if path.is_file()]
    data = {path: (model / path).read_bytes() for path in paths}
    return [CachedFile(path, Digest.of(data[path]), len(data[path])) for path in paths]


@pytest.fixture
def brought():
    return []


@pytest.fixture
def bring(model, brought):
    def copy(file, place):
        brought.append(file.path)
        shutil.copyfile(model / file.path, place)

    return copy


def test_a_snapshot_opens_without_the_hub(cache, files, bring, model):
    snapshot = write_snapshot(cache, "org/tiny", COMMIT, files, bring)
    found = snapshot_download("org/tiny", cache_dir=cache, local_files_only=True)
    assert found == str(snapshot)
    for file in files:
        assert (snapshot / file.path).read_bytes() == (model / file.path).read_bytes()
        one = hf_hub_download("org/tiny", file.path, cache_dir=cache, local_files_only=True)
        assert one == str(snapshot / file.path)
        assert try_to_load_from_cache("org/tiny", file.path, cache_dir=cache, revision=COMMIT) == one


def test_the_layout_is_the_one_of_the_library(cache, files, bring, hub, model, tmp_path):
    published = hub.add("org/tiny", model)
    commit = published.refs["main"]
    write_snapshot(cache, "org/tiny", commit, files, bring)
    theirs = tmp_path / "theirs"
    snapshot_download("org/tiny", endpoint=hub.endpoint, cache_dir=theirs, token=False)

    def entries(directory):
        return {
            (path.relative_to(directory).as_posix(), str(path.readlink()) if path.is_symlink() else path.read_bytes())
            for path in directory.rglob("*")
            if (path.is_file() or path.is_symlink()) and {"blobs", "snapshots", "refs"} & set(path.parts)
        }

    ours = entries(cache / "models--org--tiny")
    assert ours == {one for one in entries(theirs / "models--org--tiny") if not one[0].startswith("trees/")}
    report = scan_cache_dir(cache)
    assert not report.warnings
    assert {one.file_name for one in next(iter(next(iter(report.repos)).revisions)).files} == {
        file.path.rpartition("/")[2] for file in files
    }


def test_the_library_downloads_nothing_again(cache, files, bring, hub, model):
    published = hub.add("org/tiny", model)
    write_snapshot(cache, "org/tiny", published.refs["main"], files, bring)
    snapshot_download("org/tiny", endpoint=hub.endpoint, cache_dir=cache, token=False)
    assert hub.bytes_given == 0


def test_blobs_are_named_by_sha256_or_git_hash(cache, files, bring, model):
    write_snapshot(cache, "org/tiny", COMMIT, files, bring)
    blobs = cache / "models--org--tiny" / "blobs"
    weights, config = (model / "model.safetensors").read_bytes(), (model / "config.json").read_bytes()
    assert (blobs / hashlib.sha256(weights).hexdigest()).read_bytes() == weights
    assert (blobs / hashlib.sha1(b"blob %d\0" % len(config) + config).hexdigest()).read_bytes() == config


def test_lfs_files_that_are_there_are_not_brought_again(cache, files, bring, brought):
    write_snapshot(cache, "org/tiny", COMMIT, files, bring)
    brought.clear()
    write_snapshot(cache, "org/tiny", "f" * 40, files, bring, refs=["main", "v1.0", "refs/pr/1"])
    assert "model.safetensors" not in brought
    for ref in ("main", "v1.0", "refs/pr/1"):
        assert (cache / "models--org--tiny" / "refs" / ref).read_text() == "f" * 40
        assert snapshot_download("org/tiny", revision=ref, cache_dir=cache, local_files_only=True).endswith("f" * 40)


def test_a_blob_that_was_damaged_is_brought_again(cache, files, bring, brought, model):
    write_snapshot(cache, "org/tiny", COMMIT, files, bring)
    weights = (model / "model.safetensors").read_bytes()
    place = cache / "models--org--tiny" / "blobs" / Digest.of(weights).hex
    place.write_bytes(bytes(len(weights) - 1) + b"x")
    brought.clear()
    snapshot = write_snapshot(cache, "org/tiny", COMMIT, files, bring)
    assert "model.safetensors" in brought
    assert (snapshot / "model.safetensors").read_bytes() == weights


@pytest.mark.parametrize("path", ["model.safetensors", "config.json"])
@pytest.mark.promise("S5", "W3")
def test_bytes_that_are_not_the_file_leave_nothing_under_its_name(cache, files, path):
    def lie(file, place):
        place.write_bytes(b"x" * file.size)

    wrong = [file for file in files if file.path == path]
    with pytest.raises(VerificationError, match=path):
        write_snapshot(cache, "org/tiny", COMMIT, wrong, lie)
    assert not [place for place in cache.rglob("*") if place.is_file() or place.is_symlink()]


def test_the_refs_are_the_last(cache, files):
    def fail(file, place):
        raise NotFoundError("gone")

    with pytest.raises(NotFoundError):
        write_snapshot(cache, "org/tiny", COMMIT, files, fail)
    assert not [place for place in cache.rglob("*") if place.is_file() or place.is_symlink()]


@pytest.mark.parametrize("repo", ["", "../x", "a/b/c", "/etc", "a--b", "a/..", "-x"])
def test_a_repository_that_is_none_is_refused(cache, files, bring, repo):
    with pytest.raises(UsageError):
        write_snapshot(cache, repo, COMMIT, files, bring)
    assert not cache.exists()


@pytest.mark.parametrize("commit", ["", "main", "0" * 39, "../" + "0" * 37, "A" * 40])
def test_a_commit_that_is_none_is_refused(cache, files, bring, commit):
    with pytest.raises(UsageError):
        write_snapshot(cache, "org/tiny", commit, files, bring)
    assert not cache.exists()


@pytest.mark.parametrize("ref", ["", "../main", "a/../../x", "/etc/x", "-x"])
def test_a_ref_that_is_none_is_refused(cache, files, bring, ref):
    with pytest.raises(UsageError):
        write_snapshot(cache, "org/tiny", COMMIT, files, bring, refs=[ref])
    assert not cache.exists()


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a//b"])
@pytest.mark.promise("W1")
def test_paths_that_lead_out_are_refused(cache, bring, path):
    with pytest.raises(ContentError):
        write_snapshot(cache, "org/tiny", COMMIT, [CachedFile(path, Digest.of(b""), 0)], bring)
    assert not cache.exists()


@pytest.mark.promise("W2")
def test_a_link_on_the_way_is_refused(cache, files, bring, tmp_path):
    snapshot = cache / "models--org--tiny" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (snapshot / "data").symlink_to(tmp_path / "outside")
    with pytest.raises(DestinationError, match="symbolic link"):
        write_snapshot(cache, "org/tiny", COMMIT, files, bring)
    assert not list((tmp_path / "outside").iterdir())


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path, files, bring):
    (tmp_path / "hub").write_text("in the way")
    with pytest.raises(DestinationError, match="the cache cannot be written"):
        write_snapshot(tmp_path / "hub", "org/tiny", COMMIT, files, bring)
