"""What the tests of imports share: a model, and importers that do not wait."""

from __future__ import annotations

import random

import pytest

from modfile.backoff import Backoff
from modfile.layout import Layout
from modfile.verbs.importing import Importer
from tests.cmd.conftest import modfile, surroundings
from tests.weights.samples import safetensors_header

from .origins import MemoryOrigin

__all__ = ["modfile", "surroundings"]

NOW = Backoff(attempts=3, sleep=lambda seconds: None)


def weights(size: int, seed: int = 1) -> bytes:
    """Return a safetensors file of one tensor of so many random bytes, an even number."""
    header, _ = safetensors_header({f"w{seed}": ("F16", (size // 2,))})
    return header + random.Random(seed).randbytes(size)


@pytest.fixture
def files() -> dict[str, bytes]:
    """A model: what git has itself, weights in two files, and what is not for an artifact."""
    return {
        ".gitattributes": b"*.safetensors filter=lfs\n",
        "README.md": b"---\nlicense: mit\nlanguage: en\n---\n# Tiny\n",
        "config.json": b'{"model_type": "bert", "transformers_version": "4"}',
        "model-00001-of-00002.safetensors": weights(3_000_000, 1),
        "model-00002-of-00002.safetensors": weights(2_000_000, 2),
    }


@pytest.fixture
def origin(files) -> MemoryOrigin:
    return MemoryOrigin(files)


@pytest.fixture
def layout(tmp_path) -> Layout:
    return Layout(tmp_path / "store", Backoff(attempts=3, sleep=lambda seconds: None))


@pytest.fixture
def importer(tmp_path):
    """Make an importer into a store, with whatever settings."""

    def make(target, **settings) -> Importer:
        return Importer(target, tmp_path / "spool", **{"backoff": NOW, **settings})

    return make
