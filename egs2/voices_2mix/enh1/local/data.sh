#!/usr/bin/env bash
# Stage 1 of the recipe: pack the recordings, and make the fixed sets and their data directories.
# Run from the recipe folder; `local/data.sh --help` lists the options.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec "${here}/../../../../local/prepare.sh" "${here}/make_voices.py" "$@"
