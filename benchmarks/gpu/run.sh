#!/usr/bin/env bash
# Everything that only a GPU can show, in at most ten minutes and without a network: benchmarks/gpu/run.sh [OUT] [--dry-run]
# --dry-run does every part on the CPU with the smallest pictures, to see that each line runs. No figure of it means anything.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=out/gpu
dry=()
for word in "$@"; do
  if [ "$word" = --dry-run ]; then dry=(--dry-run); else out=$word; fi
done
python=${PYTHON:-.venv/bin/python}
[ -x "$python" ] || python=python3
mkdir -p "$out"
exec "$python" benchmarks/gpu/kit.py --out "$out" "${dry[@]}"
