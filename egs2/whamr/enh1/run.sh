#!/usr/bin/env bash
# WHAMR!: separate noisy, reverberant mixtures into clean, dry speakers, from the corpus to results
# next to the published ones.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source-path=SCRIPTDIR source=../../../local/recipe_options.sh
source ../../../local/recipe_options.sh

usage() {
    cat <<'USAGE'
Usage: ./run.sh [--mixture NAME] [--reference anechoic|reverb] [option of local/enh.sh] ...

  --mixture NAME       input: mix_both_reverb, mix_both_anechoic (no reverberation),
                       mix_clean_reverb (no noise) or mix_clean_anechoic [mix_both_reverb]
  --reference WHICH    targets: anechoic, or reverb: separate and denoise only [anechoic]
  --fs 8k|16k          sample rate; 16k needs an existing tree [8k]
  --min_or_max WHICH   version of the corpus, min or max; max needs an existing tree [min]
  --local_data_opts "--allow_subset --corpus DIR ..."  options of local/data.sh; see its --help

Set the corpus's folder in db.sh or the environment (WHAMR, or WSJ0, WHAM_NOISE and WHAMR_SCRIPTS).
The default configuration is adapted to --fs; one that --enh_config names is used unchanged, unless
--fit_args adapts it. Experiments other than mix_both_reverb, anechoic, min, 8k are in exp/<which>.
USAGE
}

own+=([mixture]=mix_both_reverb [reference]=anechoic [fs]=8k [min_or_max]=min)
read_options "$@"
check mixture mix_both_reverb mix_both_anechoic mix_clean_reverb mix_clean_anechoic
check reference anechoic reverb
check fs 8k 16k
check min_or_max min max

which=${own[mixture]}_${own[min_or_max]}_${own[fs]}
[[ ${own[reference]} == anechoic ]] || which+=_to_${own[reference]}
expdir=exp
[[ ${which} == mix_both_reverb_min_8k ]] || expdir=exp/${which}
corpus=
for name in mixture reference fs min_or_max; do
    corpus+=" --${name} ${own[${name}]}"
done
fit_configuration 2

# Files have two channels; training uses the left one. sep1x2-re2x2 is the best published model for
# this corpus: trained at N_re 2, best at 3.
run_stages ../../../conf/train_sep1x2-re2x2.yaml "${corpus# }" --expdir "${expdir}" \
    --fs "${own[fs]}" --ref_channel 0 --fit_args "${fit_args}" --n_re "1 2 3 4" \
    --train_set "tr_${which}" --valid_set "cv_${which}" --test_sets "tt_${which}"
