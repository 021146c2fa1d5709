#!/usr/bin/env bash
# GPU tests and benchmarks on a machine that has a GPU, PyTorch and nvcc, but perhaps no network:
#
#     benchmarks/gpu.sh WHEELS KEEP [STEP ...]
#
# WHEELS: a folder with wheels of what is missing there (gsplat first of all; `pip download -d WHEELS gsplat==1.5.3 ...`).
# KEEP: a folder that lasts from one run to the next: it holds the built extension and results.json.
# STEPs, each under ten minutes, all in turn unless named: install build test bench. What is done is not done again,
# until its line in KEEP/results.json is removed.
set -euo pipefail
wheels=$(realpath "$1") keep=$(mkdir -p "$2" && realpath "$2")
shift 2
cd "$(dirname "$0")/.."
export PYTHONPATH="$keep/site:$PWD" PYTHONUNBUFFERED=1
[ $# -gt 0 ] || set -- install build test bench
for step in "$@"; do
    echo "== $step"
    if [ "$step" != install ]; then
        python3 benchmarks/gpu.py "$step" --keep "$keep"
    elif [ ! -d "$keep/site" ]; then
        python3 -m pip install -q --no-index --no-deps --no-compile --target "$keep/site" "$wheels"/*.whl
    fi
done
