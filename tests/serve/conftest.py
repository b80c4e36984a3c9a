"""Servers and clients for the tests."""

from __future__ import annotations

import os

import pytest
import requests

from tests.registries.served import serving

from .wire import Client, digest_of


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A server that lets this machine push."""
    with serving(tmp_path_factory.mktemp("served"), "--allow-push") as one:
        yield one


@pytest.fixture
def connect():
    """Return clients of servers."""
    sessions = []

    def client(url, auth=None, **settings):
        session = requests.Session()
        session.trust_env = False
        session.auth = auth
        for name, value in settings.items():
            setattr(session, name, value)
        sessions.append(session)
        return Client(url, session)

    yield client
    for session in sessions:
        session.close()


@pytest.fixture
def client(served, connect):
    return connect(served.url)


@pytest.fixture
def repository(request):
    """A repository's name, of the test's own."""
    return f"test/r{digest_of(request.node.nodeid.encode())[7:23]}-{os.urandom(4).hex()}"
