#!/usr/bin/env bash
# Fetches the packages that benchmarks/gpu.sh needs in addition to PyTorch and numpy: about 9 MB.
set -euo pipefail

if [[ ${1:-} == -h || ${1:-} == --help || $# -ne 1 ]]; then
    echo "Usage: benchmarks/gpu_wheels.sh DIR"
    echo "Fetches the wheels for benchmarks/gpu.sh --wheels DIR, for Linux on x86-64."
    [[ ${1:-} == -h || ${1:-} == --help ]] && exit 0
    exit 2
fi
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
packages=(cffi espnet packaging psutil pyyaml soundfile soxr torch-complex torchaudio tqdm typeguard
    wrapt)
pins=()
for package in "${packages[@]}"; do
    pins+=("$(grep -io "^$package==[^ ;]*" "$root/requirements.txt")")
done
platforms=()
for tag in manylinux_2_28 manylinux_2_27 manylinux_2_17 manylinux2014 manylinux1; do
    platforms+=(--platform "${tag}_x86_64")
done
"${PYTHON:-python3}" -m pip download --quiet --no-deps --only-binary :all: --python-version 3.12 \
    --implementation cp "${platforms[@]}" --dest "$1" "${pins[@]}"
