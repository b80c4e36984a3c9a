# Functions that make a machine ready; for the scripts beside this file and for tests/run.sh.

bold= plain=
if [ -t 1 ]; then bold=$'\033[1m' plain=$'\033[0m'; fi

# say TEXT prints a heading, run PROGRAM ARGUMENT ... a command before it is run.
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
run() {
    printf '$ %s\n' "$*"
    "$@"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# need_debian_packages PROGRAM:PACKAGE ... installs the packages whose programs are missing.
need_debian_packages() {
    local pair missing=()
    for pair in "$@"; do
        PATH="$PATH:/usr/sbin:/sbin" command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
    done
    [ ${#missing[@]} -eq 0 ] && return
    echo "installing ${missing[*]}" >&2
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# find_python prints the first interpreter that is recent enough.
find_python() {
    local name
    for name in python3 python3.13 python3.12 python3.11; do
        if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
            command -v "$name"
            return
        fi
    done
    echo "Python 3.11 or newer is needed" >&2
    return 1
}

# virtual_environment DIRECTORY REQUIREMENT makes it, or makes it anew where it does not work, and installs this project
# into it, editable. What was installed for the same pyproject.toml is not installed again.
virtual_environment() {
    local directory=$1 requirement=$2 python stamp
    python=$(find_python)
    stamp="$requirement $(sha256sum pyproject.toml | cut -d' ' -f1) $("$python" --version) $PWD"
    if [ "$(cat "$directory/installed" 2>/dev/null)" = "$stamp" ] && "$directory/bin/python" -c 'import modfile' 2>/dev/null
    then
        return
    fi
    rm -rf "$directory"
    if ! "$python" -m venv "$directory" 2>/dev/null; then
        # Debian keeps the part of Python that makes virtual environments in a package of its own.
        need_debian_packages "no-such-program:python3-venv"
        rm -rf "$directory"
        "$python" -m venv "$directory"
    fi
    "$directory/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$requirement"
    echo "$stamp" >"$directory/installed"
}

# serve_registry DIRECTORY runs `modfile serve` over a store in DIRECTORY until the script ends; sets `url` and `host`.
serve_registry() {
    rm -f "$1.url"
    modfile --storage-dir "$1" serve --port 0 --allow-push >"$1.url" 2>"$1.log" &
    registry=$!
    trap 'kill "$registry" 2>/dev/null; wait "$registry" 2>/dev/null || true' EXIT
    until [ -s "$1.url" ]; do
        kill -0 "$registry" 2>/dev/null || { cat "$1.log" >&2; exit 1; }
        sleep 0.1
    done
    url=$(cat "$1.url")
    host=${url#http://}
}
