#!/usr/bin/env bash
# A model as an artifact and as a container image, of one set of layers: into a registry without a byte twice, unpacked by
# skopeo and umoci as a container runtime does, on a base with a shell, and read back. Sets up what it needs, and says what
# it did.
#
#   examples/images.sh       runs again from any state, leaves no process behind
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=setup.sh
. examples/setup.sh

say "1. A virtual environment with modfile; skopeo and umoci"
need_debian_packages skopeo:skopeo umoci:umoci
virtual_environment .venv '.[dev]'
PATH="$PWD/.venv/bin:$PATH"
modfile --version

work=$PWD/.images
rm -rf "$work"
mkdir -p "$work/model/onnx"
cd "$work"
export MODFILE_STORAGE_DIR="$work/storage"

say "2. A registry on a free loopback port, and a model"
serve_registry "$work/registry"
reference=$host/llm/tiny:v1
head -c 4000000 /dev/urandom >model/onnx/model.onnx
printf '{"model_type": "bert"}\n' >model/config.json
printf -- '---\nlicense: apache-2.0\n---\n# Tiny\n' >model/README.md
modfile generate model
sed -i 's/^NAME .*/NAME tiny/' model/Modelfile

say "3. Artifact and image at once, straight into the registry"
run modfile build -t "$reference" --output-remote --format both --no-creation-time model
say "   once more: the registry has everything"
run modfile build -t "$reference" --output-remote --format both --no-creation-time model

say "4. What a container runtime makes of the image, on either platform"
for architecture in amd64 arm64; do
    run skopeo --override-arch "$architecture" copy --quiet --src-tls-verify=false \
        "docker://$reference-image" "oci:$architecture:tiny"
    umoci unpack --rootless --image "$architecture:tiny" "bundle-$architecture"
    run diff --recursive --exclude Modelfile model "bundle-$architecture/rootfs/models"
done
ls -R bundle-arm64/rootfs

say "5. The same on a base with a shell, this machine's, for KServe"
umoci init --layout shell
umoci new --image shell:base
umoci config --image shell:base --os linux --architecture amd64 --config.cmd sh
for program in sh ln sleep; do
    path=$(command -v "$program")
    # shellcheck disable=SC2046 # several words
    printf '%s\n' "$path" $(ldd "$path" | grep -o '/[^ ]*')
done | sort -u >shell.files
while read -r file; do
    umoci insert --rootless --image shell:base "$(readlink -f "$file")" "$file"
done <shell.files
run modfile build -t "$host/llm/car:v1" --output-remote --format image --base "oci:$work/shell:base" \
    --platform linux/amd64 --no-creation-time model
run skopeo copy --quiet --src-tls-verify=false "docker://$host/llm/car:v1" oci:car:v1
umoci unpack --rootless --image car:v1 car-bundle
ls -L car-bundle/rootfs"$(command -v ln)" >/dev/null
run diff --recursive --exclude Modelfile model car-bundle/rootfs/models

say "6. modfile reads images too: the model's files, and nothing of the base"
run modfile pull "$host/llm/car:v1" --extract-dir "$work/extracted"
run modfile verify "$host/llm/car:v1" "$work/extracted"
run modfile fetch "$reference-image" --output "$work/one" --patterns config.json
run diff --recursive --exclude Modelfile model extracted
echo "the files are the same"

say "Done: one set of layers, an artifact and images that pods mount. What was made is in .images/."
