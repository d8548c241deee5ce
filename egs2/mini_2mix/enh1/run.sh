#!/usr/bin/env bash
# Two-speaker separation of synthesised speech: makes its own corpus, so it runs everywhere.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source-path=SCRIPTDIR source=../../../local/recipe_options.sh
source ../../../local/recipe_options.sh

usage() {
    cat <<'USAGE'
Usage: ./run.sh [--size tiny|quick|default|full] [--seed N] [option of local/enh.sh] ...

  --size tiny      every stage in about two minutes: a test, whose model has learnt nothing
  --size quick     a demonstration in about ten minutes
  --size default   a model that separates unseen voices, in about an hour on two cores
  --size full      more voices of three engines, rooms and noise, four test sets; trains for hours
  --seed N         seed of the corpus (default: 0)

Each size and seed has separate folders in data, dump and exp. Results go to
exp/<size>_<seed>/enh_*/RESULTS.md.
USAGE
}

own+=([size]=default [seed]=0 [python]=${python})
read_options "$@"
python=${own[python]}
check size tiny quick default full
[[ ${own[seed]} =~ ^[0-9]+$ ]] || die "--seed ${own[seed]}: must be a whole number"
corpus=${own[size]}_${own[seed]}
data_opts="--size ${own[size]} --seed ${own[seed]} --suffix _${corpus}"
# the test sets depend on the installed engines; a folder with another corpus, such as that of an older
# version of the recipe, is an error
read -r -a words <<<"${data_opts} ${own[local_data_opts]}"
test_sets=$(PYTHON=${python} ./local/data.sh "${words[@]}" --list_test_sets)
case ${own[size]} in
    tiny) n_re="1 2 3" ;;
    quick) n_re="1 2 3 4" ;;
    default) n_re="1 2 3 4 6 8" ;;
    full) n_re="1 2 3 4 5 6 7 8" ;;
esac

run_stages "conf/train_${own[size]}.yaml" "${data_opts}" \
    --ngpu 0 --dumpdir "dump/${corpus}" --expdir "exp/${corpus}" --fs 8k --n_re "${n_re}" \
    --train_set "train_${corpus}" --valid_set "valid_${corpus}" --test_sets "${test_sets}"
