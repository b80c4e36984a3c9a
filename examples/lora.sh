#!/usr/bin/env bash
# A LoRA adapter as a child of its base: built without the base's weights at hand, pushed without sending them, pulled
# where the base is without fetching them again. Sets up what it needs, and says what it did.
#
#   examples/lora.sh       runs again from any state, leaves no process behind
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=setup.sh
. examples/setup.sh

say "1. A virtual environment with modfile"
virtual_environment .venv '.[dev]'
PATH="$PWD/.venv/bin:$PATH"
modfile --version

work=$PWD/.lora
rm -rf "$work"
mkdir -p "$work/base" "$work/adapter"
cd "$work"

say "2. A registry: modfile serve, over a store of its own"
serve_registry "$work/registry"

say "3. Somebody publishes a base"
python - base adapter <<'PYTHON'
import json
import random
import struct
import sys
from pathlib import Path


def safetensors(name, rows, columns, seed):
    values = random.Random(seed).randbytes(4 * rows * columns)
    tensor = {"dtype": "F32", "shape": [rows, columns], "data_offsets": [0, len(values)]}
    header = json.dumps({name: tensor}).encode()
    return struct.pack("<Q", len(header)) + header + values


base, adapter = map(Path, sys.argv[1:])
(base / "model.safetensors").write_bytes(safetensors("weight", 1024, 1024, 1))
(base / "config.json").write_text(json.dumps({"model_type": "llama", "hidden_size": 1024}))
(base / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A base\n")
(adapter / "adapter_model.safetensors").write_bytes(safetensors("weight.lora_A", 8, 1024, 2))
(adapter / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 8}))
PYTHON
export MODFILE_STORAGE_DIR="$work/publisher"
run modfile generate base
run modfile build -t "$host/llm/base:v1" base
run modfile push "$host/llm/base:v1"

say "4. Somebody else builds an adapter on it; of the base, manifest and config come, and no weights"
export MODFILE_STORAGE_DIR="$work/author"
cat >adapter/Modelfile <<MODELFILE
ARG     base=v1
FROM    $host/llm/base:\${base}
NAME    base-support
CONFIG  adapter_config.json
MODEL   adapter_model.safetensors
MODELFILE
cat adapter/Modelfile
run modfile build -t "$host/team/support:v1" --build-arg base=v1 adapter
du -sh "$work/author" | cut -f1
run modfile fsck

say "5. The registry mounts the base's layers from the base's repository: only the adapter is sent"
run modfile push "$host/team/support:v1"
run modfile history "$host/team/support:v1"

say "6. A machine that has the base takes the adapter, and has a whole model"
export MODFILE_STORAGE_DIR="$work/machine"
run modfile pull "$host/llm/base:v1"
run modfile pull "$host/team/support:v1" --extract-dir model
ls model
run cmp base/model.safetensors model/model.safetensors
run cmp adapter/adapter_model.safetensors model/adapter_model.safetensors
echo "the files are the same"

say "Done: the base's weights went to the registry once, and to the machine once. What was made is in .lora/."
