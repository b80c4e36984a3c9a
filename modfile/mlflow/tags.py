"""What is said of a model version in MLflow's tags: as JSON, and value by value, so that versions can be searched.

There are two namespaces, `general` (of the model) and `training` (of how it came to be). All that is said in one is
kept as JSON text in the tag `modfile.general` or `modfile.training`. Each value stands in a tag of its own besides:
`training.metrics.f1` for `{"metrics": {"f1": 0.9}}`. Texts stand there as they are, all else as JSON.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import strictjson
from ..errors import ContentError, NotFoundError, UsageError
from ..paths import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

DIGEST = "modfile.digest"
"""The tag with the artifact's digest."""
REFERENCE = "modfile.reference"
"""The tag with the name that the artifact was registered under."""
UNFINISHED = "modfile.unfinished"
"""The tag of a version whose registration has not come to its end; taken away then."""
_LONGEST_KEY, _LONGEST_VALUE, _MOST = 250, 100_000, 1_000
_LARGEST_FILE = 4 << 20
_KEY = re.compile(r"[/\w.\- :]+")
_MEANT_AS_JSON = ('"', "[", "{")


def parse_assignments(texts: Sequence[str]) -> dict[str, Any]:
    """Read texts such as `f1=0.9`, `labels=["a", "b"]`, `task=ranking`: JSON values, or texts where they are none.

    Raises:
        UsageError: one has no key or no `=`, a key is said twice, or what begins as JSON does is none.
    """
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"the tag {shown(text)} is not KEY=VALUE")
        if key in found:
            raise UsageError(f"the tag {shown(key)} is said twice")
        found[key] = _value(key, value)
    return found


def read_tags(text: str | None) -> dict[str, Any]:
    """Read a JSON object of tags, or a file with one; what begins as JSON does is no file, and None is no tags.

    Raises:
        NotFoundError: the file is not there.
        UsageError: it cannot be read, is larger than 4 MiB, or is no JSON object; NaN is no JSON, nor is a key twice.
    """
    if text is None:
        return {}
    if text.lstrip().startswith(_MEANT_AS_JSON):
        return _object(text.encode(errors="surrogatepass"), "the tags")
    name = shown(text)
    try:
        with Path(text).open("rb") as file:
            data = file.read(_LARGEST_FILE + 1)
    except FileNotFoundError:
        raise NotFoundError(f"{name} is not there") from None
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}") from None
    if len(data) > _LARGEST_FILE:
        raise UsageError(f"{name} is larger than {_LARGEST_FILE:,} bytes, too much for tags")
    return _object(data, name)


def tags_of(namespace: str, values: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags that say the values of a namespace; none for no values.

    Raises:
        UsageError: MLflow would refuse one: by its key (letters, digits, `_ . - / :` and blanks, at most 250), by the
            length of its value (at most 100,000 characters); or two would be the same; or there are too many.
    """
    if not values:
        return {}
    tags: dict[str, str] = {}
    for key, value in _flat(namespace, values):
        if key in tags:
            raise UsageError(f"two tags would both be {shown(key)}; rename one")
        tags[key] = value
        if len(tags) > _MOST:
            raise UsageError(f"more than {_MOST:,} {namespace} tags; keep them in a file of the model")
    tags[f"modfile.{namespace}"] = _json(namespace, values)
    for key, value in tags.items():
        _check(key, value)
    return tags


def values_of(namespace: str, tags: Mapping[str, str]) -> dict[str, Any]:
    """Return what a version's tags say in a namespace; nothing where that is not to be read."""
    text = tags.get(f"modfile.{namespace}", "{}")
    try:
        return strictjson.parse_object(text.encode(errors="surrogatepass"), namespace)
    except ContentError:
        return {}


def _object(data: bytes, what: str) -> dict[str, Any]:
    try:
        return strictjson.parse_object(data, what)
    except ContentError as error:
        raise UsageError(str(error)) from None


def _value(key: str, text: str) -> Any:
    try:
        return strictjson.parse(text.encode(), f"the value of the tag {shown(key)}")
    except UnicodeEncodeError:
        raise UsageError(f"the value of the tag {shown(key)} is no Unicode text") from None
    except ContentError as error:
        if text.startswith(_MEANT_AS_JSON):
            raise UsageError(f"{error}; a text that begins so is given as JSON, in double quotes") from None
        return text


def _flat(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        if len(key) > _LONGEST_KEY:
            raise UsageError(f"the tag {shown(key)} has a key of more than {_LONGEST_KEY} characters; shorten it")
        for inner, deeper in value.items():
            yield from _flat(f"{key}.{inner}", deeper)
    else:
        yield key, value if isinstance(value, str) else _json(key, value)


def _json(key: str, value: Any) -> str:
    try:
        return strictjson.dump(value).decode()
    except (ValueError, RecursionError):
        raise UsageError(f"the value of the tag {shown(key)} is too deep, or has a number that is too large") from None


def _check(key: str, value: str) -> None:
    """Hold a tag to MLflow's rules (`mlflow/utils/validation.py`), before anything is sent.

    Raises:
        UsageError: it breaks them.
    """
    if len(key) > _LONGEST_KEY:
        raise UsageError(f"the tag {shown(key)} has a key of more than {_LONGEST_KEY} characters; shorten it")
    if not _KEY.fullmatch(key) or posixpath.normpath(key) != key:
        raise UsageError(
            f"{shown(key)} is no key that MLflow takes: letters, digits, '_', '.', '-', '/', ':' and blanks, "
            "and no empty or dotted segment between '/'"
        )
    if len(value) > _LONGEST_VALUE:
        raise UsageError(
            f"the tag {shown(key)} has {len(value):,} characters, more than the {_LONGEST_VALUE:,} that MLflow takes; "
            "keep it in a file of the model"
        )
