#!/usr/bin/env bash
# Pieces of a model in a registry, and no more than that moved: its tensors listed, some of them into a file, some into
# Python, and its files through modelpack:// URLs.
#
#   examples/pieces.sh     runs again from any state, leaves no process behind
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=setup.sh
. examples/setup.sh

say "1. A virtual environment with modfile, and a registry: modfile serve, over a store of its own"
virtual_environment .venv '.[dev]'
PATH="$PWD/.venv/bin:$PATH"

work=$PWD/.pieces
rm -rf "$work"
mkdir -p "$work/model/data"
cd "$work"
serve_registry "$work/registry"
reference=$host/llm/layered:v1

say "2. A model of 16 layers of 1 MiB each, straight into the registry"
python - model <<'PYTHON'
import json
import struct
import sys
from pathlib import Path

model, side = Path(sys.argv[1]), 512
names = [f"layer.{number}.weight" for number in range(16)]
size = 4 * side * side
header = {
    name: {"dtype": "F32", "shape": [side, side], "data_offsets": [at * size, (at + 1) * size]}
    for at, name in enumerate(names)
}
text = json.dumps(header).encode()
weights = b"".join(struct.pack("<f", at) * (side * side) for at in range(len(names)))
(model / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + weights)
(model / "config.json").write_text('{"model_type": "bert"}\n')
(model / "data/train.csv").write_text("text,label\ngood,1\nbad,0\n")
PYTHON
run modfile generate model
run modfile --storage-dir "$work/author" build -t "$reference" --output-remote model

export MODFILE_STORAGE_DIR="$work/storage"
say "3. What tensors are there? Only the header of the weights comes"
echo "\$ modfile inspect --remote --tensors $reference"
modfile inspect --remote --tensors "$reference" >tensors.json
python - tensors.json <<'PYTHON'
import json
import sys

with open(sys.argv[1]) as file:
    listed = json.load(file)["Tensors"]
for tensor in listed[:3]:
    print(tensor["Name"], tensor["Dtype"], tensor["Shape"])
print("and", len(listed) - 3, "more")
PYTHON

say "4. Two layers into a file that safetensors opens"
run modfile fetch "$reference" --output some --tensors 'layer.[34].*'
ls -l some
python - some/tensors.safetensors <<'PYTHON'
import sys

from safetensors.numpy import load_file

for name, array in sorted(load_file(sys.argv[1]).items()):
    print(name, array.shape, array[0, 0])
PYTHON

say "5. One layer into Python, and rows of another"
python - "$reference" <<'PYTHON'
import sys

import modfile

with modfile.open_safetensors(sys.argv[1]) as tensors:
    layer = tensors.get_tensor("layer.7.weight")
    rows = tensors.get_slice("layer.9.weight")[100:110]
    print("layer.7.weight", layer.shape, layer.mean(), "and", rows.shape, "of layer.9.weight")
PYTHON

say "6. A file of the artifact by its URL, in any program that reads through fsspec"
python - "modelpack://$reference" <<'PYTHON'
import sys

import fsspec
import pandas

options = {"storage_options": {"plain_http": True}}
print(pandas.read_csv(f"{sys.argv[1]}/data/train.csv", **options))
files = fsspec.filesystem("modelpack", **options["storage_options"])
print(sorted(name.rpartition("/")[2] for name in files.ls(sys.argv[1].removeprefix("modelpack://"), detail=False)))
with files.open(f"{sys.argv[1]}/model.safetensors") as weights:
    print("the header of the weights has", int.from_bytes(weights.read(8), "little"), "bytes")
PYTHON

if [ -d "$work/storage/store/blobs" ]; then echo "something was stored" >&2; exit 1; fi
say "Done: the model stayed where it was, and only what was asked for came. That is in .pieces/."
