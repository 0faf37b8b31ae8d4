#!/bin/sh
# Everything that needs an NVIDIA device, in one go: its tests, the exports' parity there, the speed of a training
# step, and that of every runtime at batch 1 to 4096 in float32, TF32, bfloat16 and float16.  Results go to benchmarks/results/, or to the
# folder named.  Exit 3 without a device.  With DATA_ROOT (where torchvision's MNIST lies) also the classic recipe's 20
# epochs and mnist32-best's, measured as they train: FOLDER/train-records and FOLDER/CURVES.svg.
#
#   [DATA_ROOT=DIR] benchmarks/gpu.sh [FOLDER]
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
[ -x .venv/bin/python ] && [ -z "${PYTHON:-}" ] && python=.venv/bin/python
out=${1:-benchmarks/results}

if ! "$python" -c 'import sys; from gan_export.runtimes.cuda import device_count; sys.exit(device_count() == 0)'; then
    echo "gpu.sh: no CUDA device here, so nothing was run" >&2
    exit 3
fi
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader || true
status=0
if [ -n "${DATA_ROOT:-}" ]; then
    runs=$(mktemp -d)
    trap 'rm -rf "$runs"' EXIT
    for of in mnist32-classic:469 mnist32-best:500; do
        recipe=${of%:*}
        "$python" -m gan_export.cli.train "$recipe" -o "$runs/$recipe" --device cuda --data-root "$DATA_ROOT" \
            --set output.metrics_every="${of#*:}" --set output.save_every=20 || status=1
        "$python" train/experiments/record.py "$runs/$recipe" --folder "$out/train-records" || status=1
    done
    "$python" train/experiments/curves.py "$runs/mnist32-classic" "$runs/mnist32-best" -o "$out/CURVES.svg" || status=1
fi
"$python" -m pytest -q -k "cuda" tests || status=1
"$python" benchmarks/train_step.py --device cuda --rounds 5 --folder "$out" || status=1
"$python" -m gan_export.cli.bench list --device cuda
"$python" -m gan_export.cli.bench --suite gpu --save-dir "$out" || status=1
"$python" -m gan_export.cli.bench report "$out"
exit $status
