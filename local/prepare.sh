#!/usr/bin/env bash
# Prepare a corpus: prepare.sh RECIPE_FOLDER CORPUS OPTION...
# A recipe's local/data.sh calls this with its recipe's folder, whose db.sh names the folders of
# the corpora, and the name of the corpus's package in espnet2_tisdiss/recipes.
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
recipe=$1
corpus=$2
shift 2
python=${PYTHON:-python3}

if ! "${python}" -c 'import numpy, scipy, soundfile, soxr, tqdm, wrapt' 2>/dev/null; then
    echo "local/data.sh: ${python} lacks numpy, scipy, soundfile, soxr, tqdm or wrapt: install them, or name this project's interpreter: ./run.sh --python, or here PYTHON" >&2
    exit 1
fi

if [[ -f ${recipe}/db.sh ]]; then
    # shellcheck source=/dev/null
    source "${recipe}/db.sh"
fi
export PYTHONPATH="${repository}${PYTHONPATH:+:${PYTHONPATH}}"
# processes (--nj) share the work, not threads
export OMP_NUM_THREADS=1

exec "${python}" -m "espnet2_tisdiss.recipes.${corpus}.prepare" "$@"
