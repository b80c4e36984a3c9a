"""How to reach the places that models come from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..progress import SILENT
from ..registry.settings import RegistrySettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HUGGING_FACE = "https://huggingface.co"
MODELSCOPE = "https://modelscope.cn"


@dataclass(frozen=True, slots=True)
class OriginSettings:
    """How to reach the places that models come from; what is None is left to the place's own client library.

    Attributes:
        hf_endpoint: the URL of the Hugging Face hub, or of one that speaks as it does.
        hf_token: who we are to it.
        hf_cache: the directory where Hugging Face's library keeps what it downloaded; None to use none.
        modelscope_endpoint: the URL of ModelScope.
        modelscope_token: who we are to it.
        mlflow_tracking_uri: MLflow's tracking server or store.
        scratch: the directory to make temporary ones in; None for the system's.
        http: how to speak HTTP; what it says of registries alone does not count.
        note: is told of retries and their pauses.
    """

    hf_endpoint: str = HUGGING_FACE
    hf_token: str | None = field(default=None, repr=False)
    hf_cache: Path | None = None
    modelscope_endpoint: str = MODELSCOPE
    modelscope_token: str | None = field(default=None, repr=False)
    mlflow_tracking_uri: str | None = None
    scratch: Path | None = None
    http: RegistrySettings = field(default_factory=RegistrySettings)
    note: Callable[[str], None] = SILENT.note
