#!/usr/bin/env bash
# WHAMR!: noisy, reverberant mixtures into clean, dry speakers, from the corpus to results beside the
# paper's.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

usage() {
    cat <<'USAGE'
Usage: ./run.sh [--mixture NAME] [--reference anechoic|reverb] [option of local/enh.sh] ...

  --mixture NAME       input: mix_both_reverb, mix_both_anechoic (no reverberation),
                       mix_clean_reverb (no noise) or mix_clean_anechoic [mix_both_reverb]
  --reference WHICH    targets: anechoic, or reverb: separate and denoise only [anechoic]
  --fs 8k|16k          sample rate; 16k needs an existing tree [8k]
  --min_or_max WHICH   version of the corpus, min or max; max needs an existing tree [min]
  --local_data_opts "--allow_subset --corpus DIR ..."  options of local/data.sh, which see

Set the corpus's folder in db.sh or the environment (WHAMR, or WSJ0, WHAM_NOISE and WHAMR_SCRIPTS).
The interpreter is the repository's .venv if that is there. Experiments on anything but
mix_both_reverb, anechoic, min, 8k are in a folder of their own, exp/<which>. The options of the stage
driver follow.

USAGE
    ../../../local/enh.sh --help
}

declare -A own=([mixture]=mix_both_reverb [reference]=anechoic [fs]=8k [min_or_max]=min [nj]=4
    [local_data_opts]='' [enh_args]='')
options=()
while (($# > 0)); do
    name=${1#--}
    name=${name%%=*}
    if [[ $1 == --help || $1 == -h ]]; then
        usage
        exit 0
    elif [[ $1 != --?* || -z ${own[${name}]+set} ]]; then
        options+=("$1")
        shift
    elif [[ $1 == *=* ]]; then
        own[${name}]=${1#*=}
        shift
    else
        (($# > 1)) || { echo "run.sh: $1 lacks its value" >&2 && exit 1; }
        own[${name}]=$2
        shift 2
    fi
done

# check NAME ALLOWED: refuse a value that the pattern does not allow
check() {
    [[ ${own[$1]} =~ ^($2)$ ]] ||
        { echo "run.sh: --$1 ${own[$1]}: must be ${2//|/ or }" >&2 && exit 1; }
}
check mixture 'mix_both_reverb|mix_both_anechoic|mix_clean_reverb|mix_clean_anechoic'
check reference 'anechoic|reverb'
check fs '8k|16k'
check min_or_max 'min|max'

which=${own[mixture]}_${own[min_or_max]}_${own[fs]}
[[ ${own[reference]} == anechoic ]] || which+=_to_${own[reference]}
expdir=exp
[[ ${which} == mix_both_reverb_min_8k ]] || expdir=exp/${which}
data_opts="--nj ${own[nj]}"
for name in mixture reference fs min_or_max; do
    data_opts+=" --${name} ${own[${name}]}"
done
enh_args=
if [[ ${own[fs]} == 16k ]]; then # the same bandwidth and times: windows and segments twice as long
    enh_args+=" --separator_conf sample_rate=16000 --speech_segment 64000"
    for part in encoder decoder; do
        enh_args+=" --${part}_conf n_fft=256 --${part}_conf hop_length=128"
    done
fi
python=../../../.venv/bin/python
[[ -x ${python} ]] || python=python3

# Files have two channels, and the left one is trained on. sep1x2-re2x2 is the best published model
# here: trained at N_re 2, best at 3.
exec ../../../local/enh.sh \
    --python "${python}" --nj "${own[nj]}" --fs "${own[fs]}" --ref_channel 0 \
    --local_data_opts "${data_opts} ${own[local_data_opts]}" --expdir "${expdir}" \
    --train_set "tr_${which}" --valid_set "cv_${which}" --test_sets "tt_${which}" \
    --enh_args "${enh_args# } ${own[enh_args]}" \
    --enh_config ../../../conf/train_sep1x2-re2x2.yaml --n_re "1 2 3 4" \
    "${options[@]}"
