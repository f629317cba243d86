#!/usr/bin/env bash
# Breaks regions of its own, seed by seed, and checks what they promised: `loadtest history`.
#
#   scripts/history.sh FIRST COUNT [ARGS]   COUNT seeds from FIRST on; of five, two in which all breaks but the
#                                           database's place, one with a failover to a synchronous standby, one
#                                           to a lagging one, and one of partitions, whose packets are dropped
#
# Partitions take root and iptables. Where there is neither, they are left out, and said to be.
# It needs our programs (scripts/build.sh; NEARLIGHT_BIN_DIR says where they are) and PostgreSQL. What breaks is kept in target/history, and the
# command that does the same again is in the report.
. "$(dirname "$0")/lib.sh"

cd "$ROOT"
first=${1:?usage: history.sh FIRST COUNT [ARGS]} count=${2:?usage: history.sh FIRST COUNT [ARGS]}
shift 2
program=$NEARLIGHT_BIN_DIR/loadtest

# seeds COUNT ARGS...: the next COUNT seeds.
seeds() {
    local n=$1 from=$first
    shift
    [ "$n" -gt 0 ] || return 0
    first=$((first + n))
    "$program" history --seeds "$from..$first" "$@"
}

fifth=$((count / 5)) partitions=$((count / 5))
if [ "$(id -u)" != 0 ] || ! have iptables || ! unshare --net true 2>/dev/null; then
    [ $partitions = 0 ] || warn "no partitions: a network whose packets can be dropped takes root and iptables"
    partitions=0
fi
status=0
seeds $((count - 2 * fifth - partitions)) --failover none "$@" || status=1
seeds $fifth --failover synchronous "$@" || status=1
seeds $fifth --failover lagging "$@" || status=1
seeds $partitions --faults partitions "$@" || status=1
exit $status
