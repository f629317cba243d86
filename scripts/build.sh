#!/usr/bin/env bash
# Builds the programs and the browser client; does nothing where both are up to date.
#
#   build.sh          the release programs
#   build.sh tests    the programs of the development build, and the tests with them: one compilation for both
. "$(dirname "$0")/lib.sh"

WEB=$ROOT/client-web
# Beside what they speak of, in directories that a clean build removes.
INSTALLED=$WEB/node_modules/.nearlight-installed
BUILT=$WEB/dist/.nearlight-built

cd "$ROOT"
case ${1:-release} in
    release) cargo build --release --locked --workspace ;;
    # All targets: by themselves the programs have fewer features of what they depend on, and all of it is compiled anew.
    tests) cargo build --locked --workspace --all-targets ;;
    *) die "build.sh: $1?" "Run: scripts/build.sh [tests]" ;;
esac

scripts/wasm.sh

lock=$(content_hash "$WEB/package-lock.json" "$WEB/package.json")
if [ "$(cat "$INSTALLED" 2>/dev/null)" != "$lock" ]; then
    say "installing client-web's dependencies"
    (cd "$WEB" && npm ci --no-audit --no-fund --loglevel=error) \
        || die "npm ci failed in client-web" "It needs an npm registry: check the network and ~/.npmrc."
    echo "$lock" >"$INSTALLED"
fi

source=$(content_hash "$WEB")
if [ "$(cat "$BUILT" 2>/dev/null)" != "$source" ]; then
    say "building client-web"
    (cd "$WEB" && npm run --silent build)
    echo "$source" >"$BUILT"
fi
