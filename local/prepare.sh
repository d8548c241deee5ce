#!/usr/bin/env bash
# Run the program that prepares a recipe's data: prepare.sh PROGRAM OPTION...
# A recipe's local/data.sh calls this with the Python program beside it. The program finds the modules
# of this folder, and the corpora's locations of the recipe's db.sh in its environment.
set -euo pipefail

shared=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=$1
shift
python=${PYTHON:-python3}

if ! "${python}" -c 'import numpy, scipy, soundfile, soxr, tqdm' 2>/dev/null; then
    echo "local/data.sh: ${python} lacks numpy, scipy, soundfile, soxr or tqdm: install them, or name this project's interpreter: ./run.sh --python, or here PYTHON" >&2
    exit 1
fi

locations=${program%/*}/../db.sh
if [[ -f ${locations} ]]; then
    # shellcheck source=/dev/null
    source "${locations}"
fi
export PYTHONPATH="${shared}${PYTHONPATH:+:${PYTHONPATH}}"
# The work is split over processes (--nj), not over threads.
export OMP_NUM_THREADS=1

exec "${python}" "${program}" "$@"
