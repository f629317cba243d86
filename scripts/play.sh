#!/usr/bin/env bash
# `make play`: installs what is missing, builds, prepares the apps, runs `nearlight up "$@"`.
. "$(dirname "$0")/lib.sh"

# The data directory among the arguments of `nearlight up`, for the sandbox's root file systems.
data=data
args=("$@")
for i in "${!args[@]}"; do
    case ${args[$i]} in
        --data) data=${args[$((i + 1))]:?--data needs a directory} ;;
        --data=*) data=${args[$i]#--data=} ;;
    esac
done

cd "$ROOT"
scripts/install.sh build run
scripts/build.sh

# An engine that we start ourselves goes when we go.
engine_is_ours=0
if ! scripts/docker.sh status >/dev/null; then
    if scripts/docker.sh start; then
        [ ! -f "$CACHE/dockerd.pid" ] || engine_is_ours=1
    else
        warn "going on without a Docker engine: apps run in the bubblewrap sandbox"
    fi
fi
if scripts/docker.sh status >/dev/null; then
    scripts/images.sh docker
else
    scripts/images.sh sandbox --data "$data/edge"
fi

nearlight=$CARGO_TARGET_DIR/release/nearlight
if [ $engine_is_ours = 0 ]; then exec "$nearlight" up "$@"; fi

# Ctrl-C reaches the whole foreground group, `nearlight up` among it; a SIGTERM reaches us alone.
"$nearlight" up "$@" &
up=$!
trap : INT
trap 'kill -TERM $up' TERM
status=0
while :; do
    wait $up && status=0 || status=$?
    kill -0 $up 2>/dev/null || break
done
scripts/docker.sh stop
exit $status
