from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modfile.errors import UsageError
from modfile.filenames import WEIGHTS_SIZE, Listing, is_skipped, kind_of
from modfile.kind import Kind

KINDS = {
    Kind.CONFIG: "config.json tokenizer.JSON a/b/params.yaml x.toml tokenizer.model tokenizer.model.v3 spiece.model "
    "my_tokenizer.models sentencepiece.bpe.model sentencepiece_en.vocab vocab.txt merges.txt added_tokens.txt "
    "o200k.tiktoken chat_template.jinja config.json.bak x.meta x.modelcard rows.jsonl pom.xml .json r.config",
    Kind.MODEL: "model.safetensors pytorch_model.bin pytorch_model.bin.1 MODEL.GGUF m.gguf.part1 m.Q4_0 ggml.q5_1 "
    "x.ckpt tf_model.h5 m.tflite ckpt.data-00000-of-00001 ckpt.index m.onnx m.onnx_data m.onnx_data_1 e.trt e.engine "
    "m.mlmodel x.npz x.pkl tensor01_02 tensor1_2.bin en.vocab some.model w.parquet database.db m.llamafile "
    "m.llamafile.zip requirements.bin",
    Kind.CODE: "train.py Makefile makefile.am Dockerfile.gpu CMakeLists.txt run.SH script.R x.c++ requirements.txt "
    "requirements-dev.txt Pipfile.lock go.mod poetry.lock lib.so build BUILD.bazel .env .env.local prod.env.sample "
    "build.gradle.kts settings.gradle.x setup.py libx.a unknown.xyz no_extension",
    Kind.DOC: "README.md readme LICENSE license_apache NOTICE.txt notes.pdf photo.JPEG setup SETUP.x my-requirements "
    "report.docx table.csv events.out.tfevents.123 a.log clip.mp4",
    Kind.DATASET: "data/a.parquet dataset/x/a.csv Datasets/a.JSONL train/t.tsv x/test/a.arrow EVAL/a.csv "
    "validation/a.csv",
}


@pytest.mark.parametrize(("kind", "path"), [(kind, path) for kind, paths in KINDS.items() for path in paths.split()])
def test_the_name_tells_the_kind(kind: Kind, path: str) -> None:
    assert kind_of(path, 10) is kind


@pytest.mark.parametrize("path", ["train.csv", "mydata/a.csv", "data.parquet", "data/readme.md", "a/data"])
def test_only_tables_in_a_directory_of_data_are_data_sets(path: str) -> None:
    assert kind_of(path, 10) is not Kind.DATASET


@pytest.mark.parametrize("path", ["unknown", "x.xyz", "a\nb", "é.ü", "a.", "."])
def test_of_unknown_names_the_size_decides(path: str) -> None:
    assert kind_of(path, WEIGHTS_SIZE) is Kind.CODE
    assert kind_of(path, WEIGHTS_SIZE + 1) is Kind.MODEL


def test_a_size_does_not_change_what_a_name_says() -> None:
    assert kind_of("tokenizer.json", 10**12) is Kind.CONFIG


@given(st.text(max_size=300), st.integers(0, 2**63))
@settings(deadline=None)
def test_every_name_has_a_kind(path: str, size: int) -> None:
    assert kind_of(path, size) in Kind


def test_long_names_are_matched_without_going_back_and_forth() -> None:
    names = [f"{'tokenizer.' * 20}{n}/{'.bin-requirements' * 12}.{n}" for n in range(20_000)]
    assert {kind_of(name, 1) for name in names} == {Kind.DOC}


@pytest.mark.parametrize(
    "path",
    [
        *[".git/config", ".hidden", "a/.b/c", "Modelfile", "MODELFILE", "a/modelfile", "modelfile/x"],
        *["x/__pycache__/y.so", "a.pyc", "a.PYO", "b.pyd", ".modfileignore"],
    ],
)
def test_hidden_and_generated_files_are_skipped(path: str) -> None:
    assert is_skipped(path)
    assert not Listing().has(path)


@pytest.mark.parametrize("path", ["a", "a.b/c", "Modelfile.txt", "my_modelfile", "pycache", "a.py", "x.pyc.txt"])
def test_other_files_are_listed(path: str) -> None:
    assert not is_skipped(path)
    assert Listing().has(path)


@pytest.mark.parametrize(
    ("include", "exclude", "path", "listed"),
    [
        ([".env"], [], ".env", True),
        ([".env"], [], "a/.env", False),
        (["**/.*"], [], "a/b/.env", True),
        (["**/.*"], ["**/.env"], "a/.env", False),
        ([".weights/**"], [], ".weights/a/b.bin", True),
        ([".weights"], [], ".weights/a/.b", True),
        ([".weights/"], [], ".weights/a", True),
        (["Modelfile"], [], "Modelfile", True),
        (["**/*.pyc"], [], "a/b.pyc", True),
        ([], ["*.bin"], "a.bin", False),
        ([], ["*.bin"], "a/a.bin", True),
        ([], ["**/*.bin"], "a/a.bin", False),
        ([], ["checkpoints"], "checkpoints/a/b", False),
        ([], ["checkpoints/"], "checkpoints/a/b", False),
        ([], ["check*"], "checkpoints/a/b", False),
        ([], ["**/onnx"], "a/onnx/m.onnx", False),
        ([], ["onnx"], "a/onnx/m.onnx", True),
        ([], ["*"], "a/b", False),
        (["a"], [], "b", True),
    ],
)
def test_include_brings_back_and_exclude_takes_out_and_wins(
    include: list[str], exclude: list[str], path: str, listed: bool
) -> None:
    assert Listing.parse(include, exclude).has(path) is listed


@pytest.mark.parametrize("pattern", ["", "/etc/*", "../x", "[z-a]", "a[b"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError):
        Listing.parse([pattern], [])
    with pytest.raises(UsageError):
        Listing.parse([], [pattern])


def test_deep_directories_are_no_deep_recursion() -> None:
    assert not Listing.parse([], ["a"]).has("a/" * 5000 + "b")
