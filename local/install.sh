#!/usr/bin/env bash
# Make the environment .venv with the versions of requirements.txt and this package in it.
set -euo pipefail

usage() {
    cat <<'USAGE'
Usage: local/install.sh
Makes .venv at the top of the repository: the versions pinned in requirements.txt, and this
package, editable. Run it again after an interruption or a change to complete .venv.

Environment:
  PYTHON   interpreter to use (default: the first Python 3.12 or 3.13 found)
USAGE
}

fail() {
    echo "install: $*" >&2
    exit 1
}

is_supported() {
    "$1" -c 'import sys; sys.exit(not (3, 12) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

find_python() {
    local candidate
    if [ -n "${PYTHON:-}" ]; then
        is_supported "$PYTHON" || fail "PYTHON=$PYTHON is not a Python 3.12 or 3.13"
        echo "$PYTHON"
        return
    fi
    for candidate in python3.12 python3.13 python3 python \
        "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[23].*/bin/python; do
        if is_supported "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    fail "no Python 3.12 or 3.13 found: install python3.12 and python3.12-venv, or set PYTHON to one"
}

install() {
    .venv/bin/pip install --disable-pip-version-check --require-hashes "$@" ||
        fail "pip could not install requirements.txt: its message is above; then run the same again"
}

main() {
    case "${1:-}" in
        --help) usage && return ;;
        "") ;;
        *) fail "unknown argument '$1'; see --help" ;;
    esac
    cd "$(dirname "${BASH_SOURCE[0]}")/.."
    local python
    python=$(find_python)
    "$python" -c 'import venv, ensurepip' 2>/dev/null ||
        fail "$python has no venv module: install the package python3-venv of its version"
    if [ ! -x .venv/bin/pip ]; then
        rm -rf .venv
        "$python" -m venv .venv
    fi
    echo "install: into .venv with $(.venv/bin/python --version); about 7 GB, some minutes" >&2
    install --requirement requirements.txt
    .venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . ||
        fail "pip could not install this package: its message is above; then run the same again"
    # marks the environment as complete
    touch .venv/complete
}

main "$@"
