#!/usr/bin/env bash
# A model from a hub straight into a registry: each byte once and none on this disk, the same revision again in a second,
# and back out into Hugging Face's cache, where its own library opens it without a network. The hub is the tests', on
# loopback, and speaks as Hugging Face's does. Sets up what it needs, and says what it did.
#
#   examples/import.sh       runs again from any state, leaves no process behind
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=setup.sh
. examples/setup.sh

say "1. A virtual environment with modfile and Hugging Face's client"
virtual_environment .venv '.[dev]'
PATH="$PWD/.venv/bin:$PATH"
modfile --version

project=$PWD work=$PWD/.import
rm -rf "$work"
mkdir -p "$work/model"
cd "$work"
export MODFILE_STORAGE_DIR="$work/storage" HF_HOME="$work/huggingface"

say "2. A hub with a model, and a registry"
serve_registry "$work/registry"
PYTHONPATH=$project python - model >hub.url 2>hub.log <<'PYTHON' &
import json
import os
import struct
import sys
import threading
from pathlib import Path

from tests.hubs.server import serving_hub

size, model = 20_000_000, Path(sys.argv[1])
header = json.dumps({"weight": {"dtype": "F16", "shape": [size // 2], "data_offsets": [0, size]}}).encode()
(model / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + os.urandom(size))
(model / "config.json").write_text(json.dumps({"model_type": "llama", "transformers_version": "4.51.0"}))
(model / "README.md").write_text("---\nlicense: apache-2.0\nbase_model: acme/base\n---\n# Tiny\n")
with serving_hub() as hub:
    hub.add("acme/tiny", model)
    print(hub.endpoint, flush=True)
    threading.Event().wait()
PYTHON
hub=$!
trap 'kill "$hub" "$registry" 2>/dev/null; wait 2>/dev/null || true' EXIT
until [ -s hub.url ]; do
    kill -0 "$hub" 2>/dev/null || { cat hub.log >&2; exit 1; }
    sleep 0.1
done
HF_ENDPOINT=$(cat hub.url)
export HF_ENDPOINT
reference=$host/llm/tiny

say "3. What would move"
run modfile import hf://acme/tiny -t "$reference" --dry-run

say "4. From the hub to the registry; the tag is the commit"
run modfile import hf://acme/tiny -t "$reference" --also-tag latest
[ -e "$work/storage" ] || echo "nothing was written to this disk"
run modfile inspect --remote "$reference:latest"

say "5. The same revision once more"
run modfile import hf://acme/tiny -t "$reference" --also-tag latest

say "6. As an artifact and as a container image, for Kubernetes"
run modfile import hf://acme/tiny -t "$reference:v1" --format both

say "7. On a machine without the hub: into Hugging Face's cache, and opened by its library"
kill "$hub"
run modfile pull "$reference:latest" --to-hf-cache
snapshot=$(python -c 'import huggingface_hub as hub; print(hub.snapshot_download("acme/tiny", local_files_only=True))')
for file in README.md config.json model.safetensors; do
    run cmp "$snapshot/$file" "model/$file"
done
echo "the files are the same"

say "Done. What was made is in .import/."
