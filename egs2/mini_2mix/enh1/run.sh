#!/usr/bin/env bash
# Two-speaker separation of synthesised speech: makes its own corpus, so it runs everywhere.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source-path=SCRIPTDIR source=../../../local/recipe_options.sh
source ../../../local/recipe_options.sh

usage() {
    cat <<'USAGE'
Usage: ./run.sh [--size tiny|quick|default] [--seed N] [option of local/enh.sh] ...

  --size tiny      every stage in about two minutes: a test, its model has learnt nothing
  --size quick     a demonstration in about ten minutes
  --size default   a model that separates unseen voices, in about an hour on two cores
  --seed N         of the corpus (default: 0)

Sizes and seeds do not mix: data, dump and exp hold a folder for each. Results go to
exp/<size>_<seed>/enh_*/RESULTS.md.
USAGE
}

own+=([size]=default [seed]=0)
read_options "$@"
check size tiny quick default
[[ ${own[seed]} =~ ^[0-9]+$ ]] || die "--seed ${own[seed]}: must be a whole number"
case ${own[size]} in
    tiny) n_re="1 2 3" ;;
    quick) n_re="1 2 3 4" ;;
    default) n_re="1 2 3 4 6 8" ;;
esac
corpus=${own[size]}_${own[seed]}

run_stages "conf/train_${own[size]}.yaml" \
    "--size ${own[size]} --seed ${own[seed]} --suffix _${corpus}" \
    --ngpu 0 --dumpdir "dump/${corpus}" --expdir "exp/${corpus}" --fs 8k --n_re "${n_re}" \
    --train_set "train_${corpus}" --valid_set "valid_${corpus}" --test_sets "test_${corpus}"
