#!/usr/bin/env bash
# Builds the verifier for browsers, and puts it where client-web's pages fetch it.
. "$(dirname "$0")/lib.sh"

MODULE=$CARGO_TARGET_DIR/wasm32-unknown-unknown/web/nearlight_verifier_wasm.wasm
SERVED=$ROOT/client-web/public/verifier.wasm

cd "$ROOT"
cargo build --quiet --locked --profile web --target wasm32-unknown-unknown -p nearlight-verifier-wasm --lib
cmp --silent "$MODULE" "$SERVED" || cp "$MODULE" "$SERVED"
