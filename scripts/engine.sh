#!/usr/bin/env bash
# Runs a command beside a Docker engine of its own, which may be killed: it has its own network namespace, root
# directory and socket, and whoever uses the machine's engine notices nothing. Needs root.
#
#   scripts/engine.sh [--image IMAGE]... -- COMMAND...
#
# The command runs in the engine's network namespace, with DOCKER_HOST, and with NEARLIGHT_ENGINE_PID: a file with
# the engine's process id. An engine that dies is started again. IMAGEs are copied from the machine's engine.
. "$(dirname "$0")/lib.sh"

SPACE=nlengine$$
DIR=$(mktemp -d /var/tmp/nearlight-engine.XXXXXX)
SOCKET=unix://$DIR/docker.sock
READY_WITHIN_S=45
SUPERVISOR=

inside() { nsenter --net="/run/netns/$SPACE" -- "$@"; }

# Its containerd dies with an engine that was killed, a moment later. One that is started before that takes it for
# alive, waits 15 s for its socket, and gives up.
containerd_gone() {
    local pid tries=100
    pid=$(cat "$DIR/exec/containerd/containerd.pid" 2>/dev/null) || return 0
    while kill -0 "$pid" 2>/dev/null && [ $((tries -= 1)) -gt 0 ]; do sleep 0.05; done
}

supervise() {
    until [ -e "$DIR/over" ]; do
        # Its own pid file would keep the next one from starting, if another program has got the number.
        rm -f "$DIR/pid"
        containerd_gone
        inside dockerd --data-root "$DIR/root" --exec-root "$DIR/exec" --host "$SOCKET" --pidfile "$DIR/pid" >>"$DIR/log" 2>&1 || true
    done
}

# stop FILE: ends the program whose id is in FILE, and waits for its end.
stop() {
    local pid tries=100
    pid=$(cat "$1" 2>/dev/null) || return 0
    kill "$pid" 2>/dev/null || return 0
    while kill -0 "$pid" 2>/dev/null && [ $((tries -= 1)) -gt 0 ]; do sleep 0.1; done
    kill -9 "$pid" 2>/dev/null || true
}

over() {
    touch "$DIR/over"
    stop "$DIR/pid"
    [ -z "$SUPERVISOR" ] || wait "$SUPERVISOR" || true
    # It outlives an engine that was killed.
    stop "$DIR/exec/containerd/containerd.pid"
    local mount
    for mount in $(awk -v dir="$DIR/" 'index($2, dir) == 1 { print $2 }' /proc/mounts | sort -r); do umount -l "$mount" || true; done
    ip netns delete "$SPACE" || true
    rm -rf "$DIR"
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

trap over EXIT
# In memory: the images come and go with it, which takes a disk most of a minute.
mkdir "$DIR/root"
mount -t tmpfs -o mode=711 engine "$DIR/root"
ip netns add "$SPACE"
inside ip link set lo up
supervise &
SUPERVISOR=$!
end=$((SECONDS + READY_WITHIN_S))
until docker --host "$SOCKET" version >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || { tail -n 15 "$DIR/log" >&2; die "the engine did not start"; }
    sleep 0.2
done
[ ${#images[@]} -eq 0 ] || docker save "${images[@]}" | docker --host "$SOCKET" load --quiet >/dev/null
export DOCKER_HOST=$SOCKET NEARLIGHT_ENGINE_PID=$DIR/pid
inside "$@"
