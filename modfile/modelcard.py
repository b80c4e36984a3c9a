"""The YAML front matter of a model card, README.md (Hugging Face Hub documentation, "Model Cards").

Only the document's nodes are composed and the few keys that matter taken from them: nothing is constructed, so that
aliases are never expanded, `no` stays Norwegian and a date stays the text that it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import ContentError
from .instructions import fault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yaml import Node

MAX_SIZE = 64 * 1024
"""The longest front matter, in bytes."""
_FRONT_MATTER = re.compile(r"\s*---[ \t]*\r?\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_OPENING = re.compile(r"\s*---[ \t]*\r?\n")
_STRING, _TRUTH, _NULL = (f"tag:yaml.org,2002:{kind}" for kind in ("str", "bool", "null"))
_OWN_LICENSES = frozenset(
    (
        *("openrail", "openrail++", "bigscience-openrail-m", "creativeml-openrail-m", "bigscience-bloom-rail-1.0"),
        *("bigcode-openrail-m", "bsd", "c-uda", "cc", "gfdl", "gpl", "lgpl", "lgpl-lr", "odbl", "odc-by", "pddl"),
        *("h-research", "intel-research", "apple-ascl", "apple-amlr", "deepfloyd-if-license", "grok2-community"),
        *("fair-noncommercial-research-license", "openmdw-1.0", "gemma"),
        *("llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "llama4"),
    )
)
"""What the Hub calls licenses by and SPDX does not."""
_NO_LICENSE = frozenset({"unknown", "none", ""})
_NOT_IN_ID = re.compile(r"[^A-Za-z0-9.-]+")


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a model card's front matter says; empty where it is silent."""

    licenses: tuple[str, ...] = ()
    """SPDX expressions, `LicenseRef-…` for what is no SPDX license."""
    languages: tuple[str, ...] = ()
    """Two-letter ISO 639 codes."""
    title: str | None = None
    base_models: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def parse(data: bytes) -> ModelCard:
    """Read the first `MAX_SIZE` bytes of a README.md; what makes no sense there becomes a warning."""
    text = data.decode("utf-8-sig", errors="replace")
    match = _FRONT_MATTER.match(text)
    if match is None:
        if len(data) >= MAX_SIZE and _OPENING.match(text):
            return ModelCard(warnings=(f"its front matter is longer than {MAX_SIZE} bytes; it is not read",))
        return ModelCard()
    try:
        return _Reader(_compose(match[1])).card()
    except ContentError as error:
        return ModelCard(warnings=(str(error),))


def license_expression(text: str) -> str | None:
    """Return what LICENSE says for a license as the Hub or GGUF names it; None if that names no license."""
    name = text.strip()
    if name.lower() in _NO_LICENSE | {"other"}:
        return None
    if name.lower() in _OWN_LICENSES or fault("LICENSE", name) is not None:
        return _license_ref(name)
    return name


def _license_ref(name: str) -> str | None:
    if name.startswith("LicenseRef-"):
        name = name.removeprefix("LicenseRef-")
    identifier = _NOT_IN_ID.sub("-", name.replace("+", "-plus")).strip("-.")
    return f"LicenseRef-{identifier}" if identifier else None


def _compose(text: str) -> Mapping[str, Node]:
    """Return the values of the document's top level by their keys."""
    import yaml

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except RecursionError:
        raise ContentError("its front matter is nested too deeply") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 2})" if mark is not None else ""
        raise ContentError(f"its front matter is not YAML{where}") from None
    if root is None or (isinstance(root, yaml.ScalarNode) and root.tag == _NULL):
        return {}
    if not isinstance(root, yaml.MappingNode):
        raise ContentError("its front matter is not a mapping")
    return {key.value: value for key, value in root.value if isinstance(key, yaml.ScalarNode)}


class _Reader:
    """Takes what matters out of the nodes, and notes what it leaves."""

    def __init__(self, nodes: Mapping[str, Node]) -> None:
        self._nodes = nodes
        self._warnings: list[str] = []

    def card(self) -> ModelCard:
        title = self._texts("title", limit=1) or self._texts("model_name", limit=1)
        card = (self._licenses(), self._languages(), title[0] if title else None, self._texts("base_model"))
        return ModelCard(*card, warnings=tuple(self._warnings))

    def _licenses(self) -> tuple[str, ...]:
        found = []
        for said in self._texts("license"):
            if said.lower() == "other":
                name = next(iter(self._texts("license_name", limit=1)), "")
                expression = _license_ref(name)
            else:
                expression = license_expression(said)
            if expression is None:
                self._warnings.append(f"license {said!r} names no license; LICENSE is left out")
            else:
                found.append(expression)
        return tuple(dict.fromkeys(found))

    def _languages(self) -> tuple[str, ...]:
        said = self._texts("language", also=_TRUTH)
        codes = [code.lower() for code in said if fault("LANGUAGE", code) is None]
        others = [code for code in said if fault("LANGUAGE", code) is not None]
        if others:
            named = ", ".join(repr(code[:40]) for code in others[:5]) + (", …" if len(others) > 5 else "")
            self._warnings.append(f"language {named} left out: LANGUAGE takes two-letter ISO 639 codes")
        return tuple(dict.fromkeys(codes))

    def _texts(self, key: str, *, also: str = _STRING, limit: int = 1000) -> tuple[str, ...]:
        """Return the text, or the texts of the list, that a key has; nothing if it has something else."""
        from yaml import ScalarNode, SequenceNode

        node = self._nodes.get(key)
        if node is None or (isinstance(node, ScalarNode) and node.tag == _NULL):
            return ()
        items = node.value if isinstance(node, SequenceNode) and limit > 1 else [node]
        texts = [item.value for item in items if isinstance(item, ScalarNode) and item.tag in (_STRING, also)]
        if len(texts) != len(items):
            self._warnings.append(f"{key} is not text; it is left out")
            return ()
        return tuple(text.strip() for text in texts[:limit] if text.strip())
