#!/usr/bin/env bash
# Stage 1 of the recipe: make WHAMR!, unless it is there, and its data directories.
# Run from the recipe folder; `local/data.sh --help` lists the options.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
shared=$(cd "${here}/../../../../local" && pwd)
# shellcheck source-path=SCRIPTDIR source=../db.sh
. "${here}/../db.sh"

export PYTHONPATH="${shared}${PYTHONPATH:+:${PYTHONPATH}}"
# The work is split over processes (--nj), not over threads.
export OMP_NUM_THREADS=1

exec "${PYTHON:-python3}" "${here}/whamr_data.py" "$@"
