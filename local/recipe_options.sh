# shellcheck shell=bash
# Shared by the run.sh of all recipes, which source this from their folders.
#
# A recipe adds its options to own, with their defaults, and defines usage, which prints their help.
# Then it calls read_options "$@", check for each option with fixed values, and finally run_stages.

cores=$(getconf _NPROCESSORS_ONLN)
python=../../../.venv/bin/python
[[ -x ${python} ]] || python=python3

# Options that run.sh reads: these in all recipes.
declare -A own=([nj]=${cores} [enh_config]='' [local_data_opts]='')
# Options that are passed to local/enh.sh unchanged.
options=()

die() {
    echo "run.sh: $*" >&2
    exit 1
}

print_help() {
    usage
    cat <<'END'
The interpreter is the repository's .venv if that is there; --nj is the number of cores. The options of
the stage driver follow, with its own defaults, of which the recipe sets its data sets, its
configuration and what else run.sh hands on.

END
    ../../../local/enh.sh --python "${python}" --help
}

# read_options WORD...: store the values of the recipe's options in own, all other words in options
read_options() {
    local name taken
    while (($# > 0)); do
        [[ $1 != --help && $1 != -h ]] || { print_help; exit 0; }
        name=${1#--}
        name=${name%%=*}
        name=${name//-/_} # as ESPnet's scripts take them
        # every option has one value, which may look like an option; enh.sh reports a missing one
        taken=1
        [[ ! $1 =~ ^--[^=]+$ ]] || taken=2
        if [[ ! $1 =~ ^--[a-z_-]+(=|$) || -z ${own[${name}]+set} ]]; then
            options+=("${@:1:taken}")
        elif ((taken == 1)); then
            own[${name}]=${1#*=}
        else
            (($# > 1)) || die "$1 lacks its value"
            own[${name}]=$2
        fi
        shift "$((taken < $# ? taken : $#))"
    done
    [[ -z ${own[fs]+set} ]] || own[fs]=${own[fs]/%000/k}
}

# check NAME VALUE...: exit unless an option has one of these (two or more) values
check() {
    local name=$1 value listed
    shift
    for value in "$@"; do
        [[ ${own[${name}]} != "${value}" ]] || return 0
    done
    printf -v listed '%s, ' "${@:1:$#-1}"
    die "--${name} ${own[${name}]}: must be ${listed%, } or ${!#}"
}

# fit_configuration NUM_SPK: set fit_args to the options that adapt a published configuration
# (2 speakers, 8 kHz) to the recipe's data; a configuration given by the user is not changed
fit_configuration() {
    local num_spk=$1 part
    fit_args=
    [[ -z ${own[enh_config]} ]] || return 0
    ((num_spk == 2)) || fit_args+=" --num_spk ${num_spk} --separator_conf num_spk=${num_spk}"
    if [[ ${own[fs]} == 16k ]]; then # the same windows and segments in seconds
        fit_args+=" --separator_conf sample_rate=16000 --speech_segment 64000"
        for part in encoder decoder; do
            fit_args+=" --${part}_conf n_fft=256 --${part}_conf hop_length=128"
        done
    fi
    fit_args=${fit_args# }
}

# run_stages CONFIG DATA_OPTS OPTION...: exec local/enh.sh, with CONFIG unless --enh_config names
# another; the recipe's DATA_OPTS for local/data.sh are followed by those of --local_data_opts, the
# recipe's other options by those of the command line, of which the last counts
run_stages() {
    local config=$1 data_opts=$2
    shift 2
    exec ../../../local/enh.sh --python "${python}" --nj "${own[nj]}" \
        --enh_config "${own[enh_config]:-${config}}" \
        --local_data_opts "${data_opts} --nj ${own[nj]}${own[local_data_opts]:+ ${own[local_data_opts]}}" \
        "$@" "${options[@]}"
}
