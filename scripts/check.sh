#!/usr/bin/env bash
# `make check`: formatting, lints and unit tests. No root, no Docker, no browser.
. "$(dirname "$0")/lib.sh"

cd "$ROOT"
say "formatting"
cargo fmt --all -- --check
cargo fmt --manifest-path fuzz/Cargo.toml -- --check
say "lints"
cargo clippy --workspace --all-targets --locked -- -D warnings
say "unit tests"
if cargo nextest --version >/dev/null 2>&1; then
    # Many wait for a clock or a peer most of their time.
    cargo nextest run --workspace --locked --no-fail-fast --test-threads $(($(nproc) * 3 / 2))
else
    cargo test --workspace --locked --no-fail-fast
fi
if [ -d client-web/node_modules ]; then
    say "client-web"
    (cd client-web && npm run --silent typecheck && npm run --silent lint && npm run --silent test)
else
    say "client-web: skipped, its dependencies are not installed (npm ci in client-web)"
fi
