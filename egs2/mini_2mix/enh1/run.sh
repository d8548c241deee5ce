#!/usr/bin/env bash
# Two-speaker separation of synthesised speech: makes its own corpus, so it runs everywhere.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

usage() {
    cat <<'USAGE'
Usage: ./run.sh [--size tiny|quick|default] [--seed N] [option of local/enh.sh] ...

  --size tiny      every stage in about two minutes: a test, its model has learnt nothing
  --size quick     a demonstration in about ten minutes
  --size default   a model that separates unseen voices, in about an hour on two cores
  --seed N         of the corpus (default: 0)

Sizes and seeds do not mix: data, dump and exp hold a folder for each. Results go to
exp/<size>_<seed>/enh_*/RESULTS.md. The interpreter is the repository's .venv if that is there.
The options of the stage driver follow.

USAGE
    ../../../local/enh.sh --help
}

size=default
seed=0
options=()
while (($# > 0)); do
    case $1 in
        --help | -h)
            usage
            exit 0
            ;;
        --size=* | --seed=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;;
        --size | --seed)
            (($# > 1)) || { echo "run.sh: $1 lacks its value" >&2 && exit 1; }
            printf -v "${1#--}" '%s' "$2"
            shift 2
            ;;
        *)
            options+=("$1")
            shift
            ;;
    esac
done

case ${size} in
    tiny) n_re="1 2 3" ;;
    quick) n_re="1 2 3 4" ;;
    default) n_re="1 2 3 4 6 8" ;;
    *) echo "run.sh: --size ${size}: must be tiny, quick or default" >&2 && exit 1 ;;
esac
[[ ${seed} =~ ^[0-9]+$ ]] || { echo "run.sh: --seed ${seed}: must be a whole number" >&2 && exit 1; }
python=../../../.venv/bin/python
[[ -x ${python} ]] || python=python3
cores=$(getconf _NPROCESSORS_ONLN)
corpus=${size}_${seed}

exec ../../../local/enh.sh \
    --python "${python}" --ngpu 0 --nj "${cores}" --inference_nj "${cores}" \
    --local_data_opts "--size ${size} --seed ${seed} --nj ${cores} --suffix _${corpus}" \
    --dumpdir "dump/${corpus}" --expdir "exp/${corpus}" \
    --fs 8k --train_set "train_${corpus}" --valid_set "valid_${corpus}" --test_sets "test_${corpus}" \
    --enh_config "conf/train_${size}.yaml" --n_re "${n_re}" \
    "${options[@]}"
