#!/usr/bin/env bash
# What slices would gain (docs/adr/0006): records calibrate's scene `game` and measures x264 on it.
#
#   slices.sh [FRAMES]     frames measured for each way, 900 by default: 15 seconds
#
# Wants x264's header (apt-get install libx264-dev), the release binaries, and a machine that does
# nothing else.
. "$(dirname "$0")/../lib.sh"

pkg-config --exists x264 || die "x264's header is not installed" "Run: apt-get install libx264-dev"
cd "$ROOT/e2e"
[ -d node_modules ] || npm ci --silent
frames=$(npm run --silent record -- --scene game --seed 1)
trap 'rm -rf "$(dirname "$frames")"' EXIT
program=$CARGO_TARGET_DIR/slices
# shellcheck disable=SC2046
cc -O2 -Wall -Wextra -o "$program" "$ROOT/scripts/measure/slices.c" $(pkg-config --cflags --libs x264) -lpthread
"$program" "$frames" "${1:-900}"
