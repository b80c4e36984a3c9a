"""Which format a weight file is in: by its first bytes where they tell, else by its name.

The names are those of the ModelPack configuration's `format` where it gives one, else the format's own.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from .safetensors import MAX_HEADER

HEAD = 512
"""How many of a file's first bytes `by_content` looks at."""
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_GGML = (b"lmgg", b"fmgg", b"tjgg", b"algg", b"ggml", b"ggmf", b"ggjt", b"ggla")
_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_ZIPPED = {"pt": "pytorch", "pth": "pytorch", "bin": "pytorch", "ckpt": "pytorch", "keras": "keras", "npz": "numpy"}
_PICKLES = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))
_PICKLED = frozenset({"bin", "pt", "pth", "ckpt", "checkpoint"})
_EXTENSIONS = {
    "safetensors": "safetensors",
    "gguf": "gguf",
    **dict.fromkeys(("ggml", "ggmf", "ggjt", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0"), "ggml"),
    **dict.fromkeys(("pt", "pth", "pt2", "ptl", "mar", "ckpt"), "pytorch"),
    "pte": "executorch",
    **dict.fromkeys(("onnx", "onnx_data"), "onnx"),
    "tflite": "tflite",
    **dict.fromkeys(("pb", "index", "meta"), "tensorflow"),
    "keras": "keras",
    **dict.fromkeys(("h5", "hdf5", "hdf"), "hdf5"),
    "msgpack": "flax",
    **dict.fromkeys(("mlmodel", "coreml", "mil"), "coreml"),
    **dict.fromkeys(("engine", "trt"), "tensorrt"),
    **dict.fromkeys(("npy", "npz"), "numpy"),
    **dict.fromkeys(("pkl", "pickle", "joblib"), "pickle"),
    "llamafile": "llamafile",
    "caffemodel": "caffe",
    "dlc": "dlc",
    "ftz": "fasttext",
    "mleap": "mleap",
}


def is_lfs_pointer(head: bytes) -> bool:
    """Tell whether a file is what Git LFS leaves in the place of one that was not fetched."""
    return head.startswith(_LFS_POINTER)


def format_of(path: str, head: bytes) -> str | None:
    """Return the format of a weight file with these first bytes, None if neither they nor its name tell."""
    return by_content(path, head) or by_name(path)


def by_content(path: str, head: bytes) -> str | None:
    """Return the format that the first bytes tell; containers that several formats share go by the name as well."""
    extension = _extension(path)
    if head.startswith(b"GGUF"):
        return "gguf"
    if head.startswith(_GGML):
        return "ggml"
    if head.startswith(_HDF5):
        return "hdf5"
    if head[4:8] == b"TFL3":
        return "tflite"
    if head.startswith(_ZIP):
        return "pytorch" if _is_torch_archive(head) else _ZIPPED.get(extension)
    if head[:2] in _PICKLES and extension in _PICKLED:
        return "pytorch"
    if head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= MAX_HEADER:
        return "safetensors"
    return None


def by_name(path: str) -> str | None:
    """Return the format that the name alone tells."""
    name = PurePosixPath(path).name.lower()
    if ".data-" in name or name.startswith("variables."):
        return "tensorflow"
    if ".onnx_data" in name:
        return "onnx"
    if ".mlpackage/" in path.lower() or ".mlmodelc/" in path.lower():
        return "coreml"
    if name.startswith("openvino_") or "/openvino/" in f"/{path.lower()}":
        return "openvino"
    if name.startswith("pytorch_model") and name.endswith(".bin"):
        return "pytorch"
    return _EXTENSIONS.get(_extension(path))


def _is_torch_archive(head: bytes) -> bool:
    """The first entry of what `torch.save` writes is `<name>/data.pkl` (PKZIP application note, 4.3.7)."""
    length = int.from_bytes(head[26:28], "little")
    name = head[30 : 30 + length]
    return name.endswith((b"/data.pkl", b"/constants.pkl", b"/.format_version"))


def _extension(path: str) -> str:
    return PurePosixPath(path).suffix[1:].lower()
