#!/usr/bin/env bash
# Sees to a Docker engine: docker.sh start | stop | status.
#
# start   does nothing where one answers; asks the service manager where there is one; else starts
#         dockerd itself. Ends with status 1 and the reason where none can be had.
# stop    ends the dockerd that `start` started itself, and no other.
# status  says whether one answers, and if not, why.
. "$(dirname "$0")/lib.sh"

PIDFILE=$CACHE/dockerd.pid
LOG=$CACHE/dockerd.log
READY_WITHIN_S=45
STOP_WITHIN_S=30

answers() { docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

# ours: whether the dockerd of the pid file still runs, and is one.
ours() {
    local pid
    pid=$(cat "$PIDFILE" 2>/dev/null) && [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ]
}

# within SECONDS COMMAND...: until the command succeeds, or the time is over.
within() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.2
    done
}

# A socket that we may not open is another matter than an engine that does not run.
why_not() {
    local socket=${DOCKER_HOST:-unix:///var/run/docker.sock}
    socket=${socket#unix://}
    if ! have docker; then
        echo "the docker command is not installed: apt-get install docker.io"
    elif [ -S "$socket" ] && [ ! -w "$socket" ]; then
        echo "you may not use $socket: run 'sudo usermod -aG docker $(id -un)', then log in again"
    else
        echo "no Docker engine answers at $socket"
    fi
}

# gvisor: the flags with which an engine of ours offers gVisor beside its own runtime, where that is installed and nobody
# has configured the engine. Debian 12's takes every network namespace of a newer kernel for the host's own and
# refuses it, unless it is to use the kernel's own network: of the container's namespace, all the same.
gvisor() {
    if ! have runsc || [ -e /etc/docker/daemon.json ]; then return; fi
    printf '{"runtimes":{"runsc":{"path":"%s","runtimeArgs":["--network=host"]}}}\n' "$(command -v runsc)" >"$CACHE/dockerd.json"
    echo "--config-file $CACHE/dockerd.json"
}

start() {
    if answers; then return; fi
    local socket=/var/run/docker.sock
    [ -z "${DOCKER_HOST:-}" ] || die "DOCKER_HOST is $DOCKER_HOST, and no engine answers there"
    if [ -S "$socket" ] && [ ! -w "$socket" ] && [ "$(id -u)" != 0 ]; then die "$(why_not)"; fi
    have dockerd || die "no Docker engine is installed" "apt-get install docker.io"
    can_be_root || die "a Docker engine needs root to start" "Start it as root, or go without: apps run in the sandbox then."
    mkdir -p "$CACHE"
    local settled=answers
    if [ -d /run/systemd/system ]; then
        say "starting the Docker engine (systemctl start docker)"
        as_root systemctl start docker || die "systemd cannot start docker" "See: journalctl -u docker"
    else
        say "starting dockerd (log: $LOG)"
        # setsid: a Ctrl-C in this terminal is not for the engine.
        as_root sh -c 'log=$1 pid=$2; shift 2; setsid dockerd "$@" >"$log" 2>&1 </dev/null & echo $! >"$pid"' sh "$LOG" "$PIDFILE" $(gvisor)
        settled=answers_or_died
    fi
    within $READY_WITHIN_S $settled || true
    if ! answers; then
        if [ -f "$PIDFILE" ]; then tail -n 15 "$LOG" >&2; fi
        stop
        die "the Docker engine did not start; $(why_not)" "Apps run in the sandbox without one."
    fi
}

stop() {
    if ours; then
        say "stopping the dockerd that was started here"
        as_root kill "$(cat "$PIDFILE")"
        within $STOP_WITHIN_S not_ours || warn "dockerd has not ended after $STOP_WITHIN_S s"
    fi
    rm -f "$PIDFILE"
}

not_ours() { ! ours; }

answers_or_died() { answers || [ ! -d "/proc/$(cat "$PIDFILE")" ]; }

status() {
    if answers; then
        echo "a Docker engine answers: $(docker version --format '{{.Server.Version}}, API {{.Server.APIVersion}}')"
    else
        why_not
        return 1
    fi
}

case ${1:-} in
    start | stop | status) "$1" ;;
    *) die "usage: docker.sh start | stop | status" ;;
esac
