#!/usr/bin/env bash
# Stage 1 of the recipe: make the mixtures, unless they exist, and their data directories with
# transcripts. The corpora are those of ../enh1/db.sh.
# Run from the recipe folder; `local/data.sh --help` lists the options.
set -euo pipefail

recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
exec "${recipe}/../../../local/prepare.sh" "${recipe}/../enh1" librimix --output ../enh1/downloads "$@"
