"""The five kinds of file that a model is made of, in the order in which an artifact's layers stand."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """A kind of file; its value is the Modelfile's keyword for it."""

    CONFIG = "CONFIG"
    MODEL = "MODEL"
    CODE = "CODE"
    DATASET = "DATASET"
    DOC = "DOC"
