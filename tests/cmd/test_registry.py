"""The commands that talk to a registry, against real ones, and skopeo as a client that nobody here wrote."""

import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def ref(registry, unused_name):
    """A reference in the plain registry that no other test uses."""
    return f"{registry.host}/tests/{unused_name}:v1"


def forget(tmp_path):
    shutil.rmtree(tmp_path / "storage")


def skopeo(*arguments):
    command = ["skopeo", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_model_goes_to_the_registry_and_back(modfile, model, ref, tmp_path):
    digest = modfile("build", "-t", ref).stdout.strip()
    assert modfile("push", ref).stdout == f"{ref}@{digest}\n"
    forget(tmp_path)
    assert modfile("pull", ref).stdout == f"{digest}\n"
    modfile("extract", ref, "-o", tmp_path / "out")
    for path in (tmp_path / "out").rglob("*"):
        assert path.is_dir() or path.read_bytes() == (model / path.relative_to(tmp_path / "out")).read_bytes()


def test_what_is_there_is_skipped_and_said_to_be(modfile, model, ref, tmp_path):
    modfile("build", "-t", ref)
    first = json.loads(modfile("push", ref, "--json").stdout)
    assert (first["Moved"]["Pieces"], first["Skipped"]["Pieces"]) == (6, 0)
    again = modfile("push", ref, "--json")
    said = json.loads(again.stdout)
    assert list(said) == ["Reference", "Digest", "Moved", "Skipped", "Mounted", "Resumed", "Seconds", "BytesPerSecond"]
    assert (said["Moved"], said["Skipped"]["Pieces"]) == ({"Pieces": 0, "Bytes": 0}, 6)
    assert "6 already there" in again.stderr
    assert "6 already there" in modfile("pull", ref).stderr
    forget(tmp_path)
    assert "6 fetched" in modfile("pull", ref).stderr


def test_a_changed_file_is_all_that_moves(modfile, model, ref):
    modfile("build", "-t", ref)
    modfile("push", ref)
    Path("run.py").write_text("print('changed')\n")
    modfile("build", "-t", ref)
    said = json.loads(modfile("push", ref, "--json").stdout)
    assert (said["Moved"]["Pieces"], said["Skipped"]["Pieces"]) == (2, 4)  # the file and the config


def test_a_tag_ends_where_the_command_says_even_if_all_was_there(modfile, model, ref):
    one = modfile("build", "-t", ref).stdout.strip()
    modfile("push", ref)
    Path("run.py").write_text("changed")
    modfile("build", "-t", ref)
    two = modfile("push", ref).stdout
    assert one not in two
    modfile("tag", f"{ref.removesuffix(':v1')}@{one}", ref)
    assert modfile("push", ref).stdout == f"{ref}@{one}\n"
    assert modfile("pull", ref).stdout == f"{one}\n"


def test_a_digest_can_be_pulled_pushed_and_extracted(modfile, model, ref, tmp_path):
    digest = modfile("build", "-t", ref).stdout.strip()
    modfile("push", ref)
    forget(tmp_path)
    by_digest = f"{ref.removesuffix(':v1')}@{digest}"
    assert modfile("pull", by_digest).stdout == f"{digest}\n"
    assert modfile("ls").stdout.splitlines()[1:] == []
    assert modfile("ls", "--all").stdout.splitlines()[1].split()[1] == "<none>"
    modfile("extract", by_digest, "-o", tmp_path / "out")
    assert modfile("push", by_digest).stdout == f"{by_digest}\n"
    modfile("pull", f"{ref}@{digest}")
    assert modfile("ls").stdout.splitlines()[1].split()[1] == "v1"


def test_a_digest_that_the_registry_does_not_have_is_not_found(modfile, model, ref):
    modfile("build", "-t", ref)
    modfile("push", ref)
    other = f"{ref.removesuffix(':v1')}@sha256:{'0' * 64}"
    assert "sha256:000" in modfile("pull", other, exit_code=3).stderr
    assert "not found" in modfile("pull", ref.replace(":v1", ":v2"), exit_code=3).stderr.lower()


def test_inspect_looks_in_the_registry_on_request(modfile, model, ref, tmp_path):
    modfile("build", "-t", ref)
    here = modfile("inspect", ref).stdout
    modfile("push", ref)
    forget(tmp_path)
    modfile("inspect", ref, exit_code=3)
    assert modfile("inspect", "--remote", ref).stdout == here


def test_a_password_is_asked_for_kept_where_docker_does_and_forgotten(modfile, model, htpasswd_registry, tmp_path):
    host, user, password = htpasswd_registry.host, htpasswd_registry.username, htpasswd_registry.password
    ref = f"{host}/llm/tiny:v1"
    modfile("build", "-t", ref)
    refused = modfile("push", ref, exit_code=5)
    assert f"modfile login {host}" in refused.stderr
    wrong = modfile("login", host, "-u", user, "--password-stdin", input="wrong\n", exit_code=5)
    assert "wrong" not in wrong.stderr.replace("wrong user", "")
    config = tmp_path / "home/docker/config.json"
    assert not config.exists()
    said = modfile("login", host, "-u", user, "--password-stdin", input=password + "\n")
    assert password not in said.stdout + said.stderr
    auth = json.loads(config.read_text())["auths"][host]["auth"]
    assert base64.b64decode(auth).decode() == f"{user}:{password}"
    assert config.stat().st_mode & 0o777 == 0o600
    modfile("push", ref)
    forget(tmp_path)
    modfile("pull", ref)
    modfile("logout", host)
    assert host not in config.read_text()
    forget(tmp_path)
    modfile("pull", ref, exit_code=5)


def test_a_login_and_a_logout_are_told_in_json(modfile, htpasswd_registry, tmp_path):
    host, user, password = htpasswd_registry.host, htpasswd_registry.username, htpasswd_registry.password
    done = modfile("login", host, "-u", user, "--password-stdin", "--json", input=password + "\n")
    assert password not in done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert said == {"Host": host, "Username": user, "CredentialStore": str(tmp_path / "home/docker/config.json")}
    assert json.loads(modfile("logout", host, "--json").stdout) == {"Host": host}
    assert modfile("logout", host, "--json", exit_code=3).stdout == ""


def test_skopeo_uses_the_credentials_that_login_keeps(modfile, model, htpasswd_registry, tmp_path, monkeypatch):
    host = htpasswd_registry.host
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    modfile("login", host, "-u", htpasswd_registry.username, "-p", htpasswd_registry.password)
    modfile("build", "-t", f"{host}/llm/skopeo:v1")
    modfile("push", f"{host}/llm/skopeo:v1")
    skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{host}/llm/skopeo:v1")


def test_modfile_uses_the_credentials_that_skopeo_keeps(modfile, model, htpasswd_registry, tmp_path, monkeypatch):
    host = htpasswd_registry.host
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    user, password = htpasswd_registry.username, htpasswd_registry.password
    skopeo("login", "--tls-verify=false", "-u", user, "-p", password, host)
    modfile("build", "-t", f"{host}/llm/kept:v1")
    modfile("push", f"{host}/llm/kept:v1")


def test_a_token_registry_is_pushed_to_and_pulled_from(modfile, model, token_registry, tmp_path):
    host = token_registry.host
    modfile("login", host, "-u", token_registry.username, "-p", token_registry.password)
    for name in ("one", "two"):  # a token is for one repository
        modfile("build", "-t", f"{host}/llm/{name}:v1")
        modfile("push", f"{host}/llm/{name}:v1")
    forget(tmp_path)
    modfile("pull", f"{host}/llm/two:v1")


def test_tls_is_verified_unless_told_otherwise(modfile, model, tls_registry, tmp_path):
    ref = f"{tls_registry.host}/llm/tiny:v1"
    modfile("build", "-t", ref)
    modfile("push", ref, "--ca-file", tls_registry.ca_file)
    forget(tmp_path)
    modfile("pull", ref, "--insecure")
    (tmp_path / "config.toml").write_text(f"[registry.'{tls_registry.host}']\nplain_http = false\n")
    refused = modfile("--config", tmp_path / "config.toml", "pull", ref, exit_code=1)
    assert "--ca-file" in refused.stderr
    (tmp_path / "config.toml").write_text(f"[registry.'{tls_registry.host}']\nca_file = '{tls_registry.ca_file}'\n")
    modfile("--config", tmp_path / "config.toml", "pull", ref)


def test_a_registry_that_is_not_there_is_said_to_be(modfile, model):
    modfile("build", "-t", "127.0.0.1:9/x:v1")
    (Path.home() / "config.toml").write_text("")
    error = modfile("pull", "127.0.0.1:9/x:v1", exit_code=1).stderr
    assert "127.0.0.1:9" in error.splitlines()[-1]


def test_skopeo_copies_our_store_into_the_registry_and_back_unchanged(modfile, model, ref, tmp_path, registry):
    digest = modfile("build", "-t", ref).stdout.strip()
    store = tmp_path / "storage/store"
    other = ref.replace(":v1", ":by-skopeo")
    skopeo("copy", "--dest-tls-verify=false", f"oci:{store}:{ref}", f"docker://{other}")
    assert modfile("pull", other).stdout == f"{digest}\n"
    raw = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{other}")
    assert raw.encode() == (store / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()
    (tmp_path / "elsewhere").mkdir()
    skopeo("copy", "--src-tls-verify=false", f"docker://{other}", f"oci:{tmp_path / 'elsewhere'}/store:{ref}")
    modfile("--storage-dir", tmp_path / "elsewhere", "extract", ref, "-o", tmp_path / "out")
    assert (tmp_path / "out/run.py").read_bytes() == Path("run.py").read_bytes()
    skopeo("copy", "--src-tls-verify=false", f"docker://{other}", f"oci:{store}:{ref}-again")
    assert modfile("ls").stdout.count(digest[7:19]) == 3


def test_skopeo_inspects_what_was_pushed(modfile, model, ref):
    modfile("build", "-t", ref)
    modfile("push", ref)
    manifest = json.loads(skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{ref}"))
    assert manifest["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    config = json.loads(skopeo("inspect", "--config", "--raw", "--tls-verify=false", f"docker://{ref}"))
    assert config["descriptor"]["name"] == "tiny"


def test_several_commands_at_once_lose_nothing(modfile, model, registry, tmp_path):
    """Builds, pushes and pulls of one store, in processes of their own."""
    import sys

    code = "from modfile_cmd.main import main; main()"

    def start(*arguments):
        return subprocess.Popen([sys.executable, "-c", code, "-q", *arguments], stdout=subprocess.DEVNULL)

    names = [f"{registry.host}/many/m{number}:v1" for number in range(6)]
    for process in [start("build", "-t", name) for name in names] + [start("prune") for _ in range(3)]:
        assert process.wait(60) == 0
    assert len(modfile("ls").stdout.splitlines()) == 7
    for process in [start("push", name) for name in names]:
        assert process.wait(60) == 0
    forget(tmp_path)
    for process in [start("pull", name) for name in names] + [start("prune") for _ in range(3)]:
        assert process.wait(60) == 0
    for name in names:
        modfile("extract", name, "-o", tmp_path / "out")
