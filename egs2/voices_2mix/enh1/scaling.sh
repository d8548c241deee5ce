#!/usr/bin/env bash
# Train the package's model at several depths and evaluate each at all of them: the second section of
# docs/scaling.md. --help lists the options; PYTHON names another interpreter.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec "${here}/../../mini_2mix/enh1/scaling.sh" --recipe voices_2mix "$@"
