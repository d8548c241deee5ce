#!/usr/bin/env bash
# Recognition of two synthesised voices: a separator and a recogniser, joined and trained together.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source-path=SCRIPTDIR source=../../../local/recipe_options.sh
source ../../../local/recipe_options.sh
# shellcheck source-path=SCRIPTDIR source=../../../local/recognition_options.sh
source ../../../local/recognition_options.sh

usage() {
    cat <<'USAGE'
Usage: ./run.sh [--size tiny|quick|default] [--seed N] [option] ...

  --size tiny      every stage in about two minutes: a test, whose model has learnt nothing
  --size quick     a demonstration in about ten minutes
  --size default   a model that recognises unseen voices, in an hour and a quarter on two cores
  --seed N         seed of the corpus (default: 0)

The corpus and the separator are those of ../enh1, which is run first and takes about as long again. With
--separation FOLDER, that experiment's separator is used instead, and ../enh1 makes its corpus only.
Results go to exp/<size>_<seed>/enh_asr_*/RESULTS.md. The options of the stages follow.

USAGE
}

own+=([size]=default [seed]=0 [separation]='' [python]=${python})
read_options "$@"
python=${own[python]}
check size tiny quick default
[[ ${own[seed]} =~ ^[0-9]+$ ]] || die "--seed ${own[seed]}: must be a whole number"
size=${own[size]}
corpus=${size}_${own[seed]}
case ${size} in
    tiny) n_re="1 2" nbpe=40 ;;
    quick) n_re="1 2 3" nbpe=100 ;;
    default) n_re="1 2 3 6" nbpe=200 ;;
esac

separation=${own[separation]}
if [[ -z ${separation} ]]; then
    separation=../enh1/exp/${corpus}/enh_train_${size}_raw
    separate_first "${separation}" --size "${size}" --seed "${own[seed]}"
else
    ../enh1/run.sh --nj "${own[nj]}" --python "${python}" --size "${size}" --seed "${own[seed]}" \
        --stop_stage 1
fi
data_opts="--size ${size} --seed ${own[seed]} --suffix _${corpus}"
run_recognition "${data_opts} --corpus ../enh1/downloads/mini_${corpus}" \
    --separation "${separation}" --expdir "exp/${corpus}" \
    --train_set "train_${corpus}" --valid_set "valid_${corpus}" --test_sets "test_${corpus}" \
    --train_singles "train_singles_${corpus}" --valid_singles "valid_singles_${corpus}" \
    --nbpe "${nbpe}" --n_re "${n_re}" --asr_config "conf/train_asr_${size}.yaml" \
    --enh_asr_config "conf/train_enh_asr_${size}.yaml" --inference_config conf/decode.yaml
