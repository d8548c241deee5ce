#!/usr/bin/env bash
# Stage 1 of the recipe: make WSJ0-2mix, unless it is there, and its data directories.
# Run from the recipe folder; `local/data.sh --help` lists the options.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
shared=$(cd "${here}/../../../../local" && pwd)
# shellcheck source-path=SCRIPTDIR source=../db.sh
. "${here}/../db.sh"
python=${PYTHON:-python3}

if ! "${python}" -c 'import numpy, scipy, soundfile, tqdm' 2>/dev/null; then
    echo "local/data.sh: ${python} lacks numpy, scipy, soundfile or tqdm: install them, or name this project's interpreter: ./run.sh --python, or here PYTHON" >&2
    exit 1
fi

export PYTHONPATH="${shared}${PYTHONPATH:+:${PYTHONPATH}}"
# The work is split over processes (--nj), not over threads.
export OMP_NUM_THREADS=1

exec "${python}" "${here}/wsj0_data.py" "$@"
