#!/usr/bin/env bash
# Separation of LibriMix's mixtures of read English speech; the README lists the requirements.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source-path=SCRIPTDIR source=../../../local/recipe_options.sh
source ../../../local/recipe_options.sh

usage() {
    cat <<'USAGE'
Usage: ./run.sh [option] ... [option of local/enh.sh] ...

  --train_set train-360|train-100              speech to train on (default: train-360)
  --num_spk 2|3                                Libri2Mix or Libri3Mix (default: 2)
  --condition mix_clean|mix_both|mix_single    speakers; speakers and noise; the first speaker
                                               and noise (default: mix_clean)
  --fs 8k|16k                                  sample rate (default: 8k)
  --min_or_max min|max                         as long as the shortest or the longest utterance
                                               (default: min)
  --dynamic_mixing true|false                  train on new mixtures of the training set's sources
                                               in every epoch; mix_clean only (default: false)

db.sh names the folders of the corpora. The data are data/{train-360,dev,test} by default; anything but
2 speakers, mix_clean, 8k and min is in their names, e.g. data/test_mix_both_16k_max, and experiments
with other training data than train-360 have a separate folder, e.g. exp/train-100/enh_*.
The default configuration is adapted to --num_spk, --condition and --fs; one that --enh_config names is
not changed, except by --fit_args.
USAGE
}

own+=([train_set]=train-360 [num_spk]=2 [condition]=mix_clean [fs]=8k [min_or_max]=min
    [dynamic_mixing]=false)
read_options "$@"
check train_set train-360 train-100
check num_spk 2 3
check condition mix_clean mix_both mix_single
check fs 8k 16k
check min_or_max min max
check dynamic_mixing true false

suffix=
case ${own[num_spk]}_${own[condition]}_${own[fs]}_${own[min_or_max]} in
    2_mix_clean_8k_min) ;;
    2_*) suffix=_${own[condition]}_${own[fs]}_${own[min_or_max]} ;;
    *) suffix=_${own[num_spk]}spk_${own[condition]}_${own[fs]}_${own[min_or_max]} ;;
esac
train_set=${own[train_set]}${suffix}
[[ ${own[dynamic_mixing]} == false ]] || train_set=${own[train_set]}_single${suffix}
expdir=exp
[[ ${train_set} == train-360 ]] || expdir=exp/${train_set}
ref_num=${own[num_spk]}
[[ ${own[condition]} != mix_single ]] || ref_num=1

corpus="--suffix=${suffix}"
for name in train_set num_spk condition fs min_or_max; do
    corpus+=" --${name} ${own[${name}]}"
done
[[ ${own[dynamic_mixing]} == false ]] || corpus+=" --dynamic_mixing"
fit_configuration "${ref_num}"

# The best published model on Libri2Mix.
run_stages ../../../conf/train_sep1x2-re2x2.yaml "${corpus}" --expdir "${expdir}" \
    --fs "${own[fs]}" --ref_num "${ref_num}" --dynamic_mixing "${own[dynamic_mixing]}" \
    --train_set "${train_set}" --valid_set "dev${suffix}" --test_sets "test${suffix}" \
    --fit_args "${fit_args}" --n_re "1 2 3 4"
