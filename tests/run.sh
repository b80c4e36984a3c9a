#!/usr/bin/env bash
# Sets up all that the tests need (Debian packages, a virtual environment) and runs them. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=../examples/setup.sh
. examples/setup.sh
need_debian_packages docker-registry:docker-registry skopeo:skopeo htpasswd:apache2-utils git:git tinyproxy:tinyproxy-bin mkfs.xfs:xfsprogs mkfs.btrfs:btrfs-progs script:bsdutils strace:strace chromium:chromium umoci:umoci
virtual_environment .venv '.[dev]'

# Most tests wait for servers and disks more than they work; those of one file share what they prepare.
exec .venv/bin/python -m pytest --numprocesses 3 --dist loadfile "$@"
