#!/usr/bin/env bash
# Stage 1 of the recipe: make the mixtures of ../enh1 in full length, with transcripts.
# Run from the recipe folder; `local/data.sh --help` lists the options.
set -euo pipefail

recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
exec "${recipe}/../../../local/prepare.sh" "${recipe}" mini_2mix --mode max "$@"
