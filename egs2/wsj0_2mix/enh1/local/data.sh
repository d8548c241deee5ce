#!/usr/bin/env bash
# Stage 1 of the recipe: make WSJ0-2mix, unless it exists, and its data directories.
# Run from the recipe folder; `local/data.sh --help` lists the options.
set -euo pipefail

recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
exec "${recipe}/../../../local/prepare.sh" "${recipe}" wsj0_2mix "$@"
