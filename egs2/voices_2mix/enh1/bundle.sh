#!/usr/bin/env bash
# Make the package's model `voices` again: data, training, separation, scores, and the files in
# espnet2_tisdiss/models/voices. --help lists the options; PYTHON names another interpreter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

corpus=default_0

usage() {
    cat <<'USAGE'
Usage: ./bundle.sh [--exp DIR] [option of ./run.sh] ...

Runs every stage of ./run.sh, which takes a day on two cores, and puts the trained model into the
package: espnet2_tisdiss/models/voices and conf/finetune_voices.yaml. Finished work is skipped, so
an interrupted run continues when the same command is given again. Name the recordings as for run.sh:
--voices DIR or --public DIR, and --noise DIR.

  --exp DIR    put the model of this experiment into the package, which run.sh has scored already
USAGE
}

die() {
    echo "bundle.sh: $*" >&2
    exit 1
}

python=../../../.venv/bin/python
[[ -x ${python} ]] || python=python3
python=${PYTHON:-${python}}
exp=
options=()
while (($# > 0)); do
    case $1 in
        --help | -h)
            usage
            exit
            ;;
        --exp)
            (($# > 1)) || die "$1 lacks its value"
            exp=$2
            shift 2
            ;;
        --size | --size=* | --seed | --seed=*) die "$1: the package's model has one size and seed" ;;
        *)
            options+=("$1")
            shift
            ;;
    esac
done
export PYTHONPATH=../../..${PYTHONPATH:+:${PYTHONPATH}}
if [[ -z ${exp} ]]; then
    start=exp/${corpus}/start.pth
    [[ -e ${start} ]] || "${python}" -m espnet2_tisdiss.recipes.tools.grow_model mini \
        conf/train_default.yaml "${start}"
    ./run.sh --size default --seed 0 --python "${python}" --init_param "${PWD}/${start}" "${options[@]}"
    exp=exp/${corpus}/enh_train_default_raw
fi
exec "${python}" -m espnet2_tisdiss.recipes.tools.bundle_model "${exp}" --name voices \
    --test_sets test_{clean,noisy,rooms,partial}_"${corpus}" --about local/about.yaml
