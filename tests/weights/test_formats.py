from __future__ import annotations

import io
import struct
import zipfile

import pytest

from modfile.weights.formats import HEAD, format_of, is_lfs_pointer
from tests.weights.samples import llama, safetensors


def archive(first: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr(first, b"x")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("path", "head", "name"),
    [
        ("m.bin", safetensors({"w": ("F32", (2,))}), "safetensors"),
        ("m.bin", llama().bytes(), "gguf"),
        ("ggml-base.bin", struct.pack("<I", 0x67676D6C), "ggml"),
        ("m.bin", struct.pack("<I", 0x67676A74), "ggml"),
        ("model", archive("archive/data.pkl"), "pytorch"),
        ("model.bin", archive("other"), "pytorch"),
        ("model.keras", archive("metadata.json"), "keras"),
        ("model.npz", archive("a.npy"), "numpy"),
        ("model.pt", b"\x80\x02}q\x00", "pytorch"),
        ("model.pkl", b"\x80\x04}q\x00", "pickle"),
        ("tf_model.h5", b"\x89HDF\r\n\x1a\n", "hdf5"),
        ("weights.any", b"\x89HDF\r\n\x1a\n", "hdf5"),
        ("model.lite", b"\x1c\0\0\0TFL3", "tflite"),
    ],
)
def test_the_first_bytes_tell_the_format(path: str, head: bytes, name: str) -> None:
    assert format_of(path, head[:HEAD]) == name


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("model.onnx", "onnx"),
        ("model.ONNX_data", "onnx"),
        ("model.onnx_data_1", "onnx"),
        ("pytorch_model-00001-of-00002.bin", "pytorch"),
        ("model.pth", "pytorch"),
        ("saved_model.pb", "tensorflow"),
        ("variables/variables.data-00000-of-00001", "tensorflow"),
        ("variables/variables.index", "tensorflow"),
        ("flax_model.msgpack", "flax"),
        ("Model.mlmodel", "coreml"),
        ("M.mlpackage/Data/weights/weight.bin", "coreml"),
        ("openvino_model.bin", "openvino"),
        ("openvino/m.bin", "openvino"),
        ("m.engine", "tensorrt"),
        ("m.safetensors", "safetensors"),
        ("m.gguf", "gguf"),
        ("m.bin", None),
        ("model", None),
        ("", None),
    ],
)
def test_where_the_bytes_do_not_tell_the_name_does(path: str, name: str | None) -> None:
    for head in (b"", b"\x80", b"PK", bytes(HEAD)):
        assert format_of(path, head) == name


def test_a_git_lfs_pointer_is_known() -> None:
    assert is_lfs_pointer(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n")
    assert not is_lfs_pointer(b"version 2")
