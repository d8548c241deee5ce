#!/usr/bin/env bash
# WSJ0-2mix (and -3mix): separation, from the corpus to results next to the published ones.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source-path=SCRIPTDIR source=../../../local/recipe_options.sh
source ../../../local/recipe_options.sh

usage() {
    cat <<'USAGE'
Usage: ./run.sh [--num_spk 2|3] [--fs 8k|16k] [--min_or_max min|max] [option of local/enh.sh] ...

  --num_spk N            speakers in a mixture [2]
  --fs 8k|16k            sample rate [8k]
  --min_or_max WHICH     cut mixtures to the shortest speaker, or pad to the longest [min]
  --dynamic_mixing true  train on new mixtures of single utterances in every epoch [false]
  --local_data_opts "--allow_subset --corpus DIR ..."  options of local/data.sh; see its --help

Set the corpus's folder in db.sh or the environment (WSJ0_2MIX, or WSJ0). The default configuration
is adapted to --num_spk and --fs; one that --enh_config names is not changed, except by --fit_args.
Experiments on anything but two speakers, min, 8k are in exp/<which>.
USAGE
}

own+=([num_spk]=2 [fs]=8k [min_or_max]=min [dynamic_mixing]=false)
read_options "$@"
check num_spk 2 3
check fs 8k 16k
check min_or_max min max
check dynamic_mixing true false

which=${own[min_or_max]}_${own[fs]}
[[ ${own[num_spk]} == 2 ]] || which=3spk_${which}
corpus="--fs ${own[fs]} --min_or_max ${own[min_or_max]} --num_spk ${own[num_spk]}"
train=tr_${which}
if [[ ${own[dynamic_mixing]} == true ]]; then
    train=tr_single_${which}
    corpus+=" --dynamic_mixing"
fi
expdir=exp
[[ ${which} == min_8k ]] || expdir=exp/${which}
fit_configuration "${own[num_spk]}"

run_stages ../../../conf/train_sep1x2-re1x6.yaml "${corpus}" --expdir "${expdir}" \
    --fs "${own[fs]}" --ref_num "${own[num_spk]}" --dynamic_mixing "${own[dynamic_mixing]}" \
    --train_set "${train}" --valid_set "cv_${which}" --test_sets "tt_${which}" \
    --fit_args "${fit_args}" --n_re "1 2 3 4 5 6 7 8 9 10"
