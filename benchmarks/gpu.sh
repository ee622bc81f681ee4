#!/usr/bin/env bash
# One GPU, under 8 minutes: every fast path held against the plain one (fp32, bf16), then tracking, training steps, the
# fused grid and a BERT-base-sized cell timed, with random weights. No network is needed. Without a GPU the exactness half
# runs on the CPU and says so. Tables: runs/bench/gpu.md and gpu.json. Options go through, e.g. --model FOLDER --out DIR.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec "${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}" -m benchmarks.exactness "$@"
