#!/usr/bin/env bash
# Fuzz targets (fuzz/): fuzz.sh build | seeds | run [TARGET...] | again TARGET FILE
#
#   build   builds every target, without optimization: for `seeds`
#   seeds   runs every target once over its seeds
#   run     runs the targets, all of them by default, each for FUZZ_SECONDS (20). What a run learned
#           is kept for the next; an input that failed is kept, too, and how to run it again is said
#   again   runs one input
#
# Built with the toolchain of the rest and without a sanitizer: nothing of ours that is fuzzed has
# `unsafe` in it, and overflow and debug assertions are on.
. "$(dirname "$0")/lib.sh"

cd "$ROOT"
OUT=$CARGO_TARGET_DIR/fuzz
TRIPLE=$(rustc -vV | sed -n 's/^host: //p')
TARGETS=$(sed -n 's/^name = "\([a-z_]*\)"$/\1/p' fuzz/Cargo.toml)

# build [--dev]
build() {
    have cargo-fuzz || die "cargo-fuzz is not installed" "Run: cargo install cargo-fuzz --locked"
    # The workspace's versions; what only the targets need is pinned in their manifest.
    [ fuzz/Cargo.lock -nt Cargo.lock ] || cp Cargo.lock fuzz/Cargo.lock
    cargo fuzz build "$@" --sanitizer none --target-dir "$OUT"
}

# program NAME PROFILE
program() { echo "$OUT/$TRIPLE/$2/$1"; }

seeds() {
    local target
    for target in $TARGETS; do
        "$(program "$target" debug)" -runs=0 -verbosity=0 "fuzz/seeds/$target" >"$OUT/$target.log" 2>&1 \
            || { tail -n 30 "$OUT/$target.log" >&2; die "a seed of $target fails"; }
    done
}

# run TARGET...: each in its turn, whatever became of the one before.
run() {
    local target failed=0 log corpus kept
    for target in "$@"; do
        log=$OUT/$target.log corpus=$OUT/corpus/$target kept=$OUT/artifacts/$target/
        mkdir -p "$corpus" "$kept"
        if "$(program "$target" release)" -max_total_time="${FUZZ_SECONDS:-20}" -timeout=10 -rss_limit_mb=2048 \
            -print_final_stats=1 -artifact_prefix="$kept" "$corpus" "fuzz/seeds/$target" >"$log" 2>&1; then
            printf '    %-18s %9s inputs\n' "$target" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" >&2
            continue
        fi
        failed=1
        tail -n 20 "$log" >&2
        warn "$target failed; the input is kept. To run it again:"
        sed -n "s|.*Test unit written to \(.*\)|       scripts/fuzz.sh again $target \1|p" "$log" >&2
    done
    [ $failed = 0 ] || die "some targets failed; fix what they found, and add the inputs to fuzz/seeds/"
}

case ${1:-} in
    build) build --dev ;;
    seeds) build --dev && seeds ;;
    run)
        shift
        [ $# -gt 0 ] || set -- $TARGETS
        build && run "$@"
        ;;
    again) build && "$(program "$2" release)" "$3" ;;
    *) die "fuzz.sh build | seeds | run [TARGET...] | again TARGET FILE" ;;
esac
