from __future__ import annotations

import pytest

from modfile.errors import RegistryError
from modfile.registry.endpoint import Endpoint, Origin, follow, is_loopback, shown


@pytest.mark.parametrize(
    ("host", "plain_http", "url"),
    [
        ("registry.example.com", None, "https://registry.example.com/v2/"),
        ("registry.example.com", True, "http://registry.example.com/v2/"),
        ("localhost:5000", None, "http://localhost:5000/v2/"),
        ("localhost:5000", False, "https://localhost:5000/v2/"),
        ("[::1]:5000", None, "http://[::1]:5000/v2/"),
        ("docker.io", None, "https://registry-1.docker.io/v2/"),
        ("index.docker.io", None, "https://registry-1.docker.io/v2/"),
    ],
)
def test_a_host_answers_at(host, plain_http, url):
    assert Endpoint.of(host, plain_http).url("/v2/") == url


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1:5000", "127.9.9.9", "[::1]", "[::1]:80"])
def test_loopback_hosts_are_known(host):
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["localhost.example.com", "128.0.0.1", "127.0.0.1.example.com", "[::2]", "127.1.example", "", "[::1", "a:b"]
)
def test_other_hosts_are_not_loopback(host):
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("host", "repository", "name"),
    [
        ("docker.io", "busybox", "library/busybox"),
        ("docker.io", "library/busybox", "library/busybox"),
        ("docker.io", "org/model", "org/model"),
        ("ghcr.io", "model", "model"),
    ],
)
def test_one_part_names_of_docker_hub_are_in_library(host, repository, name):
    assert Endpoint.of(host).name(repository) == name


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://r.io/a", "https://R.io:443/b?c", True),
        ("http://r.io/a", "http://r.io:80", True),
        ("https://r.io", "http://r.io", False),
        ("https://r.io", "https://r.io:8443", False),
        ("https://r.io", "https://s.r.io", False),
    ],
)
def test_an_origin_is_scheme_host_and_port(one, other, same):
    assert (Origin.of(one) == Origin.of(other)) is same


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/path",
        "ftp://r.io/",
        "file:///etc/passwd",
        "https://",
        "https://r.io:99999/",
        "https://r.io:x/",
        "https://[::1/",
        "https://user:secret@r.io/",
        "https://secret@r.io/",
        "https://r.io/\r\nX: y",
        "https://r.io/a b",
        "javascript:alert(1)",
    ],
)
def test_what_is_no_place_to_go_to_has_no_origin(url):
    with pytest.raises(RegistryError) as caught:
        Origin.of(url)
    assert "secret" not in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("base", "location", "url"),
    [
        ("https://r.io/v2/a/blobs/uploads/", "/v2/a/blobs/uploads/1?s=2", "https://r.io/v2/a/blobs/uploads/1?s=2"),
        ("https://r.io/v2/a/blobs/uploads/", "1?s=2", "https://r.io/v2/a/blobs/uploads/1?s=2"),
        ("https://r.io/v2/", "https://s3.io/x#fragment", "https://s3.io/x"),
        ("https://r.io/v2/", "//s3.io/x", "https://s3.io/x"),
        ("http://r.io/v2/", "https://s3.io/x", "https://s3.io/x"),
        ("http://r.io/v2/", "http://s3.io/x", "http://s3.io/x"),
    ],
)
def test_a_location_is_followed_to(base, location, url):
    assert follow(base, location) == url


@pytest.mark.parametrize("location", ["http://r.io/", "http://s3.io/x", "ftp://r.io/", "https://u:p@r.io/", "http://["])
def test_a_location_that_lowers_the_guard_is_refused(location):
    with pytest.raises(RegistryError):
        follow("https://r.io/v2/", location)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://user:secret@r.io/v2/a?token=secret#secret", "https://r.io/v2/a"),
        ("http://user:se@cret@proxy:3128", "http://proxy:3128"),
        ("https://r.io/a\r\nb\x1b[31m", "https://r.io/a??b?[31m"),
        ("?https://r.io/", ""),
    ],
)
def test_a_url_is_shown_without_its_secrets(url, text):
    assert shown(url) == text
