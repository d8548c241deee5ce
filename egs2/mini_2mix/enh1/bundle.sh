#!/usr/bin/env bash
# Make the package's model `mini` again: corpus, training, separation, scores, and the files in
# espnet2_tisdiss/models/mini. --help lists the options; PYTHON names another interpreter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

corpus=full_0
usage() {
    cat <<'USAGE'
Usage: ./bundle.sh [--nj N] [--inference_nj N] [--ngpu N] [--gpu_inference true]

Runs every stage of ./run.sh --size full, which takes hours, and puts the trained model into the
package: espnet2_tisdiss/models/mini and conf/finetune_mini.yaml. The commands flite and festival
must be installed. Finished work is skipped, so an interrupted run continues when the same
command is given again. The options are those of ./run.sh that change nothing of the model; of GPUs
it is none by default.
USAGE
}

die() {
    echo "bundle.sh: $*" >&2
    exit 1
}

options=()
while (($# > 0)); do
    case $1 in
        --help | -h)
            usage
            exit
            ;;
        --nj | --inference_nj | --ngpu | --gpu_inference)
            (($# > 1)) || die "$1 lacks its value"
            options+=("$1" "$2")
            shift 2
            ;;
        --nj=* | --inference_nj=* | --ngpu=* | --gpu_inference=*)
            options+=("$1")
            shift
            ;;
        --python | --python=*) die "$1: set the variable PYTHON instead" ;;
        *) die "$1: is none of its options (see --help): the model has one recipe; ./run.sh trains others" ;;
    esac
done
for engine in flite festival; do
    [[ -n $(command -v "${engine}") ]] || die "${engine}: is not installed; the model must be trained with its voices"
done

python=../../../.venv/bin/python
[[ -x ${python} ]] || python=python3
python=${PYTHON:-${python}}
./run.sh --size full --seed 0 --python "${python}" "${options[@]}"
export PYTHONPATH=../../..${PYTHONPATH:+:${PYTHONPATH}}
exec "${python}" -m espnet2_tisdiss.recipes.tools.bundle_model "exp/${corpus}/enh_train_full_raw" --name mini \
    --test_sets test_{voices,engines,noisy,reverb}_"${corpus}" \
    --about local/about.yaml
