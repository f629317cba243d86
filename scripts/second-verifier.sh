#!/usr/bin/env bash
# The second verifier (docs/verify/verify.py) over every vector, rounds of quicknet among them: with a pairing and signatures
# that are not the first one's.
. "$(dirname "$0")/lib.sh"

CRYPTOGRAPHY=50.0.2
PY_ECC=8.0.0
VENV=$CACHE/second-verifier-$CRYPTOGRAPHY-$PY_ECC
if [ ! -x "$VENV/bin/python" ] || ! "$VENV/bin/python" -c 'import cryptography, py_ecc' 2>/dev/null; then
    say "installing cryptography $CRYPTOGRAPHY and py_ecc $PY_ECC below $VENV"
    python3 -m venv "$VENV" || die "cannot make a Python environment" "Install it: apt-get install python3-venv"
    "$VENV/bin/pip" install --quiet "cryptography==$CRYPTOGRAPHY" "py_ecc==$PY_ECC" || die "cannot install cryptography $CRYPTOGRAPHY and py_ecc $PY_ECC"
fi
"$VENV/bin/python" "$ROOT/docs/verify/verify.py" vectors "$ROOT"/core/proof/vectors/{golden,public,quicknet,sample}.json
