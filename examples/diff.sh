#!/usr/bin/env bash
# What a change is, before anything moves: two versions of a model compared by their files, their weights' headers and
# their tensors; a directory with an artifact; and builds, a push and a pull rehearsed.
#
#   examples/diff.sh       runs again from any state, leaves no process behind
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=setup.sh
. examples/setup.sh

say "1. A virtual environment with modfile, and a registry: modfile serve, over a store of its own"
virtual_environment .venv '.[dev]'
PATH="$PWD/.venv/bin:$PATH"

work=$PWD/.diff
rm -rf "$work"
mkdir -p "$work/model"
cd "$work"
serve_registry "$work/registry"
export MODFILE_STORAGE_DIR="$work/storage"
model=$host/llm/tiny

say "2. Version 1 of a model goes to the registry"
write_weights() {
    python - "$@" <<'PYTHON'
import json
import struct
import sys

header, data = {}, b""
for argument in sys.argv[1:]:
    name, columns, value = argument.split("=")
    bits = struct.pack("<f", float(value)) * (64 * int(columns))
    header[name] = {"dtype": "F32", "shape": [64, int(columns)], "data_offsets": [len(data), len(data) + len(bits)]}
    data += bits
text = json.dumps(header).encode()
with open("model/model.safetensors", "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text + data)
PYTHON
}
write_weights embeddings=256=1 layer.0=64=2 layer.1=64=3 head=8=4
echo '{"model_type": "bert", "num_hidden_layers": 2}' >model/config.json
printf -- '---\nlicense: apache-2.0\n---\n# Tiny\n' >model/README.md
run modfile generate model
run modfile build -t "$model:v1" --no-creation-time model
run modfile push "$model:v1"

say "3. Training goes on: a layer is other, the head is wider. What changed in the directory since version 1?"
write_weights embeddings=256=1 layer.0=64=2 layer.1=64=5 head=16=4
echo "print('evaluated')" >model/evaluate.py
if run modfile diff "$model:v1" ./model --exit-code; then exit 1; else echo "something differs"; fi

say "4. What would a build of it store, and what would go to the registry? Nothing is written"
run modfile generate --overwrite model
run modfile build -t "$model:v2" --no-creation-time --dry-run model
run modfile build -t "$model:v2" --no-creation-time --output-remote --dry-run model
run modfile ls

say "5. Version 2 is built, and compared with version 1: by the headers of the weights, then by their contents"
run modfile build -t "$model:v2" --no-creation-time model
run modfile diff "$model:v1" "$model:v2"
run modfile diff --tensors "$model:v1" "$model:v2"

say "6. What would a push move, to the repository and to a new one that the registry mounts into?"
run modfile push "$model:v2" --dry-run
run modfile tag "$model:v1" "$host/staging/tiny:v1"
run modfile push "$host/staging/tiny:v1" --dry-run
run modfile push "$model:v2"
run modfile push "$model:v2" --dry-run

say "7. What would a machine that has version 1 fetch?"
export MODFILE_STORAGE_DIR="$work/machine"
run modfile pull "$model:v1"
run modfile diff "store:$model:v1" "docker://$model:v2" --no-headers
run modfile pull "$model:v2" --dry-run
run modfile pull "$model:v2"

say "Done: all that moved was said beforehand. What was made is in .diff/."
