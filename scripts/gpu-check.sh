#!/usr/bin/env bash
# `make gpu-check`: what a GPU of this machine can be used for, as JSON; 1 if something that could
# work does not. Without an NVIDIA GPU it says so and succeeds. Starts no role; what it starts on a GPU, containers
# and as root a job of its own, is gone when it ends; by Ctrl-C, TERM and HUP, too,
# for it waits for that (a second one does not). Minutes: some seconds for each GPU and slice.
# A second line is about proofs: GPU_CHECK_SEEDS (5) seeds on each GPU against the oracle, and what
# each leg took beside one core. GPU_CHECK_ADAPTER=llvmpipe has Mesa's CPU play one.
. "$(dirname "$0")/lib.sh"

cd "$ROOT"
scripts/install.sh build run >&2
cargo build --release --locked -p edge-node -p edge-worker -p edge-prover
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
chmod 0711 "$scratch"
status=0
trap : INT TERM HUP # The program has them as well: the trap on EXIT takes nothing from under it.
"$CARGO_TARGET_DIR/release/edge-node" --gpu-check --data "$scratch/data" --run "$scratch/run" || status=$?
trap - INT TERM HUP
[ "$status" != 130 ] || exit 130

if [ -z "${GPU_CHECK_ADAPTER:-}" ] && ! [ -e /proc/driver/nvidia/version ]; then
    say "proofs are not compared: there is no NVIDIA GPU here (GPU_CHECK_ADAPTER=llvmpipe has a CPU play one)"
    exit "$status"
fi
"$CARGO_TARGET_DIR/release/edge-prover" --check "${GPU_CHECK_SEEDS:-5}" --adapter "${GPU_CHECK_ADAPTER:-}" || status=1
exit "$status"
