#!/usr/bin/env bash
# Generates what is derived from core/protocol: the wire types and vectors that the browser shares.
. "$(dirname "$0")/lib.sh"

cd "$ROOT"
NEARLIGHT_GENERATE=1 cargo test --quiet --locked -p nearlight-protocol
