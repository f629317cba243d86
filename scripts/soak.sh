#!/usr/bin/env bash
# `make soak`: cycles and hours. Without a suite, all of them.
#
#   scripts/soak.sh visits       browsers and native viewers come and go (e2e/src/soak.ts)
#   scripts/soak.sh api          made-up requests to every route of the API's own document
#   scripts/soak.sh histories    SOAK_SEEDS (1000) regions of brokers break and are checked, from SOAK_SEED (1) on
. "$(dirname "$0")/lib.sh"

cd "$ROOT"

visits() {
    scripts/docker.sh start && scripts/images.sh docker || return
    (cd e2e && npm ci --no-audit --no-fund --loglevel=error && npm run --silent soak)
}

api() { SCHEMATHESIS_EXAMPLES=${SCHEMATHESIS_EXAMPLES:-1000} scripts/schemathesis.sh; }

histories() { scripts/history.sh "${SOAK_SEED:-1}" "${SOAK_SEEDS:-1000}"; }

scripts/install.sh build run test
scripts/build.sh
case ${1:-all} in
    visits) visits ;;
    histories) histories ;;
    api) api ;;
    all) api && histories && visits ;;
    *) die "no suite \`$1\`" "Take visits, histories or api." ;;
esac
