#!/usr/bin/env bash
# Separation of two people speaking at once, 16 kHz, from recordings of single speakers.
set -euo pipefail
started=${PWD}
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source-path=SCRIPTDIR source=../../../local/recipe_options.sh
source ../../../local/recipe_options.sh

usage() {
    cat <<'USAGE'
Usage: ./run.sh --voices DIR | --public DIR [option] ... [option of local/enh.sh] ...

  --voices DIR     recordings of single speakers: DIR/<speaker>/.../*.wav (or flac, opus, ogg, mp3), or
                   DIR/utterances.tsv
  --public DIR     public data sets in the layout of their publishers; the README lists them
  --noise DIR      recordings of noise without speech (default: no noisy mixtures)
  --size tiny|default   every stage in about two minutes, for tests; or a model
                        that separates unseen voices (default: default)
  --seed N         seed of all random draws (default: 0)

The folders can be set in db.sh, too. Unusable files stop the run after all others are
done; --local_data_opts "--skip_bad" leaves them out. Each size and seed has separate folders in
data, dump and exp. Results go to exp/<size>_<seed>/enh_*/RESULTS.md.
USAGE
}

own+=([size]=default [seed]=0 [voices]='' [public]='' [noise]='' [python]=${python})
read_options "$@"
python=${own[python]}
check size tiny default
[[ ${own[seed]} =~ ^[0-9]+$ ]] || die "--seed ${own[seed]}: must be a whole number"
corpus=${own[size]}_${own[seed]}

# locate OPTION VARIABLE: set a variable that db.sh reads to the folder that an option names
locate() {
    local folder=${own[$1]}
    [[ -n ${folder} ]] || return 0
    [[ ${folder} == /* ]] || folder=${started}/${folder}
    export "$2=${folder}"
}
[[ -z ${own[voices]} || -z ${own[public]} ]] || die "--voices and --public exclude each other"
locate voices VOICES
locate public PUBLIC_VOICES
locate noise NOISE

data_opts="--size ${own[size]} --seed ${own[seed]} --suffix _${corpus}"
# the test sets, and the options of enh_train that the recordings need, a line each
read -r -a words <<<"${data_opts} ${own[local_data_opts]}"
plan=$(PYTHON=${python} ./local/data.sh "${words[@]}" --plan)
test_sets=${plan%%$'\n'*}
fit_args=${plan#*$'\n'}
n_re="1 2 3 4 6 8"
[[ ${own[size]} != tiny ]] || n_re="1 2"

# Training mixtures are made during training. The stage driver and enh_train still require a training
# set, so the validation set is given.
run_stages "conf/train_${own[size]}.yaml" "${data_opts}" \
    --ngpu 0 --dumpdir "dump/${corpus}" --expdir "exp/${corpus}" --fs 16k --n_re "${n_re}" \
    --train_set "valid_${corpus}" --valid_set "valid_${corpus}" --test_sets "${test_sets}" \
    --fit_args "${fit_args}"
