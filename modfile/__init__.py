"""Package AI models as OCI artifacts, keep them in a local store, and move them to and from any registry.

    path = modfile.pull("registry.example.com/llm/minilm:v1")

`docs/python.md` has the rest. What is named here stays; what is imported from elsewhere in the package may change.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "Artifact",
    "ArtifactFile",
    "Connection",
    "Progress",
    "Reference",
    "Session",
    "TensorInfo",
    "Tensors",
    "__version__",
    "build",
    "errors",
    "fetch",
    "generate",
    "import_model",
    "inspect",
    "open_safetensors",
    "pull",
    "push",
]

if TYPE_CHECKING:
    from . import errors
    from .api.reading import fetch, inspect, open_safetensors, pull
    from .api.writing import build, generate, import_model, push
    from .description import Artifact, ArtifactFile
    from .progress import Progress
    from .reference import Reference
    from .session import Connection, Session
    from .tensors import TensorInfo, Tensors

_HOMES = {
    "Artifact": "description",
    "ArtifactFile": "description",
    "Connection": "session",
    "Progress": "progress",
    "Reference": "reference",
    "Session": "session",
    "TensorInfo": "tensors",
    "Tensors": "tensors",
    "build": "api.writing",
    "fetch": "api.reading",
    "generate": "api.writing",
    "import_model": "api.writing",
    "inspect": "api.reading",
    "open_safetensors": "api.reading",
    "pull": "api.reading",
    "push": "api.writing",
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import what is asked for: the whole library takes a quarter of a second, most programs need little of it."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name == "errors":
            return import_module(".errors", __name__)
        value = globals()[name] = getattr(import_module(f".{_HOMES[name]}", __name__), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
