# shellcheck shell=bash disable=SC2154
# Shared by the run.sh of the recipes that recognise two speakers (enh_asr1), which source this from
# their folders, after recipe_options.sh.

driver=espnet2_tisdiss.recipes.recognition.drive
repository=$(cd ../../.. && pwd)
export PYTHONPATH="${repository}${PYTHONPATH:+:${PYTHONPATH}}" PYTHONUNBUFFERED=1

print_help() {
    usage
    "${python}" -m "${driver}" --help
}

# separate_first FOLDER OPTION...: train the separator of this experiment, unless it is trained
separate_first() {
    local folder=$1
    shift
    [[ -f ${folder}/valid.loss.ave.pth ]] ||
        ../enh1/run.sh --nj "${own[nj]}" --python "${python}" --stop_stage 6 "$@"
}

# run_recognition DATA_OPTS OPTION...: exec the stages; the recipe's DATA_OPTS for local/data.sh are
# followed by those of --local_data_opts, its other options by those of the command line
run_recognition() {
    local data_opts=$1
    shift
    export PYTHON=${python}
    exec "${python}" -m "${driver}" --nj "${own[nj]}" \
        --local_data_opts "${data_opts} --nj ${own[nj]} ${own[local_data_opts]}" \
        "$@" "${options[@]}"
}
