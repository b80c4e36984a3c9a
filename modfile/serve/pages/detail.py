"""What the page of one artifact says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...modelpack import MODELFILE_ANNOTATION
from .readme import MAX_README, safe_url
from .text import minute, shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...content import Descriptor
    from .artifact import Artifact, File

MOST_FILES = 1000
_MOST_ANNOTATIONS = 100
_LONGEST_ANNOTATION = 2000
_LONGEST_MODELFILE = 64 * 1024
_NARROWEST = 0.6
"""Of a hundred; what has a byte is seen."""


@dataclass(frozen=True, slots=True)
class Value:
    """A text, and where it leads, if anywhere."""

    text: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Fact:
    """A row of the metadata."""

    label: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A file, and the width of its bar in hundredths of the largest."""

    file: File
    width: float

    @property
    def filename(self) -> str:
        """The last part of its path, to save it by; empty where that is no name, or it is not the file itself."""
        name = self.file.path.rpartition("/")[2]
        plain = name.isprintable() and not name.startswith(".") and "\\" not in name
        return name if name and plain and not self.file.packing else ""


@dataclass(frozen=True, slots=True)
class Share:
    """All files of a kind, and their part of the bar of all, in hundredths."""

    kind: str
    count: int
    size: int
    start: float
    width: float


def facts(artifact: Artifact, base_models: Sequence[str] = ()) -> list[Fact]:
    """Return what is known of an artifact, in the order in which people ask."""
    said, listed, can = artifact.said, artifact.listed, artifact.capability
    created = artifact.created

    def noted(name: str) -> str:
        return artifact.annotation(f"org.opencontainers.image.{name}")

    rows: list[tuple[str, Sequence[str]]] = [
        ("Type", [artifact.kind]),
        ("Family", [said("descriptor", "family")]),
        ("Architecture", [said("config", "architecture")]),
        ("Parameters", [said("config", "paramSize")]),
        ("Format", [said("config", "format")]),
        ("Precision", [said("config", "precision")]),
        ("Quantization", [said("config", "quantization")]),
        ("Licence", listed("descriptor", "licenses") or [noted("licenses")]),
        ("Base model", base_models),
        ("Authors", listed("descriptor", "authors") or [noted("authors")]),
        ("Vendor", [said("descriptor", "vendor") or noted("vendor")]),
        ("Version", [said("descriptor", "version") or noted("version")]),
        ("Source", [said("descriptor", "sourceURL") or noted("source")]),
        ("Revision", [said("descriptor", "revision")]),
        ("Docs", [said("descriptor", "docURL")]),
        ("Data sets", listed("descriptor", "datasetsURL")),
        ("Languages", can("languages")),
        ("Input", can("inputTypes")),
        ("Output", can("outputTypes")),
        ("Reasoning", can("reasoning")),
        ("Tool use", can("toolUsage")),
        ("Reward model", can("reward")),
        ("Knowledge cutoff", can("knowledgeCutoff")),
        ("Created", [minute(created)] if created is not None else []),
    ]
    found = [Fact(label, tuple(Value(text, safe_url(text)) for text in texts if text)) for label, texts in rows]
    return [fact for fact in found if fact.values]


def rows(files: Sequence[File]) -> list[Row]:
    """Return the first files with their bars."""
    largest = max((file.content.size for file in files), default=0)
    return [Row(file, _width(file.content.size, largest)) for file in files[:MOST_FILES]]


def shares(files: Sequence[File]) -> list[Share]:
    """Return what part of all bytes each kind of file has, in the order of the files."""
    sizes: dict[str, list[int]] = {}
    for file in files:
        sizes.setdefault(file.kind, []).append(file.content.size)
    widths = {kind: _width(sum(some), sum(file.content.size for file in files)) for kind, some in sizes.items()}
    result, start, scale = [], 0.0, 100 / (sum(widths.values()) or 1)
    for kind, some in sizes.items():
        width = round(widths[kind] * scale, 2)
        result.append(Share(kind, len(some), sum(some), round(start, 2), width))
        start += width
    return result


def notes(artifact: Artifact) -> list[tuple[str, str]]:
    """Return the manifest's annotations, the Modelfile's left out."""
    said = {key: value for key, value in (artifact.annotations or {}).items() if key != MODELFILE_ANNOTATION}
    first = list(said.items())[:_MOST_ANNOTATIONS]
    return [(shortened(key, _LONGEST_ANNOTATION), shortened(value, _LONGEST_ANNOTATION)) for key, value in first]


def modelfile(artifact: Artifact) -> str:
    """Return the text of the Modelfile that the artifact was built from, empty if it does not say."""
    return artifact.annotation(MODELFILE_ANNOTATION, _LONGEST_MODELFILE)


def readme(artifact: Artifact) -> Descriptor | None:
    """Return the README.md at the top of an artifact, if it has one as a file that is not too long."""
    found = [file for file in artifact.files if file.path.lower() == "readme.md" and not file.packing]
    found.sort(key=lambda file: file.path != "README.md")
    return next((file.content for file in found if file.content.size <= MAX_README), None)


def _width(size: int, whole: int) -> float:
    return round(max(100 * size / whole, _NARROWEST), 2) if size else 0.0
