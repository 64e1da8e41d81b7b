#!/bin/sh
# All that is to be measured on a GPU, in one command, in under 25 minutes and without a network.
#
#   benchmarks/gpu.sh --name h200                        on a machine with a GPU
#   benchmarks/gpu.sh --wheels DIR --name h200           the same, packages brought along in DIR
#   benchmarks/gpu.sh --check                            only say which wheels to bring
#   benchmarks/gpu.sh --provider cpu --quick             everything once, small, on any machine
#
# Python must have torch and torchvision for the GPU; set PYTHON if it is not python3. The packages
# of --wheels go to a folder of their own, which is removed at the end. --help says the rest.
# Results: benchmarks/results/gpu-NAME.json, written anew after every part.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
if [ "${1:-}" = "--wheels" ]; then
    site=$(mktemp -d)
    trap 'rm -rf "$site"' EXIT
    "$python" -m pip install --quiet --no-index --no-deps --no-compile --target "$site" "$2"/*.whl
    PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
    export PYTHONPATH
    shift 2
fi
"$python" -m benchmarks.gpu "$@"
