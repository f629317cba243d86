#!/usr/bin/env bash
# Generates what is derived from core/protocol: the wire types and vectors that the browser shares;
# and core/proof's golden vectors.
. "$(dirname "$0")/lib.sh"

cd "$ROOT"
NEARLIGHT_GENERATE=1 cargo test --quiet --locked -p nearlight-protocol
golden=$(cargo run --quiet --locked -p nearlight-proof --example vectors)
printf '%s\n' "$golden" >core/proof/vectors/golden.json
