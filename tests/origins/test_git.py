"""Git over HTTP by git's own server program, and the LFS batch API by the tests' hub."""

import os
import subprocess
from dataclasses import replace

import pytest

from modfile.content import Digest
from modfile.errors import AccessDeniedError, ContentError, NotFoundError, OriginError, UsageError, VerificationError
from modfile.origins import find_origin
from modfile.origins.lfs import Pointer
from tests.hubs.git import make_repository
from tests.hubs.server import Fault
from tests.origins.reading import brought, contents, read


@pytest.fixture
def commit(hub, model, tmp_path):
    """A repository whose weights are in LFS; its commit."""
    hub.git_root = tmp_path / "repositories"
    files = hub.add("org/tiny", model).at("main").files.values()
    return make_repository(hub.git_root, "org/tiny", model, {file.path: file.pointer for file in files if file.lfs})


@pytest.fixture
def origin(settings, hub, commit):
    return find_origin(f"git+{hub.endpoint}/org/tiny.git", settings=settings)


def git(directory, *command):
    who = [part for key in ("user.name=t", "user.email=t@example.com") for part in ("-c", key)]
    subprocess.run(["git", *who, *command], cwd=directory, check=True, capture_output=True)


def test_a_listing_tells_files_commit_and_the_digests_of_pointers(origin, model, hub, commit):
    listing = origin.listing()
    assert [file.path for file in listing.files] == [
        "Modelfile", "README.md", "config.json", "data/train.csv", "model.safetensors", "run.py",
    ]  # fmt: skip
    assert all(file.size == (model / file.path).stat().st_size for file in listing.files)
    digests = {file.path: file.digest for file in listing.files if file.digest}
    assert digests == {"model.safetensors": Digest.of((model / "model.safetensors").read_bytes())}
    assert (listing.url, listing.revision, listing.name) == (f"{hub.endpoint}/org/tiny.git", commit, "tiny")


def test_files_are_read_whole_and_in_parts(origin, model, hub):
    for file in origin.listing().files:
        data = (model / file.path).read_bytes()
        assert read(origin, file.path) == data
        assert read(origin, file.path, 3, 7) == data[3:7]
        assert read(origin, file.path, 3) == data[3:]
    assert hub.bytes_given == 3 * file_size(model) - 3 - (file_size(model) - 4)


def file_size(model):
    return (model / "model.safetensors").stat().st_size


@pytest.mark.parametrize("form", ["main", "commit", "tag"])
def test_a_revision_is_found(settings, hub, commit, form):
    if form == "tag":
        git(hub.git_root / "org/tiny.git", "tag", "-a", "-m", "first", "v1.0", commit)
    revision = {"main": "main", "commit": commit, "tag": "v1.0"}[form]
    origin = find_origin(f"git+{hub.endpoint}/org/tiny.git@{revision}", settings=settings)
    assert origin.listing().revision == commit


@pytest.mark.parametrize("text", ["/org/none.git", "/org/tiny.git@none", "/org/tiny.git@" + "0" * 40])
def test_what_is_not_there_is_named(settings, hub, commit, text):
    with pytest.raises((NotFoundError, OriginError), match=r"/org/(tiny|none)\.git") as missing:
        find_origin(f"git+{hub.endpoint}{text}", settings=settings).listing()
    assert "\n" not in str(missing.value)


def test_a_repository_that_asks_who_we_are_is_refused_without_a_question(settings, hub, commit):
    challenge = Fault(status=401, headers={"WWW-Authenticate": 'Basic realm="git"'})
    hub.fault("/info/refs", challenge, times=None)
    with pytest.raises(AccessDeniedError, match="credential helper"):
        find_origin(f"git+{hub.endpoint}/org/tiny.git", settings=settings).listing()


def test_a_credential_helper_of_the_user_opens_git_and_lfs(settings, hub, commit, tmp_path, model):
    helper = tmp_path / "helper"
    helper.write_text("#!/bin/sh\ntest $1 = get && printf 'username=alice\\npassword=correct horse\\n'\n")
    helper.chmod(0o755)
    (tmp_path / "home" / ".gitconfig").write_text(f"[credential]\n\thelper = {helper}\n")
    challenge = Fault(status=401, headers={"WWW-Authenticate": 'Basic realm="git"'})
    hub.fault("/info/refs", challenge)
    hub.fault("/objects/batch", challenge, method="POST")
    origin = find_origin(f"git+{hub.endpoint}/org/tiny.git", settings=settings)
    assert read(origin, "model.safetensors") == (model / "model.safetensors").read_bytes()
    asked = [one for one in hub.asked if one.path.endswith("/batch")]
    assert "authorization" not in asked[0].headers
    assert asked[1].headers["authorization"].startswith("Basic ")
    assert not any("authorization" in one.headers for one in hub.asked if one.cdn)


def test_nothing_of_a_repository_is_run(settings, hub, commit, tmp_path):
    """Filters and hooks that a repository, or a template of this machine, would have."""
    ran = tmp_path / "ran"
    template = tmp_path / "template" / "hooks"
    template.mkdir(parents=True)
    for hook in ("post-checkout", "reference-transaction", "post-merge"):
        (template / hook).write_text(f"#!/bin/sh\ntouch {ran}\n")
        (template / hook).chmod(0o755)
    (tmp_path / "home" / ".gitconfig").write_text(
        f'[init]\n\ttemplateDir = {template.parent}\n[filter "evil"]\n\tsmudge = touch {ran}\n'
    )
    work = hub.git_root / "org/tiny.work"
    (work / ".gitattributes").write_text("* filter=evil\n")
    (work / ".gitmodules").write_text('[submodule "x"]\n\tpath = x\n\turl = ../x.git\n')
    (work / ".lfsconfig").write_text("[lfs]\n\turl = http://127.0.0.1:9/\n")
    git(work, "add", "-A", "-f")
    git(work, "commit", "-q", "-m", "evil")
    git(work, "push", "-q", str(hub.git_root / "org/tiny.git"), "main")
    ran.unlink(missing_ok=True)
    origin = find_origin(f"git+{hub.endpoint}/org/tiny.git", settings=settings)
    for file in origin.listing().files:
        read(origin, file.path)
    assert not ran.exists()


@pytest.mark.parametrize("kind", ["link", "submodule"])
def test_what_is_no_file_is_an_error_that_names_it(settings, hub, commit, kind):
    work = hub.git_root / "org/tiny.work"
    if kind == "link":
        (work / "leak").symlink_to("/etc/passwd")
        git(work, "add", "-A", "-f")
    else:
        git(work, "update-index", "--add", "--cacheinfo", f"160000,{commit},leak")
    git(work, "commit", "-q", "-m", "evil")
    git(work, "push", "-q", str(hub.git_root / "org/tiny.git"), "main")
    with pytest.raises(ContentError, match=f"leak is a {kind}"):
        find_origin(f"git+{hub.endpoint}/org/tiny.git", settings=settings).listing()


def test_names_that_no_file_could_have_are_refused(settings, hub, commit):
    work = hub.git_root / "org/tiny.work"
    (work / "CONFIG.json").write_text("{}")
    git(work, "add", "-A", "-f")
    git(work, "commit", "-q", "-m", "evil")
    git(work, "push", "-q", str(hub.git_root / "org/tiny.git"), "main")
    with pytest.raises(ContentError, match="differ only in case"):
        find_origin(f"git+{hub.endpoint}/org/tiny.git", settings=settings).listing()


def test_a_model_comes_into_a_directory(origin, model, tmp_path):
    assert brought(origin, tmp_path / "here") == contents(model)


def test_the_temporary_directory_goes_with_the_origin(settings, hub, commit):
    origin = find_origin(f"git+{hub.endpoint}/org/tiny.git", settings=settings)
    origin.listing()
    assert list(settings.scratch.iterdir())
    del origin
    assert not list(settings.scratch.iterdir())


def test_without_git_it_says_so(origin, monkeypatch):
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(UsageError, match="git"):
        origin.listing()


# LFS


@pytest.mark.promise("R7")
def test_lfs_is_asked_for_again(origin, hub, pauses):
    hub.fault("/objects/batch", Fault(status=429, headers={"Retry-After": "4"}), method="POST")
    hub.fault("/cdn/", Fault(status=503))
    assert read(origin, "model.safetensors")
    assert len(pauses) == 2
    assert pauses[0] >= 4


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"<html>", ContentError),
        (b"{}", ContentError),
        (b'{"objects": []}', ContentError),
        (b'{"objects": [{"oid": "OID"}]}', ContentError),
        (b'{"objects": [{"oid": "OID", "actions": {"download": {"href": 5}}}]}', ContentError),
        (b'{"objects": [{"oid": "OID", "error": {"code": 404, "message": "gone"}}]}', NotFoundError),
        (b'{"objects": [{"oid": "OID", "error": {"code": 403, "message": "no"}}]}', AccessDeniedError),
        (b'{"objects": [{"oid": "OID", "error": {"code": 422, "message": "x\\ny"}}]}', OriginError),
        (b'{"objects": [{"oid": "OID", "error": 5}]}', ContentError),
        (b'{"objects": [{"oid": "OID", "actions": {"download": {"href": "file:///etc/passwd"}}}]}', OriginError),
        (
            b'{"objects": [{"oid": "OID", "actions": {"download": {"href": "x", "header": {"a": "b\\nc"}}}}]}',
            ContentError,
        ),
        (b'{"objects": [{"oid": "OID", "actions": {"download": {"href": "x", "header": {"a": 1}}}}]}', ContentError),
    ],
    ids=range(12),
)
def test_an_lfs_server_that_makes_no_sense_is_an_error_that_names_the_file(origin, hub, body, error):
    file = next(file for file in origin.listing().files if file.digest)
    hub.fault("/objects/batch", Fault(body=body.replace(b"OID", file.digest.hex.encode())), times=None, method="POST")
    with pytest.raises(error, match=r"model\.safetensors") as failed:
        read(origin, "model.safetensors")
    assert "\n" not in str(failed.value)


def test_an_object_of_another_size_is_refused(origin):
    file = next(file for file in origin.listing().files if file.digest)
    with pytest.raises(VerificationError), origin.open(replace(file, size=file.size - 1), 0, 10) as reader:
        reader.read()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"version https://git-lfs.github.com/spec/v1\n",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 63 + b"\nsize 1\n",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize -1\n",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 9223372036854775808\n",
        b"version https://git-lfs.github.com/spec/v2\noid sha256:" + b"0" * 64 + b"\nsize 1\n",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1\nmore\n",
    ],
)
def test_what_is_no_pointer_is_a_file(data):
    assert Pointer.parse(data) is None
