#!/usr/bin/env bash
# A Python that has OpenAI's official client and llama.cpp's writer of models, for the tests of jobs that speak
# OpenAI's API. Prints its path.
. "$(dirname "$0")/lib.sh"

OPENAI=3.57.0
GGUF=0.19.0
VENV=$CACHE/openai-$OPENAI-gguf-$GGUF
if [ ! -x "$VENV/bin/python" ] || ! "$VENV/bin/python" -c 'import gguf, openai' 2>/dev/null; then
    say "installing openai $OPENAI and gguf $GGUF below $VENV"
    python3 -m venv "$VENV" || die "cannot make a Python environment" "Install it: apt-get install python3-venv"
    "$VENV/bin/pip" install --quiet "openai==$OPENAI" "gguf==$GGUF" || die "cannot install openai $OPENAI and gguf $GGUF"
fi
echo "$VENV/bin/python"
