from __future__ import annotations

import base64
import json
import os
import stat
import threading

import pytest

from modfile.errors import RegistryError, UsageError
from modfile.registry import Credential, CredentialStore

HELPER = """#!/bin/sh
# Keeps one credential per server below $HELPER_DIRECTORY.
server() { cat | tr -d '\\n' | tr '/:' '__'; }
case "$1" in
get) file="$HELPER_DIRECTORY/$(server)"
     if [ -f "$file" ]; then cat "$file"; else echo "credentials not found in native keychain"; exit 1; fi ;;
store) value="$(cat)"
     name="$(echo "$value" | sed 's/.*"ServerURL": "\\([^"]*\\)".*/\\1/' | tr -d '\\n' | tr '/:' '__')"
     echo "$value" > "$HELPER_DIRECTORY/$name" ;;
erase) rm "$HELPER_DIRECTORY/$(server)" ;;
esac
"""


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def config(tmp_path):
    return tmp_path / "docker" / "config.json"


@pytest.fixture
def helper(tmp_path, monkeypatch):
    """Install programs as credential helpers; returns the function that does it."""
    programs, kept = tmp_path / "bin", tmp_path / "kept"
    programs.mkdir()
    kept.mkdir()
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HELPER_DIRECTORY", str(kept))

    def install(name, script=HELPER):
        program = programs / f"docker-credential-{name}"
        program.write_text(script)
        program.chmod(0o755)
        return kept

    return install


ALICE = Credential("alice", "se:cret")
ENTRY = {"auth": encoded("alice:se:cret")}


@pytest.mark.parametrize(
    ("host", "auths"),
    [
        ("r.io", {"r.io": ENTRY}),
        ("r.io:5000", {"r.io:5000": ENTRY}),
        ("R.io", {"r.io": ENTRY}),
        ("r.io", {"https://r.io": ENTRY}),
        ("r.io", {"https://r.io/": ENTRY}),
        ("r.io", {"https://r.io/v1/": ENTRY}),
        ("r.io", {"https://r.io/v2": ENTRY}),
        ("r.io", {"r.io/v1/": ENTRY}),
        ("docker.io", {"https://index.docker.io/v1/": ENTRY}),
        ("docker.io", {"docker.io": ENTRY}),
        ("docker.io", {"registry-1.docker.io": ENTRY}),
        ("r.io", {"r.io": {"username": "alice", "password": "se:cret"}}),
        ("r.io", {"r.io": {"auth": encoded("alice:se:cret\0\0")}}),
        ("r.io", {"https://r.io/v1/": {"auth": encoded("old:old")}, "r.io": ENTRY}),
        ("r.io", {"r.io": {}, "https://r.io": ENTRY}),
    ],
)
def test_a_host_is_found_under_the_keys_that_docker_and_podman_use(config, host, auths):
    assert CredentialStore([write(config, {"auths": auths})]).get(host, "org/model") == ALICE


@pytest.mark.parametrize(
    "auths",
    [
        {},
        {"other.io": ENTRY},
        {"r.io:5000": ENTRY},
        {"r.io": {}},
        {"r.io/other": ENTRY},
        {"r.io/org/mod": ENTRY},
        {"https://r.io/org": ENTRY},
        {"evil-r.io": ENTRY},
        {"ftp://r.io": ENTRY},
        {"r.io.evil.com": ENTRY},
    ],
)
def test_other_keys_are_not_taken_for_a_host(config, auths):
    assert CredentialStore([write(config, {"auths": auths})]).get("r.io", "org/model") is None


@pytest.mark.parametrize(
    ("repository", "username"),
    [("org/team/model", "model"), ("org/team/other", "team"), ("org/x", "org"), ("else", "host"), ("organ/x", "host")],
)
def test_the_longest_part_of_a_repository_wins(config, repository, username):
    keys = {"r.io": "host", "r.io/org": "org", "r.io/org/team": "team", "r.io/org/team/model": "model"}
    auths = {key: {"auth": encoded(f"{name}:x")} for key, name in keys.items()}
    assert CredentialStore([write(config, {"auths": auths})]).get("r.io", repository).username == username


def test_an_identity_token_is_read(config):
    entry = {"auth": encoded("00000000-0000-0000-0000-000000000000:"), "identitytoken": "token"}
    found = CredentialStore([write(config, {"auths": {"r.io": entry}})]).get("r.io")
    assert found.identity_token == "token"


def test_the_first_file_that_has_a_credential_is_taken(config, tmp_path):
    first = write(tmp_path / "first.json", {"auths": {"a.io": {"auth": encoded("first:x")}}})
    second = write(config, {"auths": {name: {"auth": encoded("second:x")} for name in ("a.io", "b.io")}})
    store = CredentialStore([tmp_path / "absent.json", first, second])
    assert [store.get(host).username for host in ("a.io", "b.io")] == ["first", "second"]
    assert store.get("c.io") is None


@pytest.mark.parametrize("content", ["", " \n", "{}", '{"auths": null}', '{"auths": {}, "HttpHeaders": {"a": "b"}}'])
def test_a_file_without_credentials_is_anonymous_access(config, content):
    config.parent.mkdir()
    config.write_text(content)
    assert CredentialStore([config]).get("r.io") is None


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '"text"',
        "[" * 100_000,
        '{"auths": []}',
        '{"auths": {"r.io": "text"}}',
        '{"auths": {"r.io": {"auth": 7}}}',
        '{"auths": {"r.io": {"auth": "not base64!"}}}',
        json.dumps({"auths": {"r.io": {"auth": encoded("hidden-without-colon")}}}),
        '{"auths": {"r.io": {"auth": "/w=="}}}',
        '{"credHelpers": 7}',
        '{"credHelpers": {"r.io": "../../evil"}}',
        '{"credsStore": 7}',
        '{"credsStore": "a b"}',
    ],
)
def test_a_broken_file_is_an_error_that_names_it_and_no_secret(config, content):
    config.parent.mkdir()
    config.write_text(content)
    with pytest.raises(RegistryError) as caught:
        CredentialStore([config]).get("r.io")
    assert str(config) in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_a_directory_in_a_files_place_is_an_error_that_names_it(config):
    config.mkdir(parents=True)
    with pytest.raises(RegistryError, match="cannot read the credentials"):
        CredentialStore([config]).get("r.io")


def test_a_login_is_written_for_the_owner_only(config):
    assert CredentialStore([config]).set("r.io", ALICE) == str(config)
    assert json.loads(config.read_text()) == {"auths": {"r.io": ENTRY}}
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert stat.S_IMODE(config.parent.stat().st_mode) == 0o700
    assert [path.name for path in config.parent.iterdir()] == ["config.json"]
    assert CredentialStore([config]).get("r.io") == ALICE


def test_a_login_keeps_the_rest_of_the_file(config):
    before = {"HttpHeaders": {"a": "ü"}, "auths": {"other.io": {"auth": "eDp5", "email": "e"}}, "plugins": {"p": [1]}}
    write(config, before)
    CredentialStore([config]).set("r.io", ALICE)
    assert json.loads(config.read_text()) == before | {"auths": before["auths"] | {"r.io": ENTRY}}


def test_a_login_replaces_every_older_key_of_the_host(config):
    write(config, {"auths": {"https://r.io/v1/": {"auth": encoded("old:old")}, "r.io": {"auth": encoded("a:b")}}})
    CredentialStore([config]).set("r.io", ALICE)
    assert json.loads(config.read_text())["auths"] == {"r.io": ENTRY}


@pytest.mark.parametrize(("name", "key"), [("config.json", "https://index.docker.io/v1/"), ("auth.json", "docker.io")])
def test_docker_hub_is_kept_under_each_programs_key(tmp_path, name, key):
    CredentialStore([tmp_path / name]).set("docker.io", ALICE)
    assert json.loads((tmp_path / name).read_text()) == {"auths": {key: ENTRY}}


def test_a_symlink_stays_one(config, tmp_path):
    target = write(tmp_path / "dotfiles" / "docker.json", {})
    config.parent.mkdir()
    config.symlink_to(target)
    CredentialStore([config]).set("r.io", ALICE)
    assert config.is_symlink()
    assert json.loads(target.read_text()) == {"auths": {"r.io": ENTRY}}


def test_a_login_does_not_overwrite_a_broken_file(config):
    config.parent.mkdir()
    config.write_text('{"auths": ')
    with pytest.raises(RegistryError, match="is broken"):
        CredentialStore([config]).set("r.io", ALICE)
    assert config.read_text() == '{"auths": '


@pytest.mark.parametrize("path", ["file/config.json", "loop/config.json"])
def test_a_place_that_cannot_be_written_is_an_error_that_names_it(tmp_path, path):
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(RegistryError, match="cannot write the credentials") as caught:
        CredentialStore([tmp_path / path]).set("r.io", ALICE)
    assert "se:cret" not in str(caught.value)


@pytest.mark.parametrize("credential", [Credential("a:b", "x"), Credential("a\nb", "x"), Credential("a", "x\r\n")])
def test_what_basic_authentication_cannot_carry_is_not_kept(config, credential):
    with pytest.raises(UsageError):
        CredentialStore([config]).set("r.io", credential)
    assert not config.exists()


def test_without_a_file_nothing_can_be_kept():
    with pytest.raises(UsageError):
        CredentialStore().set("r.io", ALICE)


def test_logins_at_the_same_time_lose_nothing(config):
    hosts = [f"host{number}.io" for number in range(20)]
    threads = [threading.Thread(target=CredentialStore([config]).set, args=(host, ALICE)) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(json.loads(config.read_text())["auths"]) == sorted(hosts)


def test_a_logout_forgets_every_key_in_every_file(config, tmp_path):
    first = write(config, {"auths": {"r.io": ENTRY, "https://r.io/v1/": ENTRY, "other.io": ENTRY}})
    second = write(tmp_path / "auth.json", {"auths": {"r.io": ENTRY, "r.io/org": ENTRY}})
    store = CredentialStore([first, second, tmp_path / "absent.json"])
    assert store.erase("r.io")
    assert json.loads(first.read_text())["auths"] == {"other.io": ENTRY}
    assert json.loads(second.read_text())["auths"] == {"r.io/org": ENTRY}
    assert not store.erase("r.io")
    assert not (tmp_path / "absent.json").exists()


def test_a_secret_is_not_shown_by_repr():
    assert "secret" not in repr(Credential("alice", "secret", "secret"))


@pytest.mark.parametrize("configured", [{"credsStore": "tests"}, {"credHelpers": {"r.io": "tests"}, "credsStore": ""}])
def test_a_login_goes_through_the_helper_and_leaves_no_secret_in_the_file(config, helper, configured):
    kept = helper("tests")
    write(config, configured | {"auths": {"r.io": {"auth": encoded("old:old")}}})
    store = CredentialStore([config])
    assert store.set("r.io", ALICE) == "the credential helper docker-credential-tests"
    assert json.loads((kept / "r.io").read_text()) == {"ServerURL": "r.io", "Username": "alice", "Secret": "se:cret"}
    assert json.loads(config.read_text())["auths"] == {"r.io": {}}
    assert store.get("r.io") == ALICE
    assert store.erase("r.io")
    assert store.get("r.io") is None
    assert not store.erase("r.io")


def test_docker_hub_has_its_own_name_for_helpers(config, helper):
    kept = helper("tests")
    write(config, {"credsStore": "tests"})
    CredentialStore([config]).set("docker.io", ALICE)
    assert [path.name for path in kept.iterdir()] == ["https___index.docker.io_v1_"]


def test_a_token_user_of_a_helper_is_an_identity_token(config, helper):
    helper("tests")
    store = CredentialStore([write(config, {"credsStore": "tests"})])
    store.set("r.io", Credential("", identity_token="token"))
    assert store.get("r.io") == Credential("", identity_token="token")


def test_the_hosts_own_helper_comes_before_the_one_for_all(config, helper):
    helper("own", '#!/bin/sh\necho \'{"Username":"own","Secret":"x"}\'\n')
    helper("all", '#!/bin/sh\necho \'{"Username":"all","Secret":"x"}\'\n')
    store = CredentialStore([write(config, {"credHelpers": {"r.io": "own"}, "credsStore": "all"})])
    assert [store.get(host).username for host in ("r.io", "other.io")] == ["own", "all"]


def test_a_helper_without_the_credential_leaves_it_to_the_file(config, helper):
    helper("tests")
    assert CredentialStore([write(config, {"credsStore": "tests", "auths": {"r.io": ENTRY}})]).get("r.io") == ALICE


def test_a_helper_that_is_not_installed_is_an_error_that_names_it_and_the_file(config):
    write(config, {"credsStore": "nowhere"})
    with pytest.raises(RegistryError, match="docker-credential-nowhere") as caught:
        CredentialStore([config]).get("r.io")
    assert str(config) in str(caught.value)


@pytest.mark.parametrize(
    "script", ["echo 'hidden'", "echo '[]'", 'echo \'{"Username":"a"}\'', 'echo \'{"Username":1,"Secret":"hidden"}\'']
)
def test_a_helpers_answer_that_is_none_is_an_error_without_it(config, helper, script):
    helper("tests", f"#!/bin/sh\n{script}\n")
    with pytest.raises(RegistryError, match="docker-credential-tests") as caught:
        CredentialStore([write(config, {"credsStore": "tests"})]).get("r.io")
    assert "hidden" not in str(caught.value)


def test_a_failing_helper_says_why_on_one_line(config, helper):
    helper("tests", "#!/bin/sh\nprintf 'keychain\\nis locked\\033[0m' >&2; exit 1\n")
    with pytest.raises(RegistryError, match="keychain is locked") as caught:
        CredentialStore([write(config, {"credsStore": "tests"})]).get("r.io")
    assert str(caught.value).isprintable()


def test_a_helper_that_repeats_the_secret_does_not_give_it_away(config, helper):
    helper("tests", "#!/bin/sh\ncat >&2; exit 1\n")
    with pytest.raises(RegistryError) as caught:
        CredentialStore([write(config, {"credsStore": "tests"})]).set("r.io", ALICE)
    assert "se:cret" not in str(caught.value)
    assert json.loads(config.read_text()) == {"credsStore": "tests"}


def test_a_helper_that_hangs_is_given_up(config, helper):
    from modfile.registry.credential_helper import CredentialHelper

    helper("tests", "#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(RegistryError, match="does not answer"):
        CredentialHelper("tests", config, timeout=0.2).get("r.io")
