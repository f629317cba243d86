#!/usr/bin/env bash
# Breaks regions of its own, seed by seed, and checks what they promised: `loadtest history`.
#
#   scripts/history.sh FIRST COUNT [ARGS]   COUNT seeds from FIRST on; of five, three without a failover,
#                                           one to a synchronous standby and one to a lagging one
#
# It needs a release build (scripts/build.sh) and PostgreSQL. What breaks is kept in target/history, and the
# command that does the same again is in the report.
. "$(dirname "$0")/lib.sh"

cd "$ROOT"
first=${1:?usage: history.sh FIRST COUNT [ARGS]} count=${2:?usage: history.sh FIRST COUNT [ARGS]}
shift 2
program=$CARGO_TARGET_DIR/release/loadtest

# seeds FAILOVER FROM COUNT [ARGS]
seeds() {
    local failover=$1 from=$2 n=$3
    shift 3
    [ "$n" -gt 0 ] || return 0
    "$program" history --seeds "$from..$((from + n))" --failover "$failover" "$@"
}

synchronous=$((count / 5)) lagging=$((count / 5))
none=$((count - synchronous - lagging))
status=0
seeds none "$first" $none "$@" || status=1
seeds synchronous $((first + none)) $synchronous "$@" || status=1
seeds lagging $((first + none + synchronous)) $lagging "$@" || status=1
exit $status
