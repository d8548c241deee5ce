#!/usr/bin/env bash
# Separation of LibriMix's mixtures of read English speech; the README tells what is needed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

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

Where the corpora are: db.sh. The data are data/{train-360,dev,test} for the defaults; anything but
2 speakers, mix_clean, 8k and min is in their names, e.g. data/test_mix_both_16k_max, and experiments
on other training data than train-360 go to a folder of their own, e.g. exp/train-100/enh_*.
The default configuration is fitted to --num_spk, --condition and --fs; one that --enh_config names is
used as it is. The interpreter is the repository's .venv if that is there.
The options of the stage driver follow.

USAGE
    ../../../local/enh.sh --help
}

die() {
    echo "run.sh: $*" >&2
    exit 1
}

cores=$(getconf _NPROCESSORS_ONLN)
declare -A own=(
    [train_set]=train-360 [num_spk]=2 [condition]=mix_clean [fs]=8k [min_or_max]=min
    [dynamic_mixing]=false [nj]=${cores} [enh_config]='' [enh_args]='' [local_data_opts]=''
)
options=()
while (($# > 0)); do
    word=$1
    shift
    if [[ ${word} == --help || ${word} == -h ]]; then
        usage
        exit 0
    fi
    name=${word%%=*}
    name=${name#--}
    if [[ ${word} != --[a-z]* || -z ${own[${name}]+set} ]]; then
        options+=("${word}")
    elif [[ ${word} == *=* ]]; then
        own[${name}]=${word#*=}
    else
        (($# > 0)) || die "${word} lacks its value"
        own[${name}]=$1
        shift
    fi
done

# check NAME VALUE...: refuse an option that has none of the values
check() {
    local name=$1 value
    for value in "${@:2}"; do
        [[ ${own[${name}]} != "${value}" ]] || return 0
    done
    die "--${name} ${own[${name}]}: must be one of ${*:2}"
}

own[fs]=${own[fs]/%000/k}
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

# The best published model on Libri2Mix.
config=${own[enh_config]:-../../../conf/train_sep1x2-re2x2.yaml}
fitted=()
tag=()
if [[ -z ${own[enh_config]} ]]; then
    ((ref_num == 2)) ||
        fitted+=(--num_spk "${ref_num}" --separator_conf "num_spk=${ref_num}")
    # at 16 kHz the same windows and segments in seconds
    [[ ${own[fs]} == 8k ]] ||
        fitted+=(--separator_conf sample_rate=16000 --speech_segment 64000
            --encoder_conf n_fft=256 --encoder_conf hop_length=128
            --decoder_conf n_fft=256 --decoder_conf hop_length=128)
    # The experiment is named after what --enh_args changes; expdir tells the rest.
    changed=${own[enh_args]//--/_}
    tag=(--enh_tag "$(basename "${config}" .yaml)_raw${changed//[ |=\/]/}")
fi

python=../../../.venv/bin/python
[[ -x ${python} ]] || python=python3
corpus=(--train_set "${own[train_set]}" --num_spk "${own[num_spk]}"
    --condition "${own[condition]}" --fs "${own[fs]}" --min_or_max "${own[min_or_max]}"
    --nj "${own[nj]}" "--suffix=${suffix}")
[[ ${own[dynamic_mixing]} == false ]] || corpus+=(--dynamic_mixing)

exec ../../../local/enh.sh \
    --python "${python}" --nj "${own[nj]}" --inference_nj "${cores}" \
    --local_data_opts "${corpus[*]} ${own[local_data_opts]}" --expdir "${expdir}" \
    --fs "${own[fs]}" --ref_num "${ref_num}" --dynamic_mixing "${own[dynamic_mixing]}" \
    --train_set "${train_set}" --valid_set "dev${suffix}" --test_sets "test${suffix}" \
    --enh_config "${config}" --enh_args "${fitted[*]} ${own[enh_args]}" --n_re "1 2 3 4" \
    "${tag[@]}" \
    "${options[@]}"
