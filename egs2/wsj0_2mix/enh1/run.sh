#!/usr/bin/env bash
# WSJ0-2mix (and -3mix): two-speaker separation, from the corpus to results beside the paper's.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

usage() {
    cat <<'USAGE'
Usage: ./run.sh [--num_spk 2|3] [--fs 8k|16k] [--min_or_max min|max] [option of local/enh.sh] ...

  --num_spk N           speakers in a mixture [2]
  --fs 8k|16k           sample rate [8k]
  --min_or_max WHICH    cut mixtures to the shortest speaker, or pad to the longest [min]
  --dynamic_mixing true train on new mixtures of single utterances in every epoch [false]
  --local_data_opts "--allow_subset --corpus DIR ..."  options of local/data.sh, which see

Set the corpus's folder in db.sh or the environment (WSJ0_2MIX, or WSJ0). The interpreter is the
repository's .venv if that is there. Experiments that are not of two speakers, min, 8k are in a
folder of their own, exp/<which>. The options of the stage driver follow.

USAGE
    ../../../local/enh.sh --help
}

declare -A own=([num_spk]=2 [fs]=8k [min_or_max]=min [dynamic_mixing]=false [nj]=4
    [local_data_opts]='' [enh_args]='')
options=()
while (($# > 0)); do
    name=${1#--}
    name=${name%%=*}
    if [[ $1 == --help || $1 == -h ]]; then
        usage
        exit 0
    elif [[ $1 != --* || -z ${own[${name}]+set} ]]; then
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
    [[ ${own[$1]} =~ ^($2)$ ]] || { echo "run.sh: --$1 ${own[$1]}: must be ${2//|/ or }" >&2 && exit 1; }
}
check num_spk '2|3'
check fs '8k|16k'
check min_or_max 'min|max'
check dynamic_mixing 'true|false'

which=${own[min_or_max]}_${own[fs]}
data_opts="--fs ${own[fs]} --min_or_max ${own[min_or_max]} --num_spk ${own[num_spk]} --nj ${own[nj]}"
enh_args=
if [[ ${own[num_spk]} == 3 ]]; then
    which=3spk_${which}
    enh_args+=" --num_spk 3 --separator_conf num_spk=3"
fi
if [[ ${own[fs]} == 16k ]]; then # the same bandwidth and times: windows and segments twice as long
    enh_args+=" --separator_conf sample_rate=16000 --speech_segment 64000"
    for part in encoder decoder; do
        enh_args+=" --${part}_conf n_fft=256 --${part}_conf hop_length=128"
    done
fi
train=tr_${which}
if [[ ${own[dynamic_mixing]} == true ]]; then
    train=tr_single_${which}
    data_opts+=" --dynamic_mixing"
fi
expdir=exp
[[ ${which} == min_8k ]] || expdir=exp/${which}
python=../../../.venv/bin/python
[[ -x ${python} ]] || python=python3

exec ../../../local/enh.sh \
    --python "${python}" --nj "${own[nj]}" --fs "${own[fs]}" --ref_num "${own[num_spk]}" \
    --local_data_opts "${data_opts} ${own[local_data_opts]}" --expdir "${expdir}" \
    --train_set "${train}" --valid_set "cv_${which}" --test_sets "tt_${which}" \
    --dynamic_mixing "${own[dynamic_mixing]}" --enh_args "${enh_args# } ${own[enh_args]}" \
    --enh_config ../../../conf/train_sep1x2-re1x6.yaml --n_re "1 2 3 4 5 6 7 8 9 10" \
    "${options[@]}"
