"""Models as several programs pack them, by one door: which layers, and what they say of the model.

What an artifact is is told by the media type of its config.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import images, modelconfig, modelpack, strictjson
from ..errors import ContentError
from . import dockermodel, kitops

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..manifest import Manifest
    from ..modelpack import Layer


@dataclass(frozen=True, slots=True)
class Packaging:
    """What packs models in a way of its own: its name, its configs' types, and how manifest and config are read.

    `layers` is given the parsed config, None where that is not at hand; `facts` returns `descriptor` and `config` as a
    ModelPack config has them. `is_one` tells of a manifest with a config of such a type whether it is one.
    """

    name: str
    config_types: tuple[str, ...]
    layers: Callable[[Manifest, dict[str, Any] | None], tuple[Layer, ...]]
    facts: Callable[[dict[str, Any]], dict[str, Any]]
    note: Callable[[dict[str, Any]], str | None] = lambda config: None
    needs_config: bool = False
    is_one: Callable[[Manifest], bool] = lambda manifest: True


_PACKAGINGS = (
    Packaging(
        "ModelPack",
        modelpack.CONFIG_TYPES,
        lambda manifest, config: modelpack.layers_of(manifest),
        lambda config: config,
    ),
    Packaging("KitOps ModelKit", kitops.CONFIG_TYPES, kitops.layers_of, kitops.facts_of, kitops.note_of, True),
    Packaging(
        "Docker model",
        dockermodel.CONFIG_TYPES,
        lambda manifest, config: dockermodel.layers_of(manifest),
        dockermodel.facts_of,
    ),
    Packaging(
        "container image",
        images.CONFIG_TYPES,
        images.layers_of,
        images.facts_of,
        needs_config=True,
        is_one=images.is_image,
    ),
)


def packaging_of(manifest: Manifest) -> Packaging | None:
    """Return how a model is packed, None if that is not known."""
    fitting = (one for one in _PACKAGINGS if manifest.config.media_type in one.config_types)
    return next((one for one in fitting if one.is_one(manifest)), None)


def layers_of(manifest: Manifest, config: bytes | None = None) -> tuple[Layer, ...]:
    """Return a model's layers, whoever packed it; `config` is the manifest's config blob, if it is at hand.

    Raises:
        ContentError: it is no model, or a layer is not understood; the message names what is not known.
    """
    packaging = packaging_of(manifest)
    if packaging is None:
        raise ContentError(
            f"not a ModelPack artifact: its config is {manifest.config.media_type}"
            + (f", its type {manifest.artifact_type[:100]!r}" if manifest.artifact_type else "")
            + "; KitOps ModelKits, artifacts of `docker model` and container images are read as well"
        )
    said = None if config is None else strictjson.parse_object(config, "model config")
    return packaging.layers(manifest, said)


def note_of(manifest: Manifest, config: bytes) -> str | None:
    """Return what a person who extracts a model has to know of it, if there is anything.

    Raises:
        ContentError: the config cannot be read.
    """
    packaging = packaging_of(manifest)
    return packaging.note(strictjson.parse_object(config, "model config")) if packaging else None


def facts_of(manifest: Manifest, config: bytes) -> dict[str, Any]:
    """Return what a config says, `descriptor` and `config` in the words of ModelPack.

    Raises:
        ContentError: it is no config.
    """
    packaging = packaging_of(manifest)
    said = modelconfig.parse(config) if packaging is None else packaging.facts(modelconfig.parse(config))
    return {key: said.get(key, {}) for key in ("descriptor", "config")}
