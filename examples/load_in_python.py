#!/usr/bin/env python3
"""A model packed, pulled and read from Python, without a registry: python examples/load_in_python.py

It makes a small model, keeps it in a store in a temporary directory, and leaves nothing behind. With a registry the
names have a host, `modfile.push` sends what was built, and the rest stays as it is.
"""

import json
import struct
import tempfile
from pathlib import Path

import modfile


def make_model(directory: Path) -> None:
    """Write what a training job leaves: weights, a configuration, a model card."""
    tensors = {f"layer.{number}.weight": struct.pack("<4f", *range(number, number + 4)) for number in range(3)}
    header, at = {}, 0
    for name, data in tensors.items():
        header[name] = {"dtype": "F32", "shape": [2, 2], "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    directory.mkdir()
    (directory / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"".join(tensors.values()))
    (directory / "config.json").write_text('{"model_type": "bert"}')
    (directory / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Tiny\n")


def main() -> None:
    """Pack it, look at it, load it."""
    with tempfile.TemporaryDirectory() as work, modfile.Session(Path(work, "storage")) as session:
        make_model(Path(work, "tiny"))
        modfile.generate(Path(work, "tiny"))
        artifact = modfile.build(Path(work, "tiny"), "tiny:v1", reproducible=True, session=session)
        print(f"built {artifact.pinned}: {artifact.format}, {artifact.param_size} parameters")

        # A directory that transformers, vLLM, safetensors and llama.cpp open as it is.
        path = modfile.pull("tiny:v1", session=session)
        print("pulled", *sorted(file.name for file in path.iterdir()))

        # Only the configuration; with a registry, only that is downloaded.
        assert modfile.pull("tiny:v1", allow_patterns="*.json", session=session) == path

        # Tensors by name; with a registry, only their bytes are downloaded.
        with modfile.open_safetensors("tiny:v1", session=session) as tensors:
            for name in tensors:
                info = tensors.info(name)
                print(name, info.dtype, list(info.shape), struct.unpack("<4f", tensors.get_bytes(name)))


if __name__ == "__main__":
    main()
