"""`modfile copy` between any two places, as a person types it, with skopeo on the other side."""

import hashlib
import io
import json
import os
import subprocess
import tarfile
from itertools import pairwise
from pathlib import Path

import pytest

from modfile.content import Digest
from modfile.layout import Layout
from modfile.manifest import Manifest
from modfile.reference import Reference
from modfile.registry import Registry, RegistrySettings
from modfile.verbs.copy import copy as copy_content
from modfile_cmd.place import Place, Transport
from tests.cmd.test_registry import ref as ref  # noqa: PLC0414 - a fixture
from tests.cmd.test_registry import skopeo
from tests.faults.processes import Command
from tests.registries.memory import MANIFEST, MemorySource


@pytest.fixture
def built(modfile, model):
    """The digest of `tiny:v1`, an artifact in the local store."""
    return modfile("build", "-t", "tiny:v1", "--no-creation-time").stdout.strip()


def read_members(path):
    with tarfile.open(path) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}


def test_every_place_leads_to_every_other(modfile, built, ref, tmp_path):
    archive, directory = tmp_path / "tiny.tar", tmp_path / "layout"
    other = ref.replace(":v1", "-other:v1")
    way = [
        "tiny:v1",
        f"oci-archive:{archive}:a",
        f"oci:{directory}:b",
        ref,
        f"docker://{other}",
        f"oci-archive:{archive}.2:c",
        f"registry:{other}-again",
        f"oci:{directory}2:d",
        f"oci:{directory}:e",
        f"oci-archive:{archive}.3:f",
        f"oci-archive:{archive}.4:g",
        "store:back:v1",
        "store:again:v2",
    ]
    for source, target in pairwise(way):
        shown = target.removeprefix("docker://").removeprefix("registry:").removeprefix("store:")
        assert modfile("copy", source, target).stdout == f"{shown}@{built}\n", (source, target)
    modfile("extract", "again:v2", "-o", tmp_path / "out")
    assert (tmp_path / "out/run.py").read_text() == "print('hello')\n"


def test_skopeo_reads_what_is_written(modfile, built, tmp_path):
    for place in (f"oci-archive:{tmp_path}/tiny.tar", f"oci:{tmp_path}/layout"):
        modfile("copy", "tiny:v1", f"{place}:r.io/tiny:v1")
        raw = skopeo("inspect", "--raw", f"{place}:r.io/tiny:v1")
        assert "sha256:" + hashlib.sha256(raw.encode()).hexdigest() == built
        skopeo("copy", "--multi-arch", "all", f"{place}:r.io/tiny:v1", f"dir:{tmp_path}/{place.partition(':')[0]}")
        written = {path.name for path in (tmp_path / place.partition(":")[0]).iterdir()}
        assert written >= {layer["digest"].removeprefix("sha256:") for layer in json.loads(raw)["layers"]}


def test_what_skopeo_writes_is_read(modfile, model, ref, tmp_path):
    digest = modfile("build", "-t", ref).stdout.strip()
    modfile("push", ref)
    for transport, path in (("oci-archive", tmp_path / "a.tar"), ("oci", tmp_path / "layout")):
        for name, said in (("", ""), (":v9", ":v9"), (":v9", "")):
            skopeo("copy", "--src-tls-verify=false", f"docker://{ref}", f"{transport}:{path}{name}")
            got = modfile("copy", f"{transport}:{path}{said}", "store:back:v1").stdout
            assert got == f"back:v1@{digest}\n"
            path.unlink() if path.is_file() else subprocess.run(["rm", "-r", path], check=True)


def test_what_docker_save_writes_is_read(modfile, built, tmp_path):
    """Its archives have files for older versions beside the layout, and the full name in an annotation of its own."""
    modfile("copy", "tiny:v1", f"oci-archive:{tmp_path}/a.tar:v1")
    members = read_members(tmp_path / "a.tar")
    index = json.loads(members["index.json"])
    index["manifests"][0]["annotations"]["io.containerd.image.name"] = "docker.io/library/tiny:v1"
    members |= {"index.json": json.dumps(index).encode(), "manifest.json": b"[]", "repositories": b"{}"}
    with tarfile.open(tmp_path / "docker.tar", "w") as archive:
        directory = tarfile.TarInfo("blobs/sha256")
        directory.type = tarfile.DIRTYPE
        archive.addfile(directory)
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    done = modfile("copy", f"oci-archive:{tmp_path}/docker.tar:docker.io/library/tiny:v1", "store:back")
    assert done.stdout == f"back:v1@{built}\n"


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("{host}/", "{host}/{name}:v1"),
        ("docker://{host}", "{host}/{name}:v1"),
        ("{host}/mirror/of/", "{host}/mirror/of/{name}:v1"),
        ("{host}/{name}-b", "{host}/{name}-b:v1"),
        ("{host}/{name}-c:v2", "{host}/{name}-c:v2"),
        ("store:", "{host}/{name}:v1"),
        ("plain", "plain:v1"),
        ("plain:v2", "plain:v2"),
        ("plain/", "plain/{name}:v1"),
        ("oci:layout", "oci:layout:{host}/{name}:v1"),
        ("oci-archive:a.tar", "oci-archive:a.tar:{host}/{name}:v1"),
        ("oci-archive:a.tar:x y", "oci-archive:a.tar:x y"),
    ],
)
def test_what_dst_does_not_say_is_as_in_src(modfile, built, ref, registry, target, expected):
    host, _, name = ref.removesuffix(":v1").partition("/")
    modfile("copy", "tiny:v1", ref)
    words = {"host": host, "name": name}
    assert modfile("copy", ref, target.format(**words)).stdout == f"{expected.format(**words)}@{built}\n"


def test_a_digest_is_copied_without_a_tag(modfile, built, ref, tmp_path):
    modfile("copy", "tiny:v1", ref)
    source, other = ref.removesuffix(":v1") + f"@{built}", ref.removesuffix(":v1") + "-other"
    assert modfile("copy", source, other).stdout == f"{other}@{built}\n"
    assert modfile("copy", f"{other}@{built}", f"oci:{tmp_path}/layout").stdout == f"oci:{tmp_path}/layout@{built}\n"
    assert modfile("copy", f"oci:{tmp_path}/layout", "store:back:v1").stdout == f"back:v1@{built}\n"
    modfile("inspect", "--remote", f"{other}:v1", exit_code=3)


@pytest.mark.parametrize(
    ("source", "target", "code", "told"),
    [
        ("nothing:v1", "store:x", 3, "is not in the local store"),
        ("store:127.0.0.1:1/a/b:v1", "store:x", 3, "is not in the local store"),
        ("registry:tiny:v1", "store:x", 2, "names no registry"),
        ("tiny:v1", "registry:tiny", 2, "names no registry"),
        ("tiny:v1", "oci:", 2, "names no path"),
        ("oci-archive::v1", "x", 2, "names no path"),
        ("oci:missing:v1", "x", 3, "missing does not exist"),
        ("oci-archive:missing.tar", "x", 3, "missing.tar does not exist"),
        ("oci:data", "x", 1, "not an OCI image layout"),
        ("oci-archive:run.py", "x", 1, "not a tar archive"),
        ("tiny:v1", "oci:data", 1, "choose another directory"),
        ("tiny:v1", "oci:run.py", 1, "run.py"),
        ("tiny:v1", "oci-archive:data", 1, "is not a file"),
        ("tiny:v1", "oci-archive:no/such/a.tar", 1, "cannot be written"),
        ("tiny:v1", "x@sha256:" + "a" * 64, 2, "DST is a tag"),
        ("tiny:v1", "UPPER", 2, "not a repository name"),
        ("tiny:v1", "", 0, ""),
        ("", "x", 2, ""),
    ],
)
def test_what_makes_no_sense_is_told_in_one_line(modfile, built, source, target, code, told):
    done = modfile("copy", source, target, exit_code=code)
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_unnamed_artifact_needs_a_name(modfile, built, tmp_path):
    modfile("copy", f"tiny@{built}", f"oci:{tmp_path}/layout")
    assert "say one: x:TAG" in modfile("copy", f"oci:{tmp_path}/layout", "store:x", exit_code=2).stderr
    assert "no repository of its own" in modfile("copy", f"oci:{tmp_path}/layout", "store:", exit_code=2).stderr


def test_a_bare_source_is_the_local_store_first_then_the_registry(modfile, built, ref, tmp_path):
    modfile("copy", "tiny:v1", ref)
    Path("run.py").write_text("changed")
    changed = modfile("build", "-t", ref).stdout.strip()
    assert modfile("copy", ref, "store:a:v1").stdout == f"a:v1@{changed}\n"
    assert modfile("copy", f"docker://{ref}", "store:b:v1").stdout == f"b:v1@{built}\n"
    modfile("rm", ref)
    assert modfile("copy", ref, "store:c:v1").stdout == f"c:v1@{built}\n"


def test_a_tag_that_moved_is_moved_here_too(modfile, built, ref):
    other = ref.replace(":v1", "-mirror:v1")
    modfile("copy", "tiny:v1", ref)
    modfile("copy", ref, other)
    Path("run.py").write_text("changed")
    changed = modfile("build", "-t", "tiny:v2").stdout.strip()
    modfile("copy", "tiny:v2", ref)
    done = modfile("copy", ref, other)
    assert done.stdout == f"{other}@{changed}\n"
    assert modfile("pull", other).stdout == f"{changed}\n"


def test_to_where_it_is_nothing_moves(modfile, built, ref, tmp_path):
    modfile("copy", "tiny:v1", ref)
    modfile("copy", "tiny:v1", f"oci:{tmp_path}/layout:a")
    for place in (ref, "tiny:v1", f"oci:{tmp_path}/layout:a"):
        said = json.loads(modfile("copy", place, place, "--json").stdout)
        assert (said["Moved"]["Pieces"], said["Skipped"]["Pieces"]) == (0, 6), place
    modfile("copy", "tiny:v1", f"oci-archive:{tmp_path}/a.tar")
    done = modfile("copy", f"oci-archive:{tmp_path}/a.tar", f"oci-archive:{tmp_path}/a.tar:b", exit_code=2)
    assert "both SRC and DST" in done.stderr


def test_within_a_registry_blobs_are_mounted(modfile, built, ref, tmp_path):
    modfile("copy", "tiny:v1", ref)
    subprocess.run(["rm", "-r", tmp_path / "storage"], check=True)
    said = json.loads(modfile("copy", ref, ref.replace(":v1", "-other:v1"), "--json").stdout)
    assert list(said) == ["Artifacts", "Moved", "Skipped", "Mounted", "Resumed", "Seconds", "BytesPerSecond"]
    assert (said["Moved"]["Pieces"], said["Mounted"]["Pieces"]) == (0, 6)
    assert said["Artifacts"] == [
        {"Destination": ref.replace(":v1", "-other:v1"), "Digest": built, "Referrers": [], "Attached": []},
    ]
    assert not (tmp_path / "storage/store/blobs").exists()


def test_from_registry_to_registry_nothing_touches_the_disk(modfile, built, ref, tls_registry, tmp_path):
    modfile("copy", "tiny:v1", ref)
    subprocess.run(["rm", "-r", tmp_path / "storage"], check=True)
    target = f"{tls_registry.host}/copied/{os.urandom(4).hex()}:v1"
    for options in ((), ("--src-ca-file", tls_registry.ca_file)):  # which says nothing of where DST is
        modfile("copy", ref, target, *options, exit_code=1)
    done = modfile("copy", ref, target, "--dest-ca-file", tls_registry.ca_file)
    assert done.stdout == f"{target}@{built}\n"
    back = ref.replace(":v1", "-back:v1")
    assert modfile("copy", target, back, "--src-ca-file", tls_registry.ca_file).stdout == f"{back}@{built}\n"
    assert not (tmp_path / "storage/store/blobs").exists()


def test_all_tags_of_a_repository_are_mirrored(modfile, built, ref, tmp_path):
    old, new = ref.removesuffix(":v1"), ref.removesuffix(":v1") + "-mirror"
    for tag in ("v1", "v2", "latest"):
        Path("run.py").write_text(tag)
        modfile("build", "-t", f"{old}:{tag}")
        modfile("push", f"{old}:{tag}")
    modfile("rm", f"{old}:v1", f"{old}:v2")  # what the store has of it is not all
    done = modfile("copy", "--all-tags", old, new)
    assert sorted(line.partition("@")[0] for line in done.stdout.splitlines()) == sorted(
        f"{new}:{tag}" for tag in ("v1", "v2", "latest")
    )
    archive = tmp_path / "all.tar"
    modfile("copy", "--all-tags", new, f"oci-archive:{archive}")
    names = [f"{new}:{tag}" for tag in ("latest", "v1", "v2")]
    index = json.loads(read_members(archive)["index.json"])
    assert [item["annotations"]["org.opencontainers.image.ref.name"] for item in index["manifests"]] == names
    assert "there are several artifacts" in modfile("copy", f"oci-archive:{archive}", "x:v1", exit_code=2).stderr
    done = modfile("copy", "--all-tags", f"oci-archive:{archive}", "store:")
    assert [line.partition("@")[0] for line in done.stdout.splitlines()] == names
    done = modfile("copy", "--all-tags", f"store:{new}", f"oci:{tmp_path}/layout")
    assert len(done.stdout.splitlines()) == 3
    for target in (f"{new}:v3", "oci:x:y", f"oci-archive:{archive}:z"):
        assert "with --all-tags" in modfile("copy", "--all-tags", old, target, exit_code=2).stderr
    modfile("copy", "--all-tags", f"{old}:v1", new, exit_code=2)
    modfile("copy", "--all-tags", f"oci:{tmp_path}/layout:{new}:v1", "store:", exit_code=2)
    modfile("copy", "--all-tags", "nothing", "store:x", exit_code=3)


def test_a_dry_run_lists_what_is_missing_and_writes_nothing(modfile, built, ref, tmp_path):
    before = sorted(path for path in tmp_path.rglob("*") if path.name not in ("locks", "index"))
    for place in (ref, f"oci-archive:{tmp_path}/a.tar", f"oci:{tmp_path}/layout", "store:other"):
        done = modfile("copy", "--dry-run", "tiny:v1", place)
        missing = 0 if place.startswith("store") else 7
        assert len(done.stdout.splitlines()) == 1 + missing
        assert f"would bring {missing} of 7" in done.stderr
    assert sorted(path for path in tmp_path.rglob("*") if path.name not in ("locks", "index")) == before
    modfile("inspect", "--remote", ref, exit_code=3)
    modfile("copy", "tiny:v1", ref)
    Path("run.py").write_text("changed")
    modfile("build", "-t", "tiny:v2", "--no-creation-time")
    said = json.loads(modfile("copy", "--dry-run", "--json", "tiny:v2", ref).stdout)
    assert (len(said["Missing"]), said["There"]) == (3, 4)
    assert any("run.py" in str(content.get("annotations")) for content in said["Missing"])


def test_signatures_come_along_if_asked_for(modfile, built, ref, registry, tmp_path):
    name = ref.removesuffix(":v1")
    modfile("copy", "tiny:v1", ref)
    size = len(skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{ref}").encode())
    repository = signing_repository(registry.host, name.partition("/")[2])
    digests = []
    subject = {"mediaType": MANIFEST, "digest": built, "size": size}
    for _ in range(2):  # a signature, and a signature of that
        data = signature_of(subject)
        content = push_manifest(repository, data)
        repository.referrers.add(content, Digest.parse(subject["digest"]))
        subject = content.to_json()
        digests.append(str(content.digest))
    without = json.loads(modfile("copy", ref, f"{name}-plain", "--json").stdout)
    assert without["Artifacts"][0]["Referrers"] == []
    steps = [
        ref,
        f"{name}-all:v1",
        f"oci-archive:{tmp_path}/a.tar",
        f"oci:{tmp_path}/layout",
        "store:here:v1",
        f"{name}-z:v1",
    ]
    for source, target in pairwise(steps):
        said = json.loads(modfile("copy", "-r", source, target, "--json").stdout)
        assert [item["Digest"] for item in said["Artifacts"][0]["Referrers"]] == digests, target
    assert [item["Subject"] for item in said["Artifacts"][0]["Referrers"]] == [built, digests[0]]
    modfile("prune", "--remove-untagged")
    modfile("copy", "-r", "here:v1", f"{name}-again")
    again = signing_repository(registry.host, f"{name.partition('/')[2]}-again")
    assert [str(content.digest) for content in again.referrers.list(Digest.parse(built))] == digests[:1]


def test_what_cosign_keeps_under_tags_of_its_own_comes_along(modfile, built, ref, registry, tmp_path):
    name = ref.removesuffix(":v1")
    modfile("copy", "tiny:v1", ref)
    repository = signing_repository(registry.host, name.partition("/")[2])
    signature = push_manifest(repository, signature_of(None))
    tag = built.replace(":", "-") + ".sig"
    repository.tag(signature, Reference.parse(f"{name}:{tag}"))
    steps = [
        (ref, f"{name}-all:v2", f"{name}-all:{tag}"),
        (f"{name}-all:v2", f"oci-archive:{tmp_path}/a.tar:free", f"oci-archive:{tmp_path}/a.tar:{tag}"),
        (f"oci-archive:{tmp_path}/a.tar", f"oci:{tmp_path}/layout:x/y:v1", f"oci:{tmp_path}/layout:x/y:{tag}"),
        (f"oci:{tmp_path}/layout", "store:here:v1", f"here:{tag}"),
        ("here:v1", f"{name}-z:v1", f"{name}-z:{tag}"),
    ]
    for source, target, expected in steps:
        done = modfile("copy", "-r", source, target, "--json")
        attached = json.loads(done.stdout)["Artifacts"][0]["Attached"]
        assert attached == [{"Destination": expected, "Digest": str(signature.digest)}]
    assert skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{name}-z:{tag}").encode() == signature_of(None)


def signing_repository(host, name):
    return Registry(host, RegistrySettings()).repository(name)


def signature_of(subject):
    empty = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": str(Digest.of(b"{}")), "size": 2}
    value = {"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.example.signature"}
    more = {"subject": subject} if subject else {}
    return json.dumps(value | {"config": empty, "layers": [empty]} | more).encode()


def push_manifest(repository, data):
    source = MemorySource()
    content = source.add(data, MANIFEST)
    repository.put(source.add(b"{}"), source)
    repository.put(content, source)
    return content


@pytest.mark.promise("S5", "G1")
@pytest.mark.parametrize(
    ("target", "code"), [("{ref}", 3), ("oci-archive:{tmp}/a.tar:v1", 3), ("oci:{tmp}/layout:v1", 1)]
)
def test_a_damaged_blob_is_not_passed_on(modfile, built, ref, tmp_path, target, code):
    layer = hashlib.sha256(Path("run.py").read_bytes()).hexdigest()
    blob = tmp_path / "storage/store/blobs/sha256" / layer
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes().upper())
    place = target.format(ref=ref, tmp=tmp_path)
    done = modfile("copy", "tiny:v1", place, exit_code=4)
    assert layer in done.stderr
    assert modfile("copy", place, "store:back:v1", exit_code=code).stdout == ""
    assert not (tmp_path / "a.tar").exists()


@pytest.mark.promise("S4")
def test_a_kill_while_an_archive_is_written_leaves_the_old_one(tmp_path, registry):
    storage = Layout(tmp_path / "storage/store")
    source = MemorySource()
    layers = [source.add(os.urandom(64 << 20)), source.add(b"small")]
    config = source.add(b"{}", "application/vnd.oci.empty.v1+json")
    root = source.add(Manifest(MANIFEST, config, tuple(layers)).to_bytes(), MANIFEST)
    copy_content(root, source, storage)
    storage.tag(root, Reference.parse("big:v1"))
    path, partial = tmp_path / "a.tar", tmp_path / ".a.tar.modfile-partial"
    path.write_bytes(b"the old one")
    command = Command(tmp_path, "copy", "big:v1", f"oci-archive:{path}", "-c", "1")
    killed = command.kill_when(lambda: partial.exists() and partial.stat().st_blocks > 1000)
    assert killed
    assert path.read_bytes() == b"the old one"
    Command(tmp_path, "copy", "big:v1", f"oci-archive:{path}").succeed()
    assert not partial.exists()
    assert (
        hashlib.sha256(read_members(path)[f"blobs/sha256/{layers[0].digest.hex}"]).hexdigest() == layers[0].digest.hex
    )


@pytest.mark.parametrize(
    ("text", "there", "expected"),
    [
        ("minilm:v1", "", ("", None, "minilm:v1")),
        ("docker://r.io/a:v1", "", ("docker://", None, "r.io/a:v1")),
        ("registry:r.io/a:v1", "", ("docker://", None, "r.io/a:v1")),
        ("store:", "", ("store:", None, "")),
        ("oci:dir", "", ("oci:", "dir", "")),
        ("oci:dir:v1", "", ("oci:", "dir", "v1")),
        ("oci:dir:v1", "dir", ("oci:", "dir", "v1")),
        ("oci:dir:v1", "dir dir:v1", ("oci:", "dir:v1", "")),
        ("oci:dir:host:5000/a:v1", "dir", ("oci:", "dir", "host:5000/a:v1")),
        ("oci:dir:host:5000/a:v1", "", ("oci:", "dir", "host:5000/a:v1")),
        ("oci:dir:@sha256:ab", "dir", ("oci:", "dir", "@sha256:ab")),
        ("oci-archive:/data/run:3/a.tar", "/data/run:3/", ("oci-archive:", "/data/run:3/a.tar", "")),
        ("oci-archive:/data/run:3/a.tar:v1", "/data/run:3/", ("oci-archive:", "/data/run:3/a.tar", "v1")),
        ("oci-archive:/data/run:3/a.tar:v1", "/data/run:3/a.tar", ("oci-archive:", "/data/run:3/a.tar", "v1")),
        ("oci-archive:../a.tar:r.io/x:v1", "", ("oci-archive:", "../a.tar", "r.io/x:v1")),
        ("oci:/:v1", "/", ("oci:", "/", "v1")),
    ],
)
def test_a_place_is_read(text, there, expected):
    place = Place.parse(text, lambda path: path in there.split())
    assert (place.transport.value, place.path and str(place.path), place.name) == expected
    if place.transport in (Transport.LAYOUT, Transport.ARCHIVE):
        assert Place.parse(str(place), lambda path: path in there.split()) == place
