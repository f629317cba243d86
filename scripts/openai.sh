#!/usr/bin/env bash
# A Python that has OpenAI's official client, for the test of a job that speaks its API. Prints its path.
. "$(dirname "$0")/lib.sh"

VERSION=3.57.0
VENV=$CACHE/openai-$VERSION
if [ ! -x "$VENV/bin/python" ] || ! "$VENV/bin/python" -c 'import openai' 2>/dev/null; then
    say "installing openai $VERSION below $VENV"
    python3 -m venv "$VENV" || die "cannot make a Python environment" "Install it: apt-get install python3-venv"
    "$VENV/bin/pip" install --quiet "openai==$VERSION" || die "cannot install openai $VERSION"
fi
echo "$VENV/bin/python"
