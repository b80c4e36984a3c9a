"""`modfile import` against a hub and registries on loopback, with Hugging Face's own client."""

from __future__ import annotations

import json

import pytest

from modfile.content import Digest
from modfile.manifest import Manifest
from modfile.modelpack import layers_of
from modfile.reference import Reference
from modfile.registry import Registry, RegistrySettings
from modfile.store import read
from tests.hubs.server import Fault
from tests.registry.reach import Credentials

from .conftest import weights

REPO = "acme/tiny"
BIG, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


@pytest.fixture
def there(hub, files, tmp_path, monkeypatch):
    """The model on the hub; give its directory."""
    directory = tmp_path / "there"
    for path, data in files.items():
        place = directory / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    hub.add(REPO, directory)
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return directory


@pytest.fixture
def name(docker_registry, request, tmp_path) -> str:
    """A repository of its own in a real registry."""
    return f"{docker_registry.host}/imports/t{abs(hash(request.node.nodeid)):x}"


def resolve(name: str) -> tuple[Manifest, Digest]:
    reference = Reference.parse(name)
    settings = RegistrySettings()
    repository = Registry(reference.host, settings, Credentials(None)).repository(reference.repository)
    content = repository.resolve(reference)
    return Manifest.parse(read(repository, content, 1 << 22)), content.digest


def missing(name: str) -> bool:
    from modfile.errors import NotFoundError

    try:
        resolve(name)
    except NotFoundError:
        return True
    return False


def commit(hub) -> str:
    return hub.models[REPO].refs["main"]


def test_a_model_goes_from_the_hub_to_the_registry_and_the_result_is_ready_for_cosign(
    modfile,
    there,
    hub,
    name,
    files,
    tmp_path,
):
    done = modfile("import", f"hf://{REPO}", "-t", f"{name}:v1")
    manifest, digest = resolve(f"{name}:v1")
    assert done.stdout == f"{name}:v1@{digest}\n"
    assert [layer.path for layer in layers_of(manifest)] == ["config.json", BIG, SECOND, "README.md"]
    assert hub.bytes_of(BIG) <= len(files[BIG]) + 65536
    assert manifest.annotations["org.opencontainers.image.source"] == f"{hub.endpoint}/{REPO}"
    assert manifest.annotations["org.opencontainers.image.revision"] == commit(hub)
    modfile("fetch", f"{name}:v1", "-o", tmp_path / "out", "--patterns", "**")
    for path in (BIG, SECOND, "config.json", "README.md"):
        assert (tmp_path / "out" / path).read_bytes() == files[path]


@pytest.mark.parametrize(
    "url",
    [
        "hf://{repo}",
        "hf://{repo}@main",
        "hf://{repo}@{commit}",
        "{endpoint}/{repo}",
        "{endpoint}/{repo}/tree/main",
    ],
)
def test_all_ways_to_name_a_revision_give_one_digest_and_the_tag_is_the_commit(modfile, there, hub, name, url):
    text = url.format(repo=REPO, commit=commit(hub), endpoint=hub.endpoint)
    done = modfile("import", text, "-t", name)
    assert done.stdout.startswith(f"{name}:{commit(hub)[:12]}@sha256:")
    other = modfile("import", f"hf://{REPO}", "-t", f"{name}-other:x")
    assert done.stdout.strip().rpartition("@")[2] == other.stdout.strip().rpartition("@")[2]


def test_a_provider_may_be_said_beside_the_url(modfile, there, hub, name):
    modfile("import", REPO, "--provider", "huggingface", "-t", f"{name}:v1")
    assert resolve(f"{name}:v1")[0].layers


def test_more_tags_are_written_with_also_tag(modfile, there, name):
    modfile("import", f"hf://{REPO}", "-t", f"{name}:v1", "--also-tag", "latest", "--also-tag", "v1.0")
    assert resolve(f"{name}:v1")[1] == resolve(f"{name}:latest")[1] == resolve(f"{name}:v1.0")[1]


def test_a_reimport_moves_no_byte_and_prints_the_same(modfile, there, hub, name):
    first = modfile("import", f"hf://{REPO}", "-t", f"{name}:v1")
    hub.forget()
    again = modfile("import", f"hf://{REPO}", "-t", f"{name}:v1")
    assert again.stdout == first.stdout
    assert hub.bytes_given == 0
    assert not [asked for asked in hub.asked if "/resolve/" in asked.path or asked.cdn]
    assert "unchanged" in again.stderr


def test_a_new_revision_moves_what_changed_only(modfile, there, hub, name, files):
    modfile("import", f"hf://{REPO}", "-t", f"{name}:v1")
    (there / SECOND).write_bytes(weights(2_000_000, 3))
    hub.add(REPO, there)
    hub.forget()
    modfile("import", f"hf://{REPO}", "-t", f"{name}:v2")
    assert hub.bytes_of(BIG) <= 65536
    assert hub.bytes_of(SECOND) >= 2_000_000


def test_dry_run_lists_and_writes_nothing(modfile, there, hub, name):
    done = modfile("import", f"hf://{REPO}", "-t", f"{name}:v1", "--dry-run")
    assert [line.split()[-2:] for line in done.stdout.splitlines()[1:]] == [
        ["README.md", "read"],
        ["config.json", "read"],
        [BIG, "downloaded"],
        [SECOND, "downloaded"],
    ]
    assert hub.bytes_given == 0
    assert missing(f"{name}:v1")
    modfile("import", f"hf://{REPO}", "-t", f"{name}:v1", "--exclude", "README.md")
    hub.forget()
    said = json.loads(modfile("import", f"hf://{REPO}", "-t", f"{name}:v2", "--dry-run", "--json").stdout)
    assert {one["Path"]: one["How"] for one in said["Files"]} == {
        "README.md": "read",
        "config.json": "read",
        BIG: "there",
        SECOND: "there",
    }
    assert said["Unchanged"] is None
    assert said["Revision"] == commit(hub)
    assert hub.bytes_given == 0


def test_dry_run_of_what_is_there_says_so(modfile, there, name):
    digest = modfile("import", f"hf://{REPO}", "-t", f"{name}:v1").stdout.strip().rpartition("@")[2]
    said = json.loads(modfile("import", f"hf://{REPO}", "-t", f"{name}:v1", "--dry-run", "--json").stdout)
    assert said["Unchanged"] == digest
    assert said["Bytes"] == 0


def test_dry_run_says_what_would_be_mounted_or_copied(modfile, there, hub, name, files, tmp_path):
    modfile("import", f"hf://{REPO}", "-t", f"{name}-other:v1", "--local", "--include", BIG)
    modfile("push", f"{name}-other:v1")
    blobs = tmp_path / "hf" / "hub" / "models--acme--tiny" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / Digest.of(files[SECOND]).hex).write_bytes(files[SECOND])
    hub.forget()
    said = json.loads(modfile("import", f"hf://{REPO}", "-t", f"{name}:v1", "--dry-run", "--json").stdout)
    found = {one["Path"]: (one["How"], one.get("From")) for one in said["Files"]}
    assert found[BIG] == ("mounted", f"{Reference.parse(name).repository}-other")
    assert found[SECOND] == ("copied", "the Hugging Face cache")
    done = json.loads(modfile("import", f"hf://{REPO}", "-t", f"{name}:v1", "--json").stdout)
    assert done["Mounted"] == {"Pieces": 1, "Bytes": len(files[BIG])}
    assert hub.bytes_of(BIG) + hub.bytes_of(SECOND) <= 2 * 65536


@pytest.mark.parametrize("workers", ["1", "9"])
def test_however_many_workers_the_digest_is_the_same(modfile, there, name, workers):
    done = modfile("import", f"hf://{REPO}", "-t", f"{name}:v1", "--workers", workers)
    other = modfile("import", f"hf://{REPO}", "-t", f"{name}-other:v1", "--local")
    assert done.stdout.strip().rpartition("@")[2] == other.stdout.strip().rpartition("@")[2]


def test_json_says_what_moved(modfile, there, hub, name):
    said = json.loads(modfile("import", f"hf://{REPO}", "-t", f"{name}:v1", "--json").stdout)
    assert said["References"] == [f"{name}:v1"]
    assert said["Unchanged"] is False
    assert said["Layers"] == 4
    assert said["Moved"]["Pieces"] == 5
    assert said["Revision"] == commit(hub)


def test_local_is_the_local_store(modfile, there, tmp_path, files):
    done = modfile("import", f"hf://{REPO}", "-t", "tiny:v1", "--local")
    assert done.stdout.startswith("tiny:v1@sha256:")
    modfile("extract", "tiny:v1", "-o", tmp_path / "out")
    assert (tmp_path / "out" / BIG).read_bytes() == files[BIG]


def test_the_local_store_and_a_hugging_face_cache_save_downloads(modfile, there, hub, name, files, tmp_path):
    modfile("import", f"hf://{REPO}", "-t", "tiny:v1", "--local", "--include", BIG)
    blobs = tmp_path / "hf" / "hub" / "models--acme--tiny" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / Digest.of(files[SECOND]).hex).write_bytes(files[SECOND])
    hub.forget()
    modfile("import", f"hf://{REPO}", "-t", f"{name}:v1")
    assert hub.bytes_of(BIG) <= 65536
    assert hub.bytes_of(SECOND) <= 65536


def test_a_damaged_blob_of_the_cache_is_warned_of_and_downloaded(modfile, there, hub, name, files, tmp_path):
    blobs = tmp_path / "hf" / "hub" / "models--acme--tiny" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / Digest.of(files[BIG]).hex).write_bytes(files[BIG][:-1] + b"!")
    done = modfile("import", f"hf://{REPO}", "-t", f"{name}:v1")
    assert "warning: the copy of " + BIG in done.stderr
    assert hub.bytes_of(BIG) >= len(files[BIG])
    modfile("fetch", f"{name}:v1", "-o", tmp_path / "out", "--patterns", BIG)
    assert (tmp_path / "out" / BIG).read_bytes() == files[BIG]


# What goes wrong


def test_a_name_without_a_registry_is_refused_before_anything_is_asked(modfile, there, hub):
    failed = modfile("import", f"hf://{REPO}", "-t", "tiny:v1", exit_code=2)
    assert "--local" in failed.stderr
    assert hub.asked == []


@pytest.mark.parametrize(
    ("url", "code", "said"),
    [
        ("hf://acme/nothing", (3, 5), "acme/nothing"),
        (f"hf://{REPO}@nowhere", (3,), "nowhere"),
        ("acme/tiny", (2,), "--provider"),
        ("ftp://acme/tiny", (2,), "names no model"),
        (f"hf://{REPO} ", (2,), "space"),
    ],
)
def test_what_is_not_there_is_said(modfile, there, name, url, code, said):
    from typer.testing import CliRunner

    from modfile_cmd.main import app

    result = CliRunner().invoke(app, ["import", url, "-t", f"{name}:v1"])
    assert result.exit_code in code
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert missing(f"{name}:v1")


def test_a_gated_model_says_where_to_ask_and_what_to_set(modfile, there, hub, name, monkeypatch):
    hub.models[REPO].gated = {"hf_allowed"}
    hub.tokens |= {"hf_allowed", "hf_other"}
    failed = modfile("import", f"hf://{REPO}", "-t", f"{name}:v1", exit_code=5)
    assert "HF_TOKEN" in failed.stderr
    assert "README.md" in failed.stderr or "config.json" in failed.stderr
    assert missing(f"{name}:v1")
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    failed = modfile("import", f"hf://{REPO}", "-t", f"{name}:v1", exit_code=5)
    assert "hf_other" not in failed.stderr + failed.stdout
    monkeypatch.setenv("HF_TOKEN", "hf_allowed")
    modfile("import", f"hf://{REPO}", "-t", f"{name}:v1")
    assert {asked.token for asked in hub.asked if asked.cdn} == {None}


@pytest.mark.parametrize(
    "faults",
    [
        [Fault(status=429, headers={"Retry-After": "0"})],
        [Fault(status=503, headers={"Retry-After": "0"})],
        [Fault(cut=1_000_000)],
        [Fault(cut=500_000), Fault(cut=500_000)],
    ],
)
def test_what_passes_is_waited_for(modfile, there, hub, name, files, faults, tmp_path):
    hub.fault(f"/cdn/{REPO}/{BIG}", *faults)
    modfile("import", f"hf://{REPO}", "-t", f"{name}:v1")
    modfile("fetch", f"{name}:v1", "-o", tmp_path / "out", "--patterns", "**")
    assert (tmp_path / "out" / BIG).read_bytes() == files[BIG]
    assert hub.bytes_of(BIG) <= len(files[BIG]) + 2 * 65536


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        (BIG, Fault(wrong=2_000_000)),
        (BIG, Fault(status=404)),
        ("config.json", Fault(wrong=3)),
        (SECOND, Fault(wrong=70_000)),
    ],
)
def test_wrong_bytes_are_named_and_nothing_is_tagged(modfile, there, hub, name, path, fault):
    hub.fault(path.replace(".", r"\."), fault, times=None)
    code = 3 if fault.status else 4
    failed = modfile("import", f"hf://{REPO}", "-t", f"{name}:v1", exit_code=code)
    assert path in failed.stderr
    assert missing(f"{name}:v1")


def test_continue_on_error_tells_all_that_failed(modfile, there, hub, name, files):
    hub.fault(BIG.replace(".", r"\."), Fault(wrong=2_000_000), times=None)
    hub.fault(r"README\.md", Fault(status=404), times=None)
    failed = modfile("import", f"hf://{REPO}", "-t", f"{name}:v1", "--continue-on-error", exit_code=1)
    assert "2 of 4 files could not be brought" in failed.stderr
    assert BIG in failed.stderr
    assert "README.md" in failed.stderr
    assert missing(f"{name}:v1")
    hub.forget()
    modfile("import", f"hf://{REPO}", "-t", f"{name}:v1")
    assert hub.bytes_of(SECOND) <= 65536  # it was brought


def test_a_registry_that_refuses_is_said_and_nothing_is_left_on_disk(modfile, there, hub, htpasswd_registry, tmp_path):
    failed = modfile("import", f"hf://{REPO}", "-t", f"{htpasswd_registry.host}/x/y:v1", exit_code=5)
    assert "error:" in failed.stderr
    assert hub.bytes_of(BIG) <= 65536


def test_a_listing_that_climbs_is_refused(modfile, there, hub, name):
    hub.models[REPO].siblings = [{"rfilename": "../evil", "size": 1, "blobId": "0" * 40}]
    failed = modfile("import", f"hf://{REPO}", "-t", f"{name}:v1", exit_code=1)
    assert "../evil" in failed.stderr
    assert hub.bytes_given == 0


def test_a_repository_that_may_have_the_files_is_mounted_from(modfile, there, hub, name, files):
    modfile("import", f"hf://{REPO}", "-t", f"{name}-first:v1")
    hub.forget()
    rehearsed = modfile("import", f"hf://{REPO}", "-t", f"{name}:v1", "--mount-from", f"{name}-first", "--dry-run")
    assert rehearsed.stdout.count(f"mounted {Reference.parse(name).repository}-first") == 2
    modfile("import", f"hf://{REPO}", "-t", f"{name}:v1", "--mount-from", f"{name}-first")
    assert hub.bytes_given < 65536 * 2 + 1000
    assert resolve(f"{name}:v1") == resolve(f"{name}-first:v1")


@pytest.mark.parametrize("more", [("-t", "other.example/a/b:v1"), ("-t", "a/b:v1", "--local")], ids=["other", "local"])
def test_only_the_same_registry_can_be_mounted_from(modfile, there, name, more):
    told = modfile("import", f"hf://{REPO}", *more, "--mount-from", f"{name}-first", exit_code=2)
    assert "a registry mounts from its own repositories only" in told.stderr
