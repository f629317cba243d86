#!/usr/bin/env bash
# `make gpu-check`: what a GPU of this machine can be used for, as JSON; 1 if something that could
# work does not. Without an NVIDIA GPU it says so and succeeds. Starts nothing, changes nothing.
. "$(dirname "$0")/lib.sh"

cd "$ROOT"
scripts/install.sh build run >&2
cargo build --release --locked -p edge-node -p edge-worker
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
chmod 0711 "$scratch"
"$CARGO_TARGET_DIR/release/edge-node" --gpu-check --data "$scratch/data" --run "$scratch/run"
