#!/usr/bin/env bash
# A model into a network without a way in: saved into one file outside, looked at on the way, loaded inside, and served
# there by a registry. Sets up what it needs, and says what it did.
#
#   examples/closed-network.sh       runs again from any state, leaves no process behind
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=setup.sh
. examples/setup.sh

say "1. A virtual environment with modfile"
virtual_environment .venv '.[dev]'
PATH="$PWD/.venv/bin:$PATH"
modfile --version

work=$PWD/.closed-network
rm -rf "$work"
mkdir -p "$work/model"

say "2. Outside: a small model, made on the spot, in two versions that share their weights"
python - "$work/model" <<'PYTHON'
import json
import random
import struct
import sys
from pathlib import Path

model = Path(sys.argv[1])
values = random.Random(1).randbytes(4 * 256 * 1024)
header = json.dumps({"embedding": {"dtype": "F32", "shape": [256, 1024], "data_offsets": [0, len(values)]}}).encode()
(model / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + values)
(model / "config.json").write_text(json.dumps({"model_type": "bert", "hidden_size": 1024}))
(model / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A small model\n")
PYTHON
export MODFILE_STORAGE_DIR="$work/outside"
cd "$work"
run modfile generate model
run modfile build -t models.example.com/llm/small:v1 model
echo '{"model_type": "bert", "hidden_size": 1024, "max_position_embeddings": 512}' >model/config.json
run modfile build -t models.example.com/llm/small:v2 model

say "3. Both into one file; the weights are in it once"
run modfile save models.example.com/llm/small:v1 models.example.com/llm/small:v2 -o small.tar
ls -sh small.tar
sha256sum small.tar >small.tar.sha256

say "4. On the way: what is in the file, and whether it is whole, without a store"
run sha256sum --check small.tar.sha256
run modfile inspect oci-archive:small.tar:models.example.com/llm/small:v2
run modfile verify oci-archive:small.tar:models.example.com/llm/small:v2
if command -v skopeo >/dev/null; then
    echo "\$ skopeo inspect --raw oci-archive:small.tar:models.example.com/llm/small:v2 | sha256sum"
    skopeo inspect --raw oci-archive:small.tar:models.example.com/llm/small:v2 | sha256sum
fi

say "5. Inside: a store that has nothing yet"
export MODFILE_STORAGE_DIR="$work/inside"
run modfile load -i small.tar
run modfile ls

say "6. A registry inside: modfile serve, over a store of its own; both versions go there"
serve_registry "$work/registry"
run modfile copy --all-tags store:models.example.com/llm/small "$host/"

say "7. A machine inside takes version 2 from there, and has what was outside"
export MODFILE_STORAGE_DIR="$work/machine"
run modfile pull "$host/llm/small:v2" --extract-dir restored
run diff --recursive --exclude Modelfile model restored
echo "the files are the same"

say "8. Where a pipe leads in, no file is needed"
export MODFILE_STORAGE_DIR="$work/outside"
echo "\$ modfile save models.example.com/llm/small:v1 | gzip | modfile --storage-dir piped load"
modfile save models.example.com/llm/small:v1 | gzip | modfile --storage-dir piped load

say "Done: a model went through a file, and through a pipe, into a closed network. What was made is in .closed-network/."
