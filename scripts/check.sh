#!/usr/bin/env bash
# `make check`: formatting, lints and unit tests. No root, no Docker, no browser, no database.
#
#   check.sh       what a change to one crate needs within two minutes
#   check.sh all   every test of the workspace: processes, containers and databases, too
#   check.sh lints, check.sh tests   the two halves of `all`
. "$(dirname "$0")/lib.sh"

cd "$ROOT"

lints() {
    say "formatting"
    cargo fmt --all -- --check
    cargo fmt --manifest-path fuzz/Cargo.toml -- --check
    say "lints"
    cargo clippy --workspace --all-targets --locked -- -D warnings
    if [ -d client-web/node_modules ]; then
        say "client-web"
        (cd client-web && npm run --silent typecheck && npm run --silent lint && npm run --silent test)
    else
        say "client-web: skipped, its dependencies are not installed (npm ci in client-web)"
    fi
}

# tests PROFILE [ARGS]
tests() {
    local profile=$1
    shift
    say "tests"
    if cargo nextest --version >/dev/null 2>&1; then
        # Many wait for a clock or a peer most of their time.
        cargo nextest run --workspace --locked --no-fail-fast --profile "$profile" \
            --test-threads $(($(nproc) * 3 / 2)) "$@"
    else
        cargo test --workspace --locked --no-fail-fast "$@"
    fi
}

case ${1:-units} in
    units) lints; tests units --lib --bins ;;
    all) lints; tests default ;;
    lints) lints ;;
    tests) tests default ;;
    *) die "check.sh: $1?" "Run: scripts/check.sh [all | lints | tests]" ;;
esac
