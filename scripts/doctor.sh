#!/usr/bin/env bash
# `make doctor`: lists what this machine lacks, and what to do. Changes nothing.
. "$(dirname "$0")/lib.sh"

status=0
say "packages"
while read -r look package reason; do
    [ -n "$look" ] || continue
    printf '  missing  %-34s %s: apt-get install %s\n' "${look#*:}" "$reason" "$package"
    status=1
done < <(missing build run test)
if ! have cargo; then printf '  missing  %-34s %s\n' cargo "builds everything: https://rustup.rs, or make play"; status=1; fi
if ! node_is_new_enough; then printf '  missing  %-34s %s\n' "node $NODE_MIN" "builds the browser client: https://nodejs.org, or make play"; status=1; fi
[ $status = 1 ] || echo '  ok       every package is there'

say "machine"
for profile in release debug; do
    program=$CARGO_TARGET_DIR/$profile/nearlight
    if [ -x "$program" ]; then
        "$program" doctor "$@" || status=1
        exit $status
    fi
done
echo '  unknown  the programs are not built yet; after `make play` this looks at Docker, GPU, encoders, ports and kernel limits'
exit $status
