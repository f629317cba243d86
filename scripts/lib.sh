# Shared by the scripts beside it: words on the terminal, and where things are. Sourced, not run.
# shellcheck shell=bash

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/nearlight
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$CACHE/target}

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
warn() { printf 'warning: %s\n' "$*" >&2; }
die() {
    printf 'error: %s\n' "$1" >&2
    shift
    for line in "$@"; do printf '       %s\n' "$line" >&2; done
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# as_root COMMAND...: runs it as root, or says that it cannot.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        die "this needs root: $*" "Run it as root, or install sudo."
    fi
}

# content_hash PATH...: one hash over names, modes and contents below the paths.
content_hash() {
    local path
    for path in "$@"; do
        (cd "$path" 2>/dev/null && find . -type f -printf '%P %m ' -exec sha256sum {} \; | sort) \
            || sha256sum <"$path"
    done | sha256sum | cut -c1-32
}
