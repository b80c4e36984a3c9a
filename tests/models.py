"""Small model directories, as people have them."""

import json
import struct
from pathlib import Path

MODELFILE = """\
# A small model
NAME tiny
ARCH transformer
FAMILY bert
FORMAT safetensors
PARAMSIZE 12
PRECISION float32
LICENSE apache-2.0
LANGUAGE en
CONFIG *.json
MODEL *.safetensors
CODE *.py
DATASET data/*.csv
DOC README.md
"""


def safetensors(tensors=None) -> bytes:
    """Return a safetensors file of float32 tensors, name to shape; all zeros."""
    header, at = {}, 0
    for name, shape in (tensors or {"weight": [3, 4]}).items():
        size = 4
        for length in shape:
            size *= length
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(at)


def small_model(directory: Path) -> Path:
    """Make a model of six files and its Modelfile; return the directory."""
    files = {
        "config.json": json.dumps({"model_type": "bert", "transformers_version": "4.8.2"}).encode(),
        "model.safetensors": safetensors(),
        "run.py": b"print('hello')\n",
        "data/train.csv": b"a,b\n1,2\n",
        "README.md": b"---\nlicense: apache-2.0\nlanguage: en\n---\n# Tiny\n",
        "Modelfile": MODELFILE.encode(),
    }
    for name, data in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return directory


def small_adapter(directory: Path, base: str) -> Path:
    """Make an adapter of one file, and a Modelfile that says which model it is for; return the directory."""
    directory.mkdir()
    (directory / "adapter.safetensors").write_bytes(b"small")
    (directory / "Modelfile").write_text(f"ARG base={base}\nFROM ${{base}}\nNAME adapter\nMODEL adapter.safetensors\n")
    return directory
