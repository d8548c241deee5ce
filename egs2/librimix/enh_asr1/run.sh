#!/usr/bin/env bash
# Recognition of Libri2Mix's mixtures of read English speech; the README lists the requirements.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source-path=SCRIPTDIR source=../../../local/recipe_options.sh
source ../../../local/recipe_options.sh
# shellcheck source-path=SCRIPTDIR source=../../../local/recognition_options.sh
source ../../../local/recognition_options.sh

usage() {
    cat <<'USAGE'
Usage: ./run.sh [--train_set train-360|train-100] [option] ...

  --train_set train-360|train-100   speech to train on (default: train-360)

../enh1/db.sh names the folders of the corpora; LibriSpeech is needed for its transcripts. The mixtures
are those of two speakers at 8 kHz, as long as the longer utterance (max). The separator is that of
../enh1, which is run first unless it is trained, or the one that --separation names. The options of the
stages follow.

USAGE
}

own+=([train_set]=train-360 [separation]='' [python]=${python})
read_options "$@"
python=${own[python]}
check train_set train-360 train-100
suffix=_mix_clean_8k_max
exp=exp/${own[train_set]}
separation=${own[separation]}
conf=../../../conf/recognition
if [[ -z ${separation} ]]; then
    separation=../enh1/exp/enh_train_sep1x2-re2x2_raw
    [[ ${own[train_set]} == train-360 ]] ||
        separation=../enh1/exp/${own[train_set]}/enh_train_sep1x2-re2x2_raw
    separate_first "${separation}" --train_set "${own[train_set]}" \
        --local_data_opts "${own[local_data_opts]}"
fi
run_recognition "--train_set ${own[train_set]} --min_or_max max --suffix=${suffix} --transcripts" \
    --ngpu 1 --gpu_inference true \
    --separation "${separation}" --expdir "${exp}" \
    --train_set "${own[train_set]}${suffix}" --valid_set "dev${suffix}" --test_sets "test${suffix}" \
    --train_singles "${own[train_set]}_singles${suffix}" --valid_singles "dev_singles${suffix}" \
    --nbpe 1000 --n_re "1 2 3 4" --asr_config "${conf}/train_asr.yaml" \
    --enh_asr_config "${conf}/train_enh_asr.yaml" --inference_config "${conf}/decode.yaml"
