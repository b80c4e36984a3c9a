"""How the tests reach a registry: without waiting."""

from __future__ import annotations

from modfile.backoff import Backoff
from modfile.reference import Reference
from modfile.registry import Registry, RegistrySettings


class Credentials:
    """The same credential for everything."""

    def __init__(self, credential):
        self.credential = credential

    def get(self, host, repository=""):
        return self.credential


class CountingMeter:
    """What a transfer told of: `done` bytes, the `notes`, and the least that `done` was after each of its steps."""

    def __init__(self):
        self.done = 0
        self.steps = []
        self.notes = []

    def resume(self, amount):
        pass

    def advance(self, amount):
        self.done += amount
        self.steps.append(amount)

    def note(self, text):
        self.notes.append(text)

    def finish(self, outcome):
        pass


def settings(**more) -> RegistrySettings:
    """Return settings whose pauses take no time, and whose timeouts are short."""
    backoff = Backoff(attempts=more.pop("attempts", 4), sleep=more.pop("sleep", lambda seconds: None))
    return RegistrySettings(**{"backoff": backoff, "connect_timeout": 5, "stall_timeout": 10, **more})


def repository(host, name="org/model", credential=None, **more):
    """Return a repository of a registry."""
    return Registry(host, settings(**more), Credentials(credential)).repository(name)


def reference(repo, tag="v1") -> Reference:
    return Reference.parse(f"{repo}:{tag}")


def read_all(repo, content, start=0, stop=None) -> bytes:
    with repo.open(content, start, stop) as stream:
        return b"".join(iter(lambda: stream.read(1 << 20), b""))
