#!/usr/bin/env bash
# Measures this project on a GPU within a few minutes, and trains in the remaining time.
# See docs/performance.md.
set -euo pipefail

help() {
    cat <<'EOF'
Usage: benchmarks/gpu.sh OUT [--minutes 10] [--device cuda|cpu] [--corpus FILE] [--init WEIGHTS]
                             [--wheels DIR]

Checks outputs and gradients, times separations and training steps, and trains the package's model
for the minutes that are left. Each step writes OUT/<step>.json, .md and .log as it goes; how the
steps ended is in OUT/steps.md. Python 3.12, PyTorch and numpy have to be there.

--minutes N      for everything [10]
--device D       cuda, or cpu: the same steps at tiny sizes [cuda]
--corpus FILE    recordings to train on, packed by benchmarks/pack_corpus.py [noise]
--init WEIGHTS   weights to start the training from [none]
--wheels DIR     other packages, from benchmarks/gpu_wheels.sh [$TISDISS_WHEELS; none: installed]
PYTHON           environment variable: the interpreter [python3]
EOF
}

began=$(date +%s)
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-python3}
wheels=${TISDISS_WHEELS:-}
arguments=()
while [[ $# -gt 0 ]]; do
    case $1 in
        -h | --help)
            help
            exit 0
            ;;
        --wheels)
            [[ $# -ge 2 ]] || { echo "gpu.sh: --wheels needs a folder" >&2; exit 2; }
            wheels=$2
            shift 2
            ;;
        *)
            arguments+=("$1")
            shift
            ;;
    esac
done
paths=$root/benchmarks:$root
if [[ -n $wheels ]]; then
    compgen -G "$wheels/*.whl" > /dev/null || { echo "gpu.sh: $wheels: no wheels there" >&2; exit 1; }
    packages=$(mktemp -d)
    trap 'rm -rf "$packages"' EXIT
    # without pip a wheel is still a zip file
    "$python" -m pip install --quiet --no-index --no-deps --target "$packages" "$wheels"/*.whl ||
        for wheel in "$wheels"/*.whl; do "$python" -m zipfile -e "$wheel" "$packages"; done
    # only Python code of torchaudio is used; its libraries need the CUDA that they were built for
    rm -f "$packages"/torchaudio/lib/*.so
    paths=$packages:$paths
fi
export PYTHONPATH=$paths${PYTHONPATH:+:$PYTHONPATH}
"$python" -m gpu --began "$began" "${arguments[@]+"${arguments[@]}"}"
