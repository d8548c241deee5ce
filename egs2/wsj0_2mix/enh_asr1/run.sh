#!/usr/bin/env bash
# Recognition of WSJ0-2mix; the README lists the requirements.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source-path=SCRIPTDIR source=../../../local/recipe_options.sh
source ../../../local/recipe_options.sh
# shellcheck source-path=SCRIPTDIR source=../../../local/recognition_options.sh
source ../../../local/recognition_options.sh

usage() {
    cat <<'USAGE'
Usage: ./run.sh [option] ...

../enh1/db.sh names the folders of the corpora; WSJ0 is needed for its transcripts. The mixtures are those
of two speakers at 8 kHz, as long as the longer utterance (max). The separator is that of ../enh1, which
is run first unless it is trained, or the one that --separation names. The options of the stages follow.

USAGE
}

own+=([separation]='' [python]=${python})
read_options "$@"
python=${own[python]}
which=max_8k
separation=${own[separation]}
conf=../../../conf/recognition
if [[ -z ${separation} ]]; then
    separation=../enh1/exp/enh_train_sep1x2-re1x6_raw
    separate_first "${separation}" --local_data_opts "${own[local_data_opts]}"
fi
run_recognition "--min_or_max max --transcripts" \
    --ngpu 1 --gpu_inference true \
    --separation "${separation}" --expdir exp \
    --train_set "tr_${which}" --valid_set "cv_${which}" --test_sets "tt_${which}" \
    --train_singles "tr_singles_${which}" --valid_singles "cv_singles_${which}" \
    --nbpe 500 --n_re "1 2 3 6 8" --asr_config "${conf}/train_asr.yaml" \
    --enh_asr_config "${conf}/train_enh_asr.yaml" --inference_config "${conf}/decode.yaml"
