#!/usr/bin/env bash
# Installs what is missing, after asking: install.sh STAGE... (build, run, test, fuzz).
#
# YES=1, or CI in the environment, answers yes. Debian packages come first; then a Rust toolchain
# (rustup) and Node.js where Debian's is absent or too old, both below the home directory. What it
# cannot install it names, with what to do, and ends with status 1 if that is needed to go on.
. "$(dirname "$0")/lib.sh"

packages=()
wanted=()

main() {
    local look package reason
    while read -r look package reason; do
        [ -n "$look" ] || continue
        wanted+=("$(printf '%-34s %s' "$package" "$reason")")
        case " ${packages[*]-} " in *" $package "*) ;; *) packages+=("$package") ;; esac
    done < <(missing "$@")
    if ! have cargo; then wanted+=("$(printf '%-34s %s' "rustup (sh.rustup.rs)" "the Rust toolchain, below ~/.cargo")"); fi
    if lacks_fuzz "$@"; then wanted+=("$(printf '%-34s %s' "cargo-fuzz (crates.io)" "builds the fuzz targets, below ~/.cargo")"); fi
    if lacks_wasm "$@"; then wanted+=("$(printf '%-34s %s' "wasm32-unknown-unknown (rustup)" "the verifier of receipts in browsers; and proves that the pure crates reach for nothing")"); fi
    if ! node_is_new_enough; then wanted+=("$(printf '%-34s %s' "Node.js (nodejs.org)" "builds the browser client, below ~/.cache/nearlight")"); fi
    [ ${#wanted[@]} -gt 0 ] || return 0

    say "missing on this machine:"
    printf '      %s\n' "${wanted[@]}" >&2
    confirm
    if [ ${#packages[@]} -gt 0 ]; then install_packages; fi
    have cargo || install_rust
    if lacks_fuzz "$@"; then cargo install cargo-fuzz --locked --quiet || warn "cannot install cargo-fuzz: cargo install cargo-fuzz --locked"; fi
    if lacks_wasm "$@"; then (cd "$ROOT" && rustup --quiet target add $WASM) || warn "cannot install the target $WASM: rustup target add $WASM"; fi
    node_is_new_enough || install_node
    report "$@"
}

lacks_fuzz() { case " $* " in *" fuzz "*) ! have cargo-fuzz ;; *) false ;; esac }

# rustup brings the targets of rust-toolchain.toml by itself, unless RUSTUP_AUTO_INSTALL=0 forbids it.
WASM=wasm32-unknown-unknown
lacks_wasm() {
    case " $* " in *" build "* | *" test "*) ;; *) return 1 ;; esac
    have rustup && ! (cd "$ROOT" && rustup target list --installed 2>/dev/null) | grep -qx $WASM
}

confirm() {
    if [ "${YES:-}" = 1 ] || [ -n "${CI:-}" ]; then return; fi
    [ -t 0 ] || die "nobody is here to ask" "Run with YES=1 to install what is listed above."
    local answer
    read -r -p "Install them now? [Y/n] " answer
    case $answer in '' | y | Y | yes) ;; *) die "not installed" "Install them yourself, or answer yes." ;; esac
}

install_packages() {
    have apt-get || die "this is no Debian: install these by its own means: ${packages[*]}"
    can_be_root || die "packages need root, and there is no sudo" "As root: apt-get install ${packages[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq || warn "apt-get update failed; going on with the lists at hand"
    if as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"; then return; fi
    # One package that this release lacks must not keep the others away.
    local package
    for package in "${packages[@]}"; do
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" \
            || warn "cannot install the package $package"
    done
}

install_rust() {
    if apt-cache show rustup >/dev/null 2>&1 && can_be_root; then
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends rustup && return
    fi
    say "installing rustup below ~/.cargo; rust-toolchain.toml chooses the toolchain"
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --no-modify-path --default-toolchain none \
        || die "cannot install a Rust toolchain" "See https://rustup.rs, then run this again."
    PATH=$HOME/.cargo/bin:$PATH
}

# The official build, checked against the list of hashes that comes with it.
install_node() {
    local arch site=https://nodejs.org/dist/latest-v22.x file
    case $(uname -m) in
        x86_64) arch=x64 ;;
        aarch64) arch=arm64 ;;
        *) die "there is no Node.js for $(uname -m) at nodejs.org" "Install Node.js $NODE_MIN or newer yourself." ;;
    esac
    STAGE=$(mktemp -d)
    trap 'rm -rf "$STAGE"' EXIT
    say "installing Node.js below $CACHE/node"
    if ! curl --proto '=https' -sSfL "$site/SHASUMS256.txt" -o "$STAGE/sums"; then
        die "cannot reach nodejs.org" "Install Node.js $NODE_MIN or newer yourself, such as from https://deb.nodesource.com, and run this again."
    fi
    file=$(sed -n "s/.* \(node-v.*-linux-$arch\.tar\.gz\)$/\1/p" "$STAGE/sums" | head -n1)
    curl --proto '=https' -sSfL "$site/$file" -o "$STAGE/$file" || die "cannot fetch $site/$file"
    (cd "$STAGE" && grep " $file\$" sums | sha256sum -c --quiet) || die "$file is not what nodejs.org says it is"
    rm -rf "$CACHE/node"
    mkdir -p "$CACHE/node"
    tar -C "$CACHE/node" --strip-components=1 -xzf "$STAGE/$file"
    PATH=$CACHE/node/bin:$PATH
}

# What is still missing. Without the tools to build there is no going on; the rest degrades.
report() {
    local look package reason fatal=0
    while read -r look package reason; do
        [ -n "$look" ] || continue
        warn "still missing: $package ($reason)"
        case " $* " in *" test "*) fatal=1 ;; esac
        case $look in pc:* | cmd:cc | cmd:cmake | cmd:pkg-config) fatal=1 ;; esac
    done < <(missing "$@")
    [ $fatal = 0 ] || die "what is listed above is needed to go on"
}

main "$@"
