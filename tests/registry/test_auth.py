"""Who gets credentials and tokens, and who never does."""

from __future__ import annotations

import datetime
import json
import threading
from email.utils import format_datetime

import pytest

from modfile.errors import AccessDeniedError, RegistryError
from modfile.progress import SILENT
from modfile.registry import Credential, Registry
from modfile.registry.auth import merge_scopes
from tests.registries.fake import Answer

from .reach import reference, repository, settings

pytestmark = pytest.mark.promise("R4")

ALICE = Credential("alice", "hidden")
BASIC = "Basic YWxpY2U6aGlkZGVu"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST_TYPE}).encode()


def bearer_of(realm, more=""):
    return {"WWW-Authenticate": f'Bearer realm="{realm}",service="s"{more}'}


def guard(fake, realm, token="token"):
    """Let the registry refuse all that does not carry the token, and have one manifest."""
    fake.manifests["v1"] = (MANIFEST_TYPE, MANIFEST)
    allowed = f"Bearer {token}"
    fake.on("GET", "^/v2/", lambda seen: None if seen.authorization == allowed else Answer(401, bearer_of(realm)))
    fake.on("PUT", "^/v2/", lambda seen: None if seen.authorization == allowed else Answer(401, bearer_of(realm)))


def resolve(fake, credential=ALICE, **more):
    repo = repository(fake.host, credential=credential, **more)
    return repo.resolve(reference(repo))


def secrets_seen(fake):
    return [one for one in fake.seen if one.authorization or b"hidden" in one.body or "hidden" in str(one.query)]


def test_credentials_go_to_a_realm_on_the_registrys_own_host(fake, other_fake):
    guard(fake, f"http://{other_fake.host}/token?account=x")
    other_fake.always("GET", "/token", Answer(body=b'{"token": "token"}'))
    resolve(fake)
    (asked,) = other_fake.seen
    assert asked.authorization == BASIC
    assert asked.query == {"account": "x", "service": "s", "scope": "repository:org/model:pull"}


def test_credentials_never_go_to_a_foreign_realm(fake, other_fake):
    port = other_fake.host.partition(":")[2]
    guard(fake, f"http://localhost:{port}/token")
    other_fake.always("GET", "/token", Answer(body=b'{"token": "token"}'))
    for credential in (ALICE, Credential("", identity_token="hidden")):
        with pytest.raises(AccessDeniedError, match="name localhost as trust_realm") as caught:
            resolve(fake, credential)
        assert "hidden" not in str(caught.value)
    assert other_fake.seen == []


@pytest.mark.parametrize("trusted", ["localhost", "LOCALHOST:{port}", "http://localhost:{port}"])
def test_credentials_go_to_a_realm_that_the_user_trusts(fake, other_fake, trusted):
    port = other_fake.host.partition(":")[2]
    guard(fake, f"http://localhost:{port}/token")
    other_fake.always("GET", "/token", Answer(body=b'{"token": "token"}'))
    resolve(fake, trust_realms=(trusted.format(port=port),))
    assert other_fake.seen[0].authorization == BASIC


@pytest.mark.parametrize("trusted", ["localhost:1", "https://localhost:{port}", "local", "host", ".", ""])
def test_trust_is_not_stretched(fake, other_fake, trusted):
    port = other_fake.host.partition(":")[2]
    guard(fake, f"http://localhost:{port}/token")
    with pytest.raises(AccessDeniedError):
        resolve(fake, trust_realms=(trusted.format(port=port),))
    assert other_fake.seen == []


def test_who_has_no_credentials_may_ask_a_foreign_realm(fake, other_fake):
    port = other_fake.host.partition(":")[2]
    guard(fake, f"http://localhost:{port}/token")
    other_fake.always("GET", "/token", Answer(body=b'{"access_token": "token"}'))
    resolve(fake, None)
    assert secrets_seen(other_fake) == []


def test_a_tls_registry_cannot_send_anybody_to_a_plain_realm(tls_fake, other_fake, ca_file):
    guard(tls_fake, f"http://{other_fake.host}/token")
    for credential in (None, ALICE):
        with pytest.raises(RegistryError, match="from https to http"):
            resolve(tls_fake, credential, plain_http=False, ca_file=ca_file, trust_realms=(other_fake.host,))
    assert other_fake.seen == []


@pytest.mark.parametrize("realm", ["ftp://x/", "http://u:p@127.0.0.1/", "http://[", "http://127.0.0.1:99999/"])
def test_a_realm_that_is_no_url_is_an_error(fake, realm):
    guard(fake, realm)
    with pytest.raises(RegistryError):
        resolve(fake)


def test_a_realm_that_redirects_does_not_take_credentials_along(fake, other_fake):
    guard(fake, f"http://{fake.host}/token")
    fake.always("GET", "^/token", Answer(307, {"Location": f"http://{other_fake.host}/token"}))
    fake.always("POST", "^/token", Answer(307, {"Location": f"http://{other_fake.host}/token"}))
    for credential in (ALICE, Credential("", identity_token="hidden")):
        with pytest.raises(RegistryError):
            resolve(fake, credential)
    assert other_fake.seen == []


def test_basic_credentials_are_sent_at_once_after_a_host_asked_for_them(fake, source):
    basic = {"WWW-Authenticate": 'Basic realm="x"'}
    for method in ("GET", "HEAD", "POST", "PUT"):
        fake.on(method, "^/v2/", lambda seen: None if seen.authorization == BASIC else Answer(401, basic))
    repo = repository(fake.host, credential=ALICE)
    content = source.add(b"blob")
    repo.exists(content)
    repo.put(content, source, SILENT)
    assert [one.authorization for one in fake.seen] == [None, BASIC, BASIC, BASIC]


def test_a_registry_that_never_has_enough_is_given_up(fake):
    fake.always("GET", "^/v2/", Answer(401, {"WWW-Authenticate": 'Basic realm="x"'}))
    with pytest.raises(AccessDeniedError, match="modfile login"):
        resolve(fake)
    assert len(fake.seen) == 2


def test_a_token_that_is_not_taken_is_not_fetched_for_ever(fake):
    guard(fake, f"http://{fake.host}/token", token="another")
    fake.always("GET", "^/token", Answer(body=b'{"token": "token"}'))
    with pytest.raises(AccessDeniedError):
        resolve(fake)
    assert len(fake.requests("GET", "^/token")) == 1
    assert len(fake.requests("GET", "^/v2/")) == 2


@pytest.mark.parametrize("challenge", [None, "", "Negotiate", "Bearer", 'Bearer service="s"', "Basic"])
def test_a_challenge_that_cannot_be_met_is_access_denied(fake, challenge):
    fake.always("GET", "^/v2/", Answer(401, {} if challenge is None else {"WWW-Authenticate": challenge}))
    with pytest.raises(AccessDeniedError, match="log in with: modfile login"):
        resolve(fake, None)
    assert len(fake.seen) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"token": 7}',
        b'{"token": ""}',
        b'{"token": "a\\r\\nX-Injected: 1"}',
        b'{"token": "a b"}',
        '{"token": "tökén"}'.encode(),
        b'{"token": "a", "token": "b"}',
        b'{"token": "' + b"a" * (129 << 10) + b'"}',
        b"[" * 100_000,
    ],
)
def test_a_token_answer_that_is_none_is_refused(fake, body):
    guard(fake, f"http://{fake.host}/token")
    fake.always("GET", "^/token", Answer(body=body))
    with pytest.raises(RegistryError) as caught:
        resolve(fake)
    assert len(str(caught.value)) < 300


def test_an_endless_token_answer_is_not_read_to_its_end(fake):
    guard(fake, f"http://{fake.host}/token")
    fake.always("GET", "^/token", Answer(endless=True))
    with pytest.raises(RegistryError, match="more than 131072 bytes"):
        resolve(fake)


def test_an_identity_token_is_posted_in_a_form(fake):
    guard(fake, f"http://{fake.host}/token")
    fake.always("POST", "^/token", Answer(body=b'{"access_token": "token"}'))
    resolve(fake, Credential("", identity_token="hidden"))
    (asked,) = fake.requests("POST", "^/token")
    assert asked.authorization is None
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert b"grant_type=refresh_token" in asked.body
    assert b"refresh_token=hidden" in asked.body


def token_life(answer, seconds_later):
    """Return how many tokens two requests take that come so many seconds one after the other."""
    from modfile.registry.auth import Authorizer
    from modfile.registry.endpoint import Endpoint

    now = [0.0]
    asked = []

    class Refusal:
        headers = {"WWW-Authenticate": 'Bearer realm="http://127.0.0.1/token"'}
        request = type("Request", (), {"headers": {}})()

    class Transport:
        def exchange(self, request, authorization=None):
            asked.append(request)
            return type("Response", (), answer | {"status_code": 200, "url": "http://127.0.0.1/token"})()

    authorizer = Authorizer(Endpoint.of("127.0.0.1"), Transport(), None, clock=lambda: now[0])
    authorizer.answer(Refusal(), ("scope",))
    now[0] = seconds_later
    authorizer.header(("scope",))
    return len(asked)


@pytest.mark.parametrize(
    ("expires_in", "seconds_later", "tokens"),
    [
        (None, 45, 1),
        (None, 60, 2),
        (300, 250, 1),
        (300, 295, 2),
        (0, 45, 1),
        (-5, 60, 2),
        ("300", 60, 2),
        (True, 45, 1),
        (10**400, 3600, 1),
    ],
)
def test_a_token_is_kept_until_a_little_before_it_expires(expires_in, seconds_later, tokens):
    body = {"token": "t"} | ({} if expires_in is None else {"expires_in": expires_in})
    assert token_life({"content": json.dumps(body).encode(), "headers": {}}, seconds_later) == tokens


def test_the_age_that_a_token_had_when_it_came_counts():
    sent = datetime.datetime(2024, 5, 1, 12, 0, tzinfo=datetime.UTC)
    issued = (sent - datetime.timedelta(seconds=200)).isoformat()
    body = json.dumps({"token": "t", "expires_in": 300, "issued_at": issued}).encode()
    headers = {"Date": format_datetime(sent, usegmt=True)}
    assert token_life({"content": body, "headers": headers}, 60) == 1
    assert token_life({"content": body, "headers": headers}, 99) == 2


def test_a_token_that_was_taken_back_is_fetched_anew(fake):
    guard(fake, f"http://{fake.host}/token")
    fake.on("GET", "^/token", *(Answer(body=b'{"token": "%s", "expires_in": 900}' % t) for t in (b"token", b"second")))
    repo = repository(fake.host, credential=ALICE)
    repo.resolve(reference(repo))
    fake._rules = [rule for rule in fake._rules if rule[1].pattern != "^/v2/"]
    guard(fake, f"http://{fake.host}/token", token="second")
    repo.resolve(reference(repo))
    assert [one.authorization for one in fake.requests("GET", "^/v2/")] == [
        None,
        "Bearer token",
        "Bearer token",
        "Bearer second",
    ]


def test_threads_wait_for_one_token(fake):
    guard(fake, f"http://{fake.host}/token")
    fake.always("GET", "^/token", Answer(body=b'{"token": "token", "expires_in": 900}'))
    repo = repository(fake.host, credential=ALICE)
    barrier = threading.Barrier(8)

    def work():
        barrier.wait()
        repo.resolve(reference(repo))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fake.requests("GET", "^/token")) == 1


def test_a_busy_token_server_is_asked_again(fake):
    guard(fake, f"http://{fake.host}/token")
    fake.on("GET", "^/token", Answer(503), Answer(429, {"Retry-After": "3"}), Answer(body=b'{"token": "token"}'))
    pauses = []
    resolve(fake, sleep=pauses.append)
    assert len(pauses) == 2
    assert pauses[1] >= 3


def test_a_registry_that_repeats_the_secret_does_not_get_it_shown(fake):
    body = json.dumps({"errors": [{"code": "DENIED", "message": "alice:hidden YWxpY2U6aGlkZGVu may not"}]}).encode()
    basic = {"WWW-Authenticate": "Basic"}
    fake.on("GET", "/v2/", lambda seen: Answer(403, body=body) if seen.authorization else Answer(401, basic))
    with pytest.raises(AccessDeniedError, match="may not") as caught:
        Registry(fake.host, settings()).authenticate(ALICE)
    assert "hidden" not in str(caught.value)
    assert "YWxp" not in str(caught.value)


@pytest.mark.parametrize(
    ("scopes", "merged"),
    [
        ((), []),
        (("repository:a:pull", "repository:a:pull,push"), ["repository:a:pull,push"]),
        (("repository:a:pull,push", "repository:b:pull"), ["repository:a:pull,push", "repository:b:pull"]),
        (("repository:a:pull", "registry:catalog:*"), ["repository:a:pull", "registry:catalog:*"]),
        (("odd",), ["odd"]),
    ],
)
def test_scopes_are_merged_by_resource(scopes, merged):
    assert merge_scopes(scopes) == merged


def test_the_known_pairs_are_trusted_and_nothing_else():
    from modfile.registry.auth import Authorizer
    from modfile.registry.endpoint import Endpoint, Origin

    def trusts(host, realm):
        return Authorizer(Endpoint.of(host), None, ALICE)._trusted(Origin.of(realm))

    assert trusts("docker.io", "https://auth.docker.io/token")
    assert trusts("registry.gitlab.com", "https://gitlab.com/jwt/auth")
    assert trusts("ghcr.io", "https://ghcr.io/token")
    assert not trusts("docker.io", "https://auth.docker.io.evil.com/token")
    assert not trusts("ghcr.io", "https://auth.docker.io/token")
    assert not trusts("gitlab.com", "https://registry.gitlab.com/token")
