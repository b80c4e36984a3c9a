"""What a file's name tells: which kind of file it is, and whether `generate` lists it at all.

The patterns are those of modctl (`pkg/modelfile/constants.go`), so that both sort a directory alike, and some of
MLflow's own; they are matched with the file's name, without its directory and without regard to case.
"""

from __future__ import annotations

import re
from fnmatch import translate
from typing import TYPE_CHECKING

from .glob import Pattern
from .kind import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

WEIGHTS_SIZE = 128_000_000
"""An unknown file larger than this, in bytes, is taken for weights."""


class _Names:
    """Names of a kind: extensions, which end it after its last dot, and patterns."""

    def __init__(self, extensions: str, patterns: str) -> None:
        self._extensions = frozenset(extensions.split())
        self._pattern = re.compile("|".join(translate(pattern) for pattern in patterns.split()))

    def match(self, name: str) -> bool:
        _, dot, extension = name.rpartition(".")
        return (bool(dot) and extension in self._extensions) or self._pattern.match(name) is not None


_CONFIG = _Names(
    extensions="json jsonl json5 jsonc yaml yml toml ini config cfg conf properties props prop xml xsd rng "
    "modelcard meta tiktoken hparams params hyperparams wandb mlflow tensorboard",
    patterns="*tokenizer.model* spiece.model tiktoken.model sentencepiece*.model sentencepiece*.vocab vocab.txt "
    "merges.txt added_tokens.txt chat_template.jinja config.json.* mlmodel",
)
_MODEL = _Names(
    extensions="safetensors bin pt pth mar pte pt2 ptl "  # Hugging Face, PyTorch
    "tflite h5 hdf hdf5 keras pb index "  # TensorFlow, Keras
    "gguf ggml ggmf ggjt q4_0 q4_1 q5_0 q5_1 q8_0 f16 f32 llamafile "
    "ckpt checkpoint dist_ckpt tensor weights state embedding vocab "
    "onnx ot engine trt mlmodel coreml mil caffemodel prototxt dlc circle nb "  # other runtimes
    "msgpack model pkl pickle joblib npy npz nc mleap surml arrow parquet ftz ark db skops",
    patterns="*.bin.* *.gguf.* *.llamafile.* *.data-* *.onnx_data* tensor[0-9]*_[0-9]*",
)
_CODE = _Names(
    extensions="py ipynb c h hxx cpp cc cxx c++ hpp hh h++ cu cuh java js mjs cjs jsx ts tsx go rs swift rb php scala "
    "kt kts r m mm f f90 f95 f03 f08 jl lua pl pm cs vb dart groovy elm erl hrl ex exs hs lhs clj cljs cljc cl "
    "lisp lsp scm ss rkt sql psql mysql sqlite zig patch "
    "sh bash zsh fish csh tcsh ksh ps1 psm1 psd1 bat cmd vbs wsf applescript scpt awk sed expect "
    "env dockerfile mk cmake gradle sbt mill bazel bzl buck ninja gyp gypi waf gemspec "  # building
    "so dll dylib lib a",
    patterns=".env* *.env.* makefile* dockerfile* build* workspace* buck* wscript* settings.gradle* pipfile* gemfile* "
    "cmakelists.txt requirements*.txt yarn.lock poetry.lock cargo.lock composer.lock mix.lock rebar.lock go.mod go.sum",
)
_DOC = _Names(
    extensions="txt md pdf log doc docx docm dot dotx dotm rtf odt ott fodt pages wpd "
    "xls xlsx xlsm xlsb xlt xltx xltm ods ots fods numbers csv "  # sheets
    "ppt pptx pptm pps ppsx ppsm pot potx potm odp otp fodp key "  # slides
    "epub mobi azw azw3 fb2 fb3 lit pdb djvu djv chm hlp xps html htm xhtml mhtml mht xsl xslt "
    "tex latex ltx bib rst asciidoc adoc textile wiki mediawiki org texi texinfo info man "
    "jpg jpeg png gif bmp tiff ico webp heic heif hevc svg mp4 mov avi mkv webm m4v flv wmv mpg mpeg",
    patterns="license* readme* setup* *requirements* *.tfevents*",
)
_BY_NAME = ((Kind.CONFIG, _CONFIG), (Kind.MODEL, _MODEL), (Kind.CODE, _CODE), (Kind.DOC, _DOC))
_TABLES = (".parquet", ".arrow", ".csv", ".tsv", ".jsonl")
_TABLE_DIRECTORIES = frozenset({"data", "dataset", "datasets", "train", "test", "eval", "validation"})
_SKIPPED = frozenset({"modelfile", "__pycache__"})
_SKIPPED_ENDS = (".pyc", ".pyo", ".pyd")


def kind_of(path: str, size: int) -> Kind:
    """Return the kind of a file, told by its path and, where that is silent, by its size in bytes."""
    *directories, name = path.lower().split("/")
    if name.endswith(_TABLES) and not _TABLE_DIRECTORIES.isdisjoint(directories):
        return Kind.DATASET
    for kind, names in _BY_NAME:
        if names.match(name):
            return kind
    return Kind.MODEL if size > WEIGHTS_SIZE else Kind.CODE


def is_skipped(path: str) -> bool:
    """Tell whether a file is left out unless it is asked for: hidden, a Modelfile, compiled Python, or below such."""
    return any(
        segment.startswith(".") or segment in _SKIPPED or segment.endswith(_SKIPPED_ENDS)
        for segment in path.lower().split("/")
    )


class Listing:
    """Which files are listed: not the skipped ones, unless included, and in no case the excluded ones."""

    def __init__(self, include: Iterable[Pattern] = (), exclude: Iterable[Pattern] = ()) -> None:
        self._include = _Chosen(include)
        self._exclude = _Chosen(exclude)

    @classmethod
    def parse(cls, include: Iterable[str], exclude: Iterable[str]) -> Listing:
        """Read patterns, each for files or for whole directories.

        Raises:
            UsageError: one is not a pattern.
        """
        return cls(map(Pattern.parse, include), map(Pattern.parse, exclude))

    def has(self, path: str) -> bool:
        """Tell whether the file of this path is listed."""
        return not self._exclude.has(path) and (not is_skipped(path) or self._include.has(path))


class _Chosen:
    """Paths that patterns match, themselves or one of the directories that they are in."""

    def __init__(self, patterns: Iterable[Pattern]) -> None:
        self._patterns = tuple(patterns)
        self._directories: dict[str, bool] = {"": False}

    def has(self, path: str) -> bool:
        return bool(self._patterns) and (self._has_directory(path.rpartition("/")[0]) or self._match(path))

    def _has_directory(self, directory: str) -> bool:
        unknown = []
        while directory not in self._directories:
            unknown.append(directory)
            directory = directory.rpartition("/")[0]
        chosen = self._directories[directory]
        for below in reversed(unknown):
            chosen = self._directories[below] = chosen or self._match(below)
        return chosen

    def _match(self, path: str) -> bool:
        return any(pattern.matches(path) for pattern in self._patterns)
