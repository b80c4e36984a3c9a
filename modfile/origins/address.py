"""The texts that name a model where it comes from, and what they mean."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from ..errors import UsageError
from ..paths import shown
from ..registry.endpoint import is_loopback

if TYPE_CHECKING:
    from .settings import OriginSettings

HUB_PROVIDERS = ("huggingface", "modelscope")
_HUGGING_FACE_HOSTS = frozenset({"huggingface.co", "www.huggingface.co", "hf.co"})
_MODELSCOPE_HOSTS = frozenset({"modelscope.cn", "www.modelscope.cn", "modelscope.ai", "www.modelscope.ai"})
_BUCKETS = {"s3": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az"}
_SEGMENT = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_]|[.-](?!\.)){0,95}")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+-]{0,254}")
_FORMS = (
    "expected https://huggingface.co/ORG/MODEL[/tree/REV], hf://ORG/MODEL[@REV], modelscope://ORG/MODEL[@REV], "
    "models:/NAME/VERSION, models:/NAME@ALIAS, runs:/RUN/PATH, s3://BUCKET/PREFIX, gs://…, az://…, "
    "git+https://…[@REV], or ORG/MODEL with --provider"
)


@dataclass(frozen=True, slots=True)
class Address:
    """A model's place: who has it, its name there, and the revision that is meant, None for the usual one.

    `provider` is `huggingface`, `modelscope`, `mlflow`, `s3`, `gs`, `az` or `git`. `name` is `org/model` for the hubs,
    a `models:` or `runs:` URI for MLflow, `bucket/prefix` for buckets, a URL for git.
    """

    provider: str
    name: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str, provider: str | None, settings: OriginSettings) -> Address:
        """Read what a user says.

        Raises:
            UsageError: it names no model in a way that is known; or another provider's than the one given.
        """
        if provider is not None and provider not in HUB_PROVIDERS:
            raise UsageError(f"the provider {shown(provider)} is not known; expected {' or '.join(HUB_PROVIDERS)}")
        if not text.isprintable() or " " in text:
            raise UsageError(f"{_named(text)} holds a space or a character that does not print")
        found = _parse(text, provider, settings)
        if provider is not None and found.provider != provider:
            raise UsageError(f"{_named(text)} is not a model of the provider {provider}")
        return found


def _parse(text: str, provider: str | None, settings: OriginSettings) -> Address:
    scheme, colon, rest = text.partition(":")
    if not colon or "/" in scheme:
        if provider is None:
            raise UsageError(
                f"{_named(text)} does not say where the model is: add --provider huggingface or modelscope"
            )
        return _on_hub(provider, text)
    scheme = scheme.lower()
    if scheme in ("models", "runs"):
        return _in_mlflow(scheme, rest)
    if not rest.startswith("//"):
        raise UsageError(f"{_named(text)} names no model; {_FORMS}")
    if scheme in ("hf", "huggingface"):
        return _on_hub("huggingface", rest[2:])
    if scheme == "modelscope":
        return _on_hub("modelscope", rest[2:])
    if scheme in _BUCKETS:
        return _in_bucket(_BUCKETS[scheme], text, rest[2:])
    if scheme.startswith("git+"):
        return _in_git(scheme.removeprefix("git+"), rest)
    if scheme in ("http", "https"):
        return _at_url(text, settings)
    raise UsageError(f"{_named(text)} names no model; {_FORMS}")


def _on_hub(provider: str, text: str) -> Address:
    name, at, revision = text.partition("@")
    return Address(provider, _model(name.rstrip("/"), provider), _revision(revision) if at else None)


def _model(name: str, provider: str) -> str:
    segments = name.split("/")
    counts = (1, 2) if provider == "huggingface" else (2,)  # Hugging Face's oldest models have no organisation
    if len(segments) not in counts or not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise UsageError(f"{shown(name)} is not the name of a model on a hub; expected ORG/MODEL[@REV]")
    return name


def _revision(text: str) -> str:
    if not _REVISION.fullmatch(text) or ".." in text:
        raise UsageError(f"{_named(text)} is not the name of a revision; expected a branch, a tag or a commit")
    return text


def _at_url(text: str, settings: OriginSettings) -> Address:
    """Read the URL of a page of one of the hubs."""
    try:
        parts = urlsplit(text)
        host = parts.netloc.lower()
    except ValueError:
        raise UsageError(f"{_named(text)} is not a URL") from None
    if "@" in parts.netloc:
        raise UsageError(
            f"{shown(host.rpartition('@')[2])}: leave credentials out of the URL; set HF_TOKEN or its like"
        )
    segments = [unquote(segment) for segment in parts.path.strip("/").split("/")]
    if host in _MODELSCOPE_HOSTS or (
        segments[0] == "models" and host == urlsplit(settings.modelscope_endpoint).netloc.lower()
    ):
        return _at_modelscope(text, segments, parts.query)
    if host in _HUGGING_FACE_HOSTS or host == urlsplit(settings.hf_endpoint).netloc.lower():
        return _at_hugging_face(text, segments)
    raise UsageError(f"{shown(parts.netloc)} is not a hub that is known; {_FORMS}")


def _at_hugging_face(text: str, segments: list[str]) -> Address:
    if segments[0] in ("datasets", "spaces"):
        raise UsageError(f"{_named(text)} is of {segments[0]}, not of a model")
    place = next((at for at in (1, 2) if segments[at : at + 1] in (["tree"], ["blob"], ["resolve"])), len(segments))
    name, page = "/".join(segments[:place]), segments[place:]
    if not page:
        return Address("huggingface", _model(name, "huggingface"))
    if page[0] != "tree" or len(page) < 2:
        raise UsageError(f"{_named(text)} is one file; name the model, and say --include for some of its files")
    if len(page) > 2 and page[1] != "refs":
        raise UsageError(
            f"{_named(text)} is a directory of a model; name the model, and say --include '{'/'.join(page[2:])}/**'"
        )
    return Address("huggingface", _model(name, "huggingface"), _revision("/".join(page[1:])))


def _at_modelscope(text: str, segments: list[str], query: str) -> Address:
    if segments[0] != "models" or len(segments) < 3 or segments[3:] not in ([], ["summary"], ["files"]):
        raise UsageError(f"{_named(text)} is not a model's page; expected https://modelscope.cn/models/ORG/MODEL")
    revision = parse_qs(query).get("revision")
    name = _model("/".join(segments[1:3]), "modelscope")
    return Address("modelscope", name, _revision(revision[0]) if revision else None)


def _in_mlflow(scheme: str, rest: str) -> Address:
    path = rest.removeprefix("/")
    segments = path.split("/")
    if rest.startswith("//") or not rest.startswith("/") or not all(segments) or {".", ".."} & set(segments):
        raise UsageError(
            f"{_named(f'{scheme}:{rest}')} names no model; expected models:/NAME/3, models:/NAME@ALIAS or runs:/…"
        )
    if scheme == "models" and not (len(segments) == 2 or (len(segments) == 1 and "@" in path[1:-1])):
        raise UsageError(f"models:/{shown(path)} names no version; expected models:/NAME/3 or models:/NAME@ALIAS")
    if scheme == "runs" and len(segments) < 2:
        raise UsageError(f"runs:/{shown(path)} names no artifact of the run; expected runs:/RUN/PATH")
    return Address("mlflow", f"{scheme}:/{path}")


def _in_bucket(provider: str, text: str, path: str) -> Address:
    bucket, _, prefix = path.partition("/")
    segments = prefix.strip("/").split("/") if prefix.strip("/") else []
    if not bucket or not all(segments) or {".", ".."} & {bucket, *segments} or any(c in path for c in "?*#[]@"):
        raise UsageError(f"{_named(text)} is not a bucket and a prefix; expected {provider}://BUCKET/PREFIX")
    return Address(provider, "/".join([bucket, *segments]))


def _in_git(scheme: str, rest: str) -> Address:
    place, at, revision = rest[2:].partition("@")
    host = place.partition("/")[0]
    if scheme not in ("https", "http"):
        raise UsageError(f"git+{shown(scheme)}:// is not known; expected git+https://HOST/PATH[@REV]")
    if scheme == "http" and not is_loopback(host):
        raise UsageError(f"git+http://{shown(host)}: plain HTTP is for this machine only; say git+https://")
    if "/" in revision.partition("/")[0] or (at and "/" not in place):
        raise UsageError("git+https://: leave credentials out of the URL; git's own credential helpers are asked")
    if not host or "/" not in place or any(c in place for c in "?#\\") or ".." in place:
        raise UsageError(f"git+{scheme}://{shown(place)} is not a repository; expected git+https://HOST/PATH[@REV]")
    return Address("git", f"{scheme}://{place.rstrip('/')}", _revision(revision) if at else None)


def _named(text: str) -> str:
    """Return what a user said fit to be shown: without what may be a secret."""
    return shown(re.sub(r"//[^/]*@", "//…@", text.partition("?")[0].partition("#")[0]))
