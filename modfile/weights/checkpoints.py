"""Which weight files belong together, and which of them make up the model, told by their names.

A checkpoint is one file or all shards of one. Within a directory an index (`*.safetensors.index.json`) decides; where
there is none, every checkpoint counts except variants (`model.fp16.safetensors` beside `model.safetensors`),
`consolidated*` and `adapter_model*` beside others. Directories add up (a pipeline's `unet`, `vae`, …), except copies of
the whole: `original`, `metal`, `checkpoint-500` beside a model, and files beside a `model_index.json` whose components
are in directories below.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

_VARIANT = r"fp64|fp32|fp16|bf16|fp8|fp4|int8|int4|8bit|4bit|non_ema|ema"
_NAME = re.compile(
    rf"(?P<base>.+?)(?P<variant1>[.](?:{_VARIANT}))?"
    rf"(?:-(?P<number>[0-9]{{3,6}})-of-(?P<total>[0-9]{{3,6}}))?(?P<variant2>[.](?:{_VARIANT}))?[.](?:safetensors|gguf)",
    re.IGNORECASE,
)
_INDEX = re.compile(r".+[.]safetensors[.]index(?P<variant>[.][\w.-]+)?[.]json", re.IGNORECASE)
_COPY = re.compile(r"original|metal|consolidated|checkpoint-[0-9]+|global_step[0-9]+|step[-_]?[0-9]+", re.IGNORECASE)
_SPARE = re.compile(r"(?:consolidated|adapter_model)(?:[._-].*)?", re.IGNORECASE)
_NUMBER = re.compile(r"-[0-9]+-of-(?=[0-9]+[^/]*$)")
_MAX_SHARDS = 10_000


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Files that together hold one set of tensors."""

    directory: str
    """Where they are, relative to the workspace; empty for its root."""
    base: str
    """Their name without shard number, variant and extension, in lower case."""
    variant: str
    files: tuple[str, ...]
    missing: tuple[str, ...] = ()
    """Shards that belong to it and are not there."""
    indexed: bool = False


def is_index(path: str) -> bool:
    """Tell whether a file's name is that of a safetensors index."""
    return _INDEX.fullmatch(path.rpartition("/")[2]) is not None


def from_index(index: str, named: Iterable[str], present: Collection[str]) -> Checkpoint:
    """Return the checkpoint that an index file describes; `named` are the files in it, relative to its directory."""
    directory, _, name = index.rpartition("/")
    paths = [f"{directory}/{file}" if directory else file for file in sorted(set(named))]
    found = tuple(path for path in paths if path in present)
    missing = tuple(path for path in paths if path not in present)
    match = _INDEX.fullmatch(name)
    variant = (match["variant"] or "") if match else ""
    return Checkpoint(directory, name.lower().partition(".")[0], variant, found, missing, indexed=True)


def from_names(paths: Iterable[str]) -> tuple[Checkpoint, ...]:
    """Put shards together by their names; every other file is a checkpoint of its own."""
    groups: dict[tuple[str, str, str, str], dict[int, str]] = defaultdict(dict)
    for path in sorted(paths):
        directory, _, name = path.rpartition("/")
        match = _NAME.fullmatch(name)
        if match is None:
            groups[directory, name.lower(), "", ""][0] = path
            continue
        variant = (match["variant1"] or match["variant2"] or "").lower()
        key = (directory, match["base"].lower(), variant, match["total"] or "")
        groups[key].setdefault(int(match["number"] or 0), path)
    return tuple(_from_group(key, shards) for key, shards in sorted(groups.items()))


def _from_group(key: tuple[str, str, str, str], shards: Mapping[int, str]) -> Checkpoint:
    directory, base, variant, total = key
    files = tuple(path for _, path in sorted(shards.items()))
    missing: list[str] = []
    if total:
        first = 0 if 0 in shards else 1
        absent = (n for n in range(first, min(int(total), _MAX_SHARDS) + first) if n not in shards)
        missing = [_NUMBER.sub(f"-{number:0{len(total)}}-of-", files[0]) for number in absent]
    return Checkpoint(directory, base, variant, files, tuple(missing))


def of_the_model(checkpoints: Iterable[Checkpoint], pipelines: Collection[str]) -> tuple[Checkpoint, ...]:
    """Leave out what holds the same weights again.

    `pipelines` are the directories with a `model_index.json`.
    """
    by_directory: dict[str, list[Checkpoint]] = defaultdict(list)
    for checkpoint in checkpoints:
        by_directory[checkpoint.directory].append(checkpoint)
    for root in pipelines:
        if any(directory != root and _is_below(directory, root) for directory in by_directory):
            by_directory.pop(root, None)
    copies = {directory: copy for directory in by_directory if (copy := _copy_root(directory)) is not None}
    if len(copies) < len(by_directory):
        kept = set(by_directory) - set(copies)
    else:
        last = max(copies.values(), key=_natural, default="")
        kept = {directory for directory, copy in copies.items() if copy == last}
    return tuple(one for directory in sorted(kept) for one in _of_directory(by_directory[directory]))


def _copy_root(directory: str) -> str | None:
    """Return the uppermost part of a directory's path that is named as one that holds a copy of the model."""
    segments = directory.split("/")
    for depth, segment in enumerate(segments, start=1):
        if _COPY.fullmatch(segment):
            return "/".join(segments[:depth])
    return None


def _natural(name: str) -> tuple[int, str]:
    digits = re.search(r"[0-9]{1,18}$", name)
    return int(digits[0]) if digits else -1, name


def _of_directory(checkpoints: list[Checkpoint]) -> list[Checkpoint]:
    if indexed := [checkpoint for checkpoint in checkpoints if checkpoint.indexed]:
        checkpoints = indexed
    whole = [checkpoint for checkpoint in checkpoints if not _SPARE.fullmatch(checkpoint.base)]
    chosen: dict[str, Checkpoint] = {}
    for checkpoint in sorted(whole or checkpoints, key=_preference):
        chosen.setdefault(checkpoint.base, checkpoint)
    return list(chosen.values())


def _preference(checkpoint: Checkpoint) -> tuple[int, bool, str]:
    return len(checkpoint.missing), bool(checkpoint.variant), checkpoint.variant


def _is_below(directory: str, root: str) -> bool:
    return not root or directory == root or directory.startswith(root + "/")
