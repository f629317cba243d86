#!/usr/bin/env bash
# Runs a command beside a Docker engine of its own, which may be killed: it has its own network namespace, root
# directory and socket, and whoever uses the machine's engine notices nothing. Needs root.
#
#   scripts/engine.sh [--image IMAGE]... -- COMMAND...
#
# The command runs in the engine's network namespace, with DOCKER_HOST, and with NEARLIGHT_ENGINE_PID: a file with
# the engine's process id. An engine that dies is started again. IMAGEs are copied from the machine's engine.
. "$(dirname "$0")/lib.sh"

ENGINES=/var/tmp/nearlight-engine
READY_WITHIN_S=45
# What an engine may have in memory, and how much has to be free for that. With less it has the disk.
ROOT_MAX=3g
MEMORY_MIN_KIB=$((6 * 1024 * 1024))

inside() { nsenter --net="/run/netns/$SPACE" -- "$@"; }

# space_of DIR: the network namespace of the engine of DIR.
space_of() { echo "nlengine-${1##*.}"; }

# born PID: when a process was started, in ticks. With its id it is one process: ids are given again.
born() { awk '$3 != "Z" { print $22 }' "/proc/$1/stat" 2>/dev/null; }

# lives FILE: whether the process of `PID BORN` in FILE still runs.
lives() {
    local pid since
    read -r pid since 2>/dev/null <"$1" && [ "$(born "$pid")" = "$since" ]
}

# is_of PID DIR: whether a process is of the engine of DIR, which is in its command line.
is_of() { grep -qaF "$2/" "/proc/$1/cmdline" 2>/dev/null; }

# Its containerd dies with an engine that was killed, a moment later. One that is started before that takes it for
# alive, waits 15 s for its socket, and gives up.
containerd_gone() {
    local pid tries=100
    pid=$(cat "$DIR/exec/containerd/containerd.pid" 2>/dev/null) || return 0
    while is_of "$pid" "$DIR" && [ $((tries -= 1)) -gt 0 ]; do sleep 0.05; done
}

supervise() {
    until [ -e "$DIR/over" ]; do
        # Its own pid file would keep the next one from starting, if another program has got the number.
        rm -f "$DIR/pid"
        containerd_gone
        # That takes a while, and there was no engine to end.
        [ ! -e "$DIR/over" ] || break
        inside dockerd --data-root "$DIR/root" --exec-root "$DIR/exec" --host "$SOCKET" --pidfile "$DIR/pid" >>"$DIR/log" 2>&1 || true
    done
}

# stop DIR FILE: ends the program of the engine of DIR whose id is in FILE, and waits for its end.
stop() {
    local pid tries=100
    pid=$(cat "$2" 2>/dev/null) || return 0
    is_of "$pid" "$1" || return 0
    kill "$pid" 2>/dev/null || return 0
    while is_of "$pid" "$1" && [ $((tries -= 1)) -gt 0 ]; do sleep 0.1; done
    ! is_of "$pid" "$1" || kill -9 "$pid" 2>/dev/null || true
}

# remove DIR: ends the engine of DIR and whatever runs beside it, and leaves nothing.
remove() {
    local dir=$1 space pid mount
    space=$(space_of "$dir")
    touch "$dir/over"
    stop "$dir" "$dir/pid"
    # It may have been about to start one.
    while lives "$dir/supervisor"; do
        sleep 0.1
        stop "$dir" "$dir/pid"
    done
    # It outlives an engine that was killed.
    stop "$dir" "$dir/exec/containerd/containerd.pid"
    # So do containers, each a child of a process that is in the namespace.
    for pid in $(ip netns pids "$space" 2>/dev/null); do
        # shellcheck disable=SC2046
        kill -9 $(cat "/proc/$pid/task/$pid/children" 2>/dev/null) "$pid" 2>/dev/null || true
    done
    for mount in $(awk -v dir="$dir/" 'index($2, dir) == 1 { print $2 }' /proc/mounts | sort -r); do umount -l "$mount" || true; done
    [ ! -e "/run/netns/$space" ] || ip netns delete "$space" || true
    rm -rf "$dir"
}

# What scripts have left that were killed.
sweep() {
    local dir
    for dir in "$ENGINES".*; do
        # Without an owner it was made just now.
        [ -s "$dir/owner" ] || continue
        lives "$dir/owner" || { warn "removing $dir, whose script is gone"; remove "$dir"; }
    done
}

images=()
while [ $# -gt 0 ]; do
    case $1 in
        --image) images+=("$2"); shift 2 ;;
        --) shift; break ;;
        *) die "usage: engine.sh [--image IMAGE]... -- COMMAND..." ;;
    esac
done
[ $# -gt 0 ] || die "usage: engine.sh [--image IMAGE]... -- COMMAND..."

sweep
DIR=$(mktemp -d "$ENGINES.XXXXXX")
SPACE=$(space_of "$DIR")
SOCKET=unix://$DIR/docker.sock
echo "$$ $(born $$)" >"$DIR/owner"
trap 'remove "$DIR"' EXIT
mkdir "$DIR/root"
# In memory: the images come and go with it, which takes a disk most of a minute.
if [ "$(awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo)" -lt $MEMORY_MIN_KIB ]; then
    warn "less than $((MEMORY_MIN_KIB / 1024)) MiB of memory to be had: the engine has its images on the disk"
else
    mount -t tmpfs -o "mode=711,size=$ROOT_MAX" engine "$DIR/root"
fi
ip netns add "$SPACE"
inside ip link set lo up
supervise &
echo "$! $(born $!)" >"$DIR/supervisor"
end=$((SECONDS + READY_WITHIN_S))
until docker --host "$SOCKET" version >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || { tail -n 15 "$DIR/log" >&2; die "the engine did not start"; }
    sleep 0.2
done
[ ${#images[@]} -eq 0 ] || docker save "${images[@]}" | docker --host "$SOCKET" load --quiet >/dev/null
export DOCKER_HOST=$SOCKET NEARLIGHT_ENGINE_PID=$DIR/pid
inside "$@"
