"""Where models come from: hubs, buckets, MLflow, git; each behind the client library of its own.

`find_origin` reads what a user says and gives an `Origin`; the client library is imported only then.
"""

from __future__ import annotations

from ..errors import UsageError
from .address import Address
from .origin import Listing, Origin, OriginFile
from .settings import OriginSettings

__all__ = ["Address", "Listing", "Origin", "OriginFile", "OriginSettings", "find_origin"]


def find_origin(text: str, *, provider: str | None = None, settings: OriginSettings | None = None) -> Origin:
    """Return the model that a URL names, or that `org/model` names at a provider. Nothing is asked for yet.

    Args:
        text: `https://huggingface.co/org/model[/tree/REV]`, `hf://org/model[@REV]`, `modelscope://…`, `models:/name/3`,
            `models:/name@alias`, `runs:/…`, `s3://bucket/prefix`, `gs://…`, `az://…`, `git+https://…[@REV]`,
            `org/model`.
        provider: `huggingface` or `modelscope`, whose model `org/model` is.
        settings: how to reach it.

    Raises:
        UsageError: the text names no model, or the client library that is needed is not installed.
    """
    settings = settings or OriginSettings()
    address = Address.parse(text, provider, settings)
    try:
        return _open(address, settings)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("modfile"):
            raise
        extra = _EXTRAS.get(address.provider)
        if extra is None:
            raise
        raise UsageError(f"{text} needs a library that is not installed: pip install 'modfile[{extra}]'") from None


_EXTRAS = {
    "huggingface": "hf",
    "modelscope": "modelscope",
    "mlflow": "mlflow",
    "s3": "s3",
    "gs": "gs",
    "az": "az",
}


def _open(address: Address, settings: OriginSettings) -> Origin:
    if address.provider == "huggingface":
        from .huggingface import HuggingFaceModel

        return HuggingFaceModel(address.name, address.revision, settings)
    if address.provider == "modelscope":
        from .modelscope import ModelScopeModel

        return ModelScopeModel(address.name, address.revision, settings)
    if address.provider == "mlflow":
        from .mlflow import MLflowModel

        return MLflowModel(address.name, settings)
    if address.provider == "git":
        from .git import GitModel

        return GitModel(address.name, address.revision, settings)
    from .bucket import BucketModel

    return BucketModel(address.provider, address.name, settings)
