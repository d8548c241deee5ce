#!/usr/bin/env bash
# Train the same small model at several depths and evaluate each at all of them: the tables and the
# picture of docs/scaling.md. --help lists the options; PYTHON names another interpreter.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "${here}/../../.." && pwd)
python=${root}/.venv/bin/python
[[ -x ${python} ]] || python=python3
export PYTHONPATH=${root}${PYTHONPATH:+:${PYTHONPATH}}
exec "${PYTHON:-${python}}" "${root}/benchmarks/scaling.py" "$@"
