"""What an artifact URI of MLflow's means in a registry: `modelpack://host/repository…`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import UsageError
from ..reference import Reference

SCHEME = "modelpack"
_URI = re.compile(rf"{SCHEME}:(?://([^/]*))?(?:/(.*))?", re.DOTALL)
_ARTIFACTS = "artifacts"
_ID = re.compile(r"(m-|tr-)?[0-9a-f]{32}")
_COLLECTIONS = {"m-": "models", "tr-": "traces"}
"""Where MLflow puts what is no run's: `<location>/models/<id>/artifacts`, and traces likewise."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place in an artifact.

    Attributes:
        reference: the artifact.
        path: a file of it, or a directory; empty for all of it.
        is_logged: it is what MLflow logs for a run, a model or a trace; else it is named by a tag or a digest, and is
            not to be changed.
    """

    reference: Reference
    path: str
    is_logged: bool

    @classmethod
    def parse(cls, uri: str) -> Place:
        """Read a URI, in which nothing is percent-encoded.

            modelpack://host/repository/<run>/artifacts/path            host/repository:<run>
            modelpack://host/repository/models/<model>/artifacts/path   host/repository:<model>
            modelpack://host/repository:tag/path                        host/repository:tag
            modelpack://host/repository@sha256:…/path                   host/repository@sha256:…
            modelpack:///name:tag/path                                  name:tag of the local store

        A directory called `artifacts` is a run's if its own directory is called as MLflow calls a run.

        Raises:
            UsageError: it says no artifact, or none that a registry can have.
        """
        match = _URI.fullmatch(uri)
        if match is None:
            raise UsageError(f"{uri!r} does not begin with {SCHEME}://")
        if "@" in (match[1] or ""):
            raise UsageError(f"a {SCHEME}:// URI says who asks; leave that out, and log in: modfile login HOST")
        host, parts = match[1] or "", [part for part in (match[2] or "").split("/") if part]
        for at, part in enumerate(parts):
            if at and part == _ARTIFACTS and (found := _ID.fullmatch(parts[at - 1])):
                above = parts[: at - 1]
                if above and above[-1] == _COLLECTIONS.get(found[1] or ""):
                    above.pop()
                return cls(_logged(uri, host, above, found[0]), "/".join(parts[at + 1 :]), True)
            if ":" in part or "@" in part:
                named = "/".join(([host] if host else []) + parts[: at + 1])
                reference = Reference.parse(named)
                if reference.host != (host or None):
                    raise _no_host(uri, host)
                return cls(reference, "/".join(parts[at + 1 :]), False)
        raise UsageError(
            f"{uri} is no artifact: it names neither a tag or a digest nor what MLflow logs "
            f"({SCHEME}://host/repository/<run>/{_ARTIFACTS})"
        )


@dataclass(frozen=True, slots=True)
class Asked:
    """What a path means that MLflow asks for below a URI.

    Attributes:
        place: where it is.
        above: what comes before a path of the artifact in the path as MLflow has it, where the URI ends above it.
        root: the directory of the artifact that the URI ends in, where it does not end above it.
    """

    place: Place
    above: str
    root: str

    @classmethod
    def of(cls, uri: str, path: str | None) -> Asked:
        """Read a URI, and a path below it.

        Raises:
            UsageError: as for `Place.parse`.
        """
        segments = [part for part in (path or "").split("/") if part]
        place = Place.parse(joined(uri.rstrip("/"), "/".join(segments)))
        inside = place.path.split("/") if place.path else []
        more = len(segments) - len(inside)
        return cls(place, "/".join(segments[: max(more, 0)]), "/".join(inside[: max(-more, 0)]))

    def named(self, path: str) -> str:
        """Return what MLflow calls a path of the artifact."""
        return joined(self.above, path[len(self.root) + 1 :] if self.root else path)


def joined(above: str, path: str) -> str:
    """Join two paths, either of which may be empty."""
    return f"{above}/{path}" if above and path else above or path


def _logged(uri: str, host: str, repository: list[str], tag: str) -> Reference:
    if not repository:
        raise UsageError(f"{uri} says no repository; an artifact location is {SCHEME}://host/repository")
    if not host:
        raise _no_host(uri, host)
    reference = Reference.parse("/".join([host, *repository]) + f":{tag}")
    if reference.host != host:
        raise _no_host(uri, host)
    return reference


def _no_host(uri: str, host: str) -> UsageError:
    if not host:
        return UsageError(f"{uri} says no registry; an artifact location is {SCHEME}://host/repository")
    return UsageError(f"{uri}: {host!r} is no registry; a host has a dot or a port, or is localhost")
