# Shared by the scripts beside it: words on the terminal, and where things are. Sourced, not run.
# shellcheck shell=bash

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/nearlight
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$CACHE/target}
# Where our programs are: a release build, unless said otherwise.
export NEARLIGHT_BIN_DIR=${NEARLIGHT_BIN_DIR:-$CARGO_TARGET_DIR/release}
# What scripts/install.sh put there where Debian has none or an old one.
for bin in "$HOME/.cargo/bin" "$CACHE/node/bin"; do
    case :$PATH: in *":$bin:"*) ;; *) [ ! -d "$bin" ] || PATH=$bin:$PATH ;; esac
done
export PATH

# Vite and the tests want it; Debian 12 has 18.
NODE_MIN=20.19.0

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
warn() { printf 'warning: %s\n' "$*" >&2; }
die() {
    printf 'error: %s\n' "$1" >&2
    shift
    for line in "$@"; do printf '       %s\n' "$line" >&2; done
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ]; }

# at_least VERSION MIN
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n1)" = "$2" ]; }

node_is_new_enough() { have node && have npm && at_least "$(node --version | tr -d v)" "$NODE_MIN"; }

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

can_be_root() { [ "$(id -u)" = 0 ] || have sudo; }

# found LOOK: whether what a line of requirements.txt looks for is there.
found() {
    local what=${1#*:}
    case $1 in
        cmd:*) have "$what" ;;
        pc:*) have pkg-config && pkg-config --exists "$what" ;;
        gst:*) have gst-inspect-1.0 && gst-inspect-1.0 --exists "$what" >/dev/null 2>&1 ;;
        file:*) [ -e "$what" ] ;;
        py:*) have python3 && python3 -c "import $what" 2>/dev/null ;;
        host:*) getent ahosts "$what" >/dev/null ;;
        postgres:*) have "$what" || compgen -G "/usr/lib/postgresql/*/bin/$what" >/dev/null ;;
        *) die "requirements.txt: $1 is no way to look" ;;
    esac
}

# missing STAGE...: the lines of requirements.txt that are not there, as LOOK PACKAGE REASON.
missing() {
    local stage look package reason
    while read -r stage look package reason; do
        case $stage in '#'* | '') continue ;; esac
        case " $* " in *" $stage "*) ;; *) continue ;; esac
        found "$look" || echo "$look $(known_package "$package") $reason"
    done <"$ROOT/scripts/requirements.txt"
}

# known_package A|B: the first that this Debian has.
known_package() {
    local name
    for name in ${1//|/ }; do
        if [ "$name" = "$1" ] || apt-cache show "$name" >/dev/null 2>&1; then
            echo "$name"
            return
        fi
    done
    echo "${1##*|}"
}

# content_hash PATH...: one hash over names, modes and contents below the paths.
content_hash() {
    local path
    for path in "$@"; do
        if [ -d "$path" ]; then
            (cd "$path" && find -L . \( -name node_modules -o -name dist \) -prune -o -type f -printf '%P %m ' -exec sha256sum {} \; | sort)
        else
            sha256sum <"$path"
        fi
    done | sha256sum | cut -c1-32
}
