"""What a model directory says of itself: in its name, config.json, README.md and the headers of its weights."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import modelcard
from .instructions import fault
from .modelcard import ModelCard
from .weights.packing import Scheme
from .weights.parameters import format_count
from .weights.reader import ContextReader
from .weights.survey import Weights, survey

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .context import Context, F

MAX_CONFIG = 16 * 2**20
"""The largest config.json that is read, in bytes."""
BASE_MODEL = "co.huggingface.base_model"
"""The annotation of what this model was made from: `base_model` of README.md, several joined with commas."""
_CONFIG = "config.json"
_CARD = "README.md"
_MAX_VALUE = 1000
_BREAKS = re.compile(r"[\t\r\n]+")
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_PRECISIONS = {
    **{name: name for name in ("float64", "float32", "float16", "bfloat16", "int8", "uint8")},
    **{"double": "float64", "float": "float32", "half": "float16", "complex64": "complex64"},
    **{"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"},
    **{f"float8_{kind}{suffix}": f"float8_{kind}" for kind in ("e4m3", "e5m2") for suffix in ("", "fn", "fnuz")},
}


@dataclass(frozen=True, slots=True)
class Field:
    """A metadata instruction's keyword, its arguments, and where they come from, as the rest of a sentence."""

    keyword: str
    values: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a model directory says of itself, in the order of a Modelfile, and what of it could not be used."""

    fields: tuple[Field, ...]
    warnings: tuple[str, ...]


def read_metadata(context: Context[F], files: Sequence[F], otherwise: Iterable[Field] = ()) -> Metadata:
    """Read what the files say of the model; where they are silent, nothing is said but what `otherwise` says.

    What is damaged, too large or makes no sense becomes a warning, one line each. Of weights, headers are read only.
    """
    reader = ContextReader(context)
    top = {file.path: file for file in files if file.path in (_CONFIG, _CARD)}
    config = _read_config(reader, top.get(_CONFIG))
    card = _read_card(reader, top.get(_CARD))
    scheme = Scheme.parse(config)
    weights = survey(context, files, scheme)
    candidates = [
        Field("NAME", (context.name,), context.name_source),
        *_from_config(config),
        *_from_weights(weights, config, scheme),
        *_from_card(card, weights),
    ]
    fields, dropped = _checked(candidates)
    said = {field.keyword for field in fields}
    more, dropped_too = _checked(field for field in otherwise if field.keyword not in said)
    fields, dropped = (*fields, *more), (*dropped, *dropped_too)
    return Metadata(fields, (*reader.warnings, *weights.warnings, *dropped))


def _read_config(reader: ContextReader[F], file: F | None) -> Mapping[str, Any]:
    """Return config.json, empty if there is none that can be read."""
    data = reader.whole(file, MAX_CONFIG) if file else None
    if data is None:
        return {}
    try:
        config = json.loads(data)  # not strict: Transformers writes Infinity where a limit has none
    except RecursionError:
        reader.warnings.append(f"{_CONFIG}: JSON is nested too deeply")
    except ValueError as error:  # not JSON, not UTF-8
        reader.warnings.append(f"{_CONFIG}: not JSON: {error}")
    else:
        if isinstance(config, dict):
            return config
        reader.warnings.append(f"{_CONFIG}: not a JSON object")
    return {}


def _read_card(reader: ContextReader[F], file: F | None) -> ModelCard:
    """Return the model card, empty if there is none that can be read."""
    data = reader.head(file, modelcard.MAX_SIZE) if file else None
    if data is None:
        return ModelCard()
    card = modelcard.parse(data)
    reader.warnings += (f"{_CARD}: {warning}" for warning in card.warnings)
    return card


def _from_config(config: Mapping[str, Any]) -> Iterable[Field]:
    if config.get("transformers_version"):
        yield Field("ARCH", ("transformer",), f"transformers_version in {_CONFIG}")
    if family := _text(config.get("model_type")):
        yield Field("FAMILY", (family,), f"model_type in {_CONFIG}")


def _from_weights(weights: Weights, config: Mapping[str, Any], scheme: Scheme) -> Iterable[Field]:
    header = weights.gguf
    if header and not _text(config.get("model_type")) and (family := header.text("general.architecture")):
        yield Field("FAMILY", (family,), f"general.architecture in {weights.source}")
    if weights.format:
        source = weights.source or "the weight files' first bytes and names"
        yield Field("FORMAT", (weights.format,), source)
    if weights.parameters and weights.parameters.complete and weights.parameters.total:
        yield Field("PARAMSIZE", (format_count(weights.parameters.total),), weights.source)
    if weights.precisions:
        yield Field("PRECISION", (",".join(weights.precisions),), weights.source)
    elif found := _precision(config):
        yield Field("PRECISION", (found[1],), f"{found[0]} in {_CONFIG}")
    if header:
        if weights.quantizations:
            said = ",".join(weights.quantizations)
            yield Field("QUANTIZATION", (said,), f"general.file_type in {weights.source}")
    elif scheme.method:
        yield Field("QUANTIZATION", (scheme.method,), f"quantization_config in {_CONFIG}")


def _precision(config: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the key of config.json that tells the precision, and ModelPack's name for it."""
    nested = config.get("text_config")
    for prefix, owner in (("", config), ("text_config.", nested if isinstance(nested, dict) else {})):
        for key in ("torch_dtype", "dtype"):
            name = _text(owner.get(key))
            if name and (known := _PRECISIONS.get(name.lower().removeprefix("torch."))):
                return prefix + key, known
    return None


def _from_card(card: ModelCard, weights: Weights) -> Iterable[Field]:
    source = f"the front matter of {_CARD}"
    header = weights.gguf
    if card.title:
        yield Field("TITLE", (card.title,), source)
    elif header and (title := header.text("general.name")):
        yield Field("TITLE", (title,), f"general.name in {weights.source}")
    if card.licenses:
        yield Field("LICENSE", card.licenses, source)
    elif header and (said := modelcard.license_expression(header.text("general.license") or "")):
        yield Field("LICENSE", (said,), f"general.license in {weights.source}")
    if card.languages:
        yield Field("LANGUAGE", card.languages, source)
    if card.base_models:
        yield Field("ANNOTATION", (f"{BASE_MODEL}={','.join(card.base_models)}",), f"base_model in {source}")


def _checked(candidates: Iterable[Field]) -> tuple[tuple[Field, ...], tuple[str, ...]]:
    """Leave out values that a Modelfile cannot say, or that would not be fit to show."""
    fields, warnings = [], []
    for field in candidates:
        kept = []
        for value in field.values:
            text = _BREAKS.sub(" ", value)
            reason = _unfit(text) or fault(field.keyword, text)
            if reason is None:
                kept.append(text)
            elif text:
                warnings.append(f"{field.keyword} from {field.source} is left out: {reason}")
        if kept:
            fields.append(Field(field.keyword, tuple(kept), field.source))
    return tuple(fields), tuple(warnings)


def _unfit(text: str) -> str | None:
    if len(text) > _MAX_VALUE:
        return f"it is longer than {_MAX_VALUE} characters"
    if found := _UNSAFE.search(text):
        return f"it holds the character U+{ord(found[0]):04X}"
    return None


def _text(value: Any) -> str | None:
    return value.strip() if isinstance(value, str) and value.strip() else None
