#!/usr/bin/env bash
# Layers in every format, and many small files in few layers; read with tar and gzip as well, and fetched one by one.
#
#   examples/layerformats.sh         runs again from any state, leaves no process behind
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=setup.sh
. examples/setup.sh

virtual_environment .venv '.[dev]'
PATH="$PWD/.venv/bin:$PATH"

work=$PWD/.layerformats
rm -rf "$work"
mkdir -p "$work/model/docs"
export MODFILE_STORAGE_DIR="$work/storage"

say "1. A model with 600 small documents"
head -c 2000000 /dev/urandom >"$work/model/weights.bin"
for number in $(seq -w 600); do echo "document $number" >"$work/model/docs/$number.md"; done
printf 'NAME many\nMODEL *.bin\nDOC docs/*.md\n' >"$work/model/Modelfile"

say "2. A registry on a free loopback port"
serve_registry "$work/registry"
repository=${url#http://}/llm/many

say "3. In each format, twice: the same files give the same digest"
for format in --raw --no-raw '--compression gzip' '--compression zstd'; do
    for _ in 1 2; do
        # shellcheck disable=SC2086 # two words
        run modfile build -t "$repository:v1" $format --max-layers 20 --no-creation-time "$work/model"
    done | tee "$work/digests"
    [ "$(grep -c sha256: "$work/digests")" = 2 ]
    [ "$(grep sha256: "$work/digests" | sort -u | wc -l)" = 1 ]
done

say "4. What gzip and tar say of a layer of documents"
modfile build -t "$repository:v1" --compression gzip --max-layers 20 --no-creation-time "$work/model" >/dev/null
layer=$(modfile inspect "$repository:v1" | python -c '
import json, sys
print(max(json.load(sys.stdin)["Layers"], key=lambda layer: len(layer["Files"]))["Digest"].split(":")[1])')
gzip -dc <"$work/storage/store/blobs/sha256/$layer" | tar -tvf - | tee "$work/listing" | sed -n '1,3p'
echo "and $(($(wc -l <"$work/listing") - 3)) more"

say "5. One document from the registry, and a directory compared with the manifest alone"
run modfile push "$repository:v1"
run modfile rm "$repository:v1"
run modfile prune
run modfile fetch "$repository:v1" --output "$work/one" --patterns 'docs/123.md'
run modfile pull "$repository:v1" --extract-from-remote --extract-dir "$work/all"
run modfile verify --remote "$repository:v1" "$work/all"
diff -r "$work/model/docs" "$work/all/docs"

say "all the files came back the same"
