"""What an artifact is, as Python programs want it told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .reference import Reference

_KEYS = {
    "digest": "Digest",
    "config_digest": "Id",
    "name": "Name",
    "family": "Family",
    "architecture": "Architecture",
    "format": "Format",
    "param_size": "ParamSize",
    "precision": "Precision",
    "quantization": "Quantization",
    "created_at": "CreatedAt",
}


@dataclass(frozen=True, slots=True)
class ArtifactFile:
    """A layer of an artifact; most often one file.

    Attributes:
        path: relative to the model's directory, `/` between its parts; empty for a layer that packs several files.
        digest: of the layer's bytes: `sha256:` and 64 digits. A layer that is the file as it is has the file's own.
        size: of the layer, in bytes.
        media_type: tells the layer's kind (weights, configuration, code, data, documentation) and format.
    """

    path: str
    digest: str
    size: int
    media_type: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """A model in the local store or in a registry. What it does not say of itself is empty.

    Attributes:
        reference: what it was asked for as.
        digest: its manifest's, which tells it from all others: `sha256:` and 64 digits.
        config_digest: its config's.
        name: the model's.
        family: such as `bert` or `llama3`.
        architecture: such as `transformer`.
        format: of the weights, such as `safetensors` or `gguf`.
        param_size: the number of parameters, such as `22.7M`.
        precision: such as `float32` or `bf16`.
        quantization: such as `awq` or `Q4_K_M`.
        created_at: when it was built, RFC 3339.
        files: its layers, in their order.
    """

    reference: str
    digest: str
    config_digest: str
    name: str
    family: str
    architecture: str
    format: str
    param_size: str
    precision: str
    quantization: str
    created_at: str
    files: tuple[ArtifactFile, ...]

    @property
    def pinned(self) -> str:
        """The reference that means this artifact and no other: `host/repository:tag@digest`."""
        return self.reference if "@" in self.reference else f"{self.reference}@{self.digest}"

    @property
    def size(self) -> int:
        """The bytes of all layers."""
        return sum(file.size for file in self.files)


def describe(reference: Reference, said: Mapping[str, Any]) -> Artifact:
    """Return the artifact that `verbs.inspect.inspect` tells of."""
    files = tuple(
        ArtifactFile(layer["Filepath"], layer["Digest"], layer["Size"], layer["MediaType"]) for layer in said["Layers"]
    )
    told = {field: str(said[key]) for field, key in _KEYS.items()}
    return Artifact(str(reference), files=files, **told)
