#!/usr/bin/env bash
# Stages of a speech separation recipe, from data preparation to a packed model.
# A recipe's run.sh calls this from its folder; --help lists the options. The settings, inputs and
# outputs of the steps are in espnet2_tisdiss/recipes/stages/steps.py.
set -euo pipefail
if ((BASH_VERSINFO[0] * 10 + BASH_VERSINFO[1] < 44)); then
    echo "enh.sh: needs bash 4.4 or newer" >&2
    exit 1
fi

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here
readonly tools=espnet2_tisdiss.recipes.stages
readonly commands=espnet2_tisdiss.bin
# with batch_type folded, mixtures of this length in seconds halve the batch
readonly fold_seconds=10

# set by read_options: all options, and values derived from them
declare -A opt
python='' rate='' train='' valid='' exp='' stats='' raw=''
stages=() tests=() depths=() init=() train_lists=() valid_lists=() test_lists=()
child=
stage=

log() {
    printf '%(%Y-%m-%d %H:%M:%S)T (enh.sh) %s\n' -1 "${stage:+stage ${stage}: }$*" >&2
}

die() {
    log "error: $*"
    exit 1
}

# ---------------------------------------------------------------------------------------------
# Options

# read_options WORD...: set opt and the names of sets, lists and folders from the command line
read_options() {
    local code
    python=$(named_python "$@")
    command -v "${python}" >/dev/null || die "--python ${python}: no such program"
    code=$("${python}" "${here%/*}/espnet2_tisdiss/recipes/stages/options.py" "$@") || exit 1
    eval "${code}"
    code=$("${python}" -m "${tools}.recipe") || exit 1
    eval "${code}"
    readonly python rate stages train valid tests depths exp stats raw init
    readonly train_lists valid_lists test_lists
}

# named_python WORD...: print the interpreter that the last --python names
named_python() {
    local python=python3
    while (($# > 0)); do
        case $1 in
            --python=*) python=${1#*=} ;;
            --python) python=${2:-python3} ;;
        esac
        # a word without = is followed by its value
        [[ $1 == *=* || $# == 1 ]] || shift
        shift
    done
    echo "${python}"
}

# ---------------------------------------------------------------------------------------------
# Running programs

# run COMMAND...: run a command that reports its own errors; exit if it fails
run() {
    local status=0
    # a separate process group, so that an interrupt reaches all of its processes
    set -m
    "$@" </dev/null &
    child=$!
    set +m
    wait "${child}" || status=$?
    child=
    ((status == 0)) || exit "${status}"
}

# step NAME [ARGUMENT]... -- COMMAND...: run the command unless the step is done. Names in braces are
# replaced by values of steps.py, such as {out} by the output folder and {keys} by the utterances of one
# of the parallel jobs.
step() {
    run "${python}" -m "${tools}.run_step" "${stage}" "$@"
}

# interrupt EXIT_CODE: stop all processes and exit
interrupt() {
    trap '' INT TERM HUP
    log "stopping"
    if [[ -n ${child} ]]; then
        kill -TERM -- "-${child}" 2>/dev/null || true
        wait "${child}" 2>/dev/null || true
    fi
    log "interrupted; finished work is kept: run the same command to continue"
    exit "$1"
}

# ---------------------------------------------------------------------------------------------
# Stages

stage_1() {
    local words
    read -r -a words <<<"${opt[local_data_opts]}"
    step data_preparation -- bash local/data.sh "${words[@]}"
}

stage_2() {
    local factors extra=()
    read -r -a factors <<<"${opt[speed_perturb_factors]}"
    if ((${#factors[@]} == 0)); then
        log "no speed perturbation (--speed_perturb_factors is empty)"
        return
    fi
    [[ -z ${opt[ref_channel]} ]] || extra=(--ref_channel "${opt[ref_channel]}")
    [[ ${opt[run_commands]} == false ]] || extra+=(--run_commands)
    step perturbation -- "${python}" -m "${tools}.perturb_speed" \
        "data/${opt[train_set]}" "data/${train}" --lists "${train_lists[@]}" \
        --factors "${factors[@]}" --nj "${opt[nj]}" "${extra[@]}"
}

stage_3() {
    local set
    format_set "${train}" "${raw}/org/${train}" "${train_lists[@]}"
    format_set "${valid}" "${raw}/org/${valid}" "${valid_lists[@]}"
    for set in "${tests[@]}"; do
        # A test set may be the training or validation set, which stage 4 puts there.
        [[ ${set} == "${train}" || ${set} == "${valid}" ]] ||
            format_set "${set}" "${raw}/${set}" "${test_lists[@]}" --allow_silence
    done
}

# format_set SET OUT LIST... [--allow_silence]
format_set() {
    local set=$1 out=$2 options=()
    shift 2
    [[ ${opt[resample]} == false ]] || options+=(--resample)
    [[ ${opt[run_commands]} == false ]] || options+=(--run_commands)
    [[ -z ${opt[ref_channel]} ]] || options+=(--ref_channel "${opt[ref_channel]}")
    step formatting "${set}" -- "${python}" -m "${tools}.format_audio" "data/${set}" "${out}" \
        --fs "${rate}" --audio_format "${opt[audio_format]}" --nj "${opt[nj]}" "${options[@]}" \
        --lists "$@"
}

stage_4() {
    local set
    for set in "${train}" "${valid}"; do
        step filtering "${set}" -- "${python}" -m "${tools}.filter_lengths" \
            "${raw}/org/${set}" "${raw}/${set}" --fs "${rate}" \
            --min_duration "${opt[min_wav_duration]}" --max_duration "${opt[max_wav_duration]}"
    done
}

stage_5() {
    local data_options=()
    enh_train_data
    # one utterance per batch and one log line per batch, so that the log shows the progress
    step statistics -- "${python}" -m "${commands}.enh_train" --config "${opt[enh_config]}" \
        --collect_stats true --batch_type folded --batch_size 1 --log_interval 1 --ngpu 0 \
        "${data_options[@]}" --train_shape_file '{keys1}' --valid_shape_file '{keys2}' \
        --output_dir '{out}'
}

# enh_train_data: set data_options to the options that name training and validation data
enh_train_data() {
    local list
    for list in "${train_lists[@]}"; do
        add_data train "${train}" "${list}" "$(signal_name "${list}")"
    done
    # dynamic mixing replaces this signal, but ESPnet requires it
    [[ ${opt[dynamic_mixing]} == false ]] || add_data train "${train}" wav.scp speech_ref1
    for list in "${valid_lists[@]}"; do
        add_data valid "${valid}" "${list}" "$(signal_name "${list}")"
    done
}

# add_data PART SET LIST NAME: add a list of a set to data_options
add_data() {
    data_options+=("--$1_data_path_and_name_and_type" "${raw}/$2/$3,$4,sound")
}

# signal_name LIST: the name of a list's signals in ESPnet's model
signal_name() {
    local name=${1%.scp}
    case ${name} in
        wav) echo speech_mix ;;
        spk*) echo "speech_ref${name#spk}" ;;
        noise*) echo "noise_ref${name#noise}" ;;
        dereverb*) echo "dereverb_ref${name#dereverb}" ;;
    esac
}

stage_6() {
    local data_options=() shapes=() extra options=()
    read -r -a extra <<<"${opt[fit_args]} ${opt[enh_args]}"
    enh_train_data
    shape_options
    ((${#init[@]} == 0)) || options+=(--init_param "${init[@]}")
    ((opt[ngpu] <= 1)) || options+=(--multiprocessing_distributed true)
    options+=("${extra[@]}")
    [[ ${opt[dynamic_mixing]} == false ]] || mixing_options
    step training -- "${python}" -m "${commands}.enh_train" --config "${opt[enh_config]}" \
        "${data_options[@]}" "${shapes[@]}" --ngpu "${opt[ngpu]}" --resume true \
        --output_dir "${exp}" "${options[@]}"
}

# shape_options: set shapes to the options with the mixtures' lengths, from which ESPnet makes batches.
# Uses stage_6's extra.
shape_options() {
    local list fold=$((fold_seconds * rate))
    [[ -z ${opt[enh_speech_fold_length]} ]] || fold=$((opt[enh_speech_fold_length] * 100))
    for list in "${train_lists[@]}"; do
        shapes+=(--train_shape_file "${stats}/train/$(signal_name "${list}")_shape")
    done
    for list in "${valid_lists[@]}"; do
        shapes+=(--valid_shape_file "${stats}/valid/$(signal_name "${list}")_shape")
        # ESPnet takes one for each list, and would add those of --enh_args to these
        [[ " ${extra[*]}" == *" --fold_length"* ]] ||
            shapes+=(--fold_length "${fold}")
    done
}

# mixing_options: add to stage_6's options those for new mixtures of single utterances in every epoch
mixing_options() {
    local word
    options+=(--preprocessor dynamic_mixing --dynamic_mixing true
        --utt2spk "${raw}/${train}/utt2spk" --iterator_type chunk --chunk_length '{segment}'
        --chunk_shift_ratio 1.0 --valid_iterator_type sequence)
    # the first utterance of a mixture is speech_mix, as at inference
    for word in source_scp_name=wav.scp mixture_source_name=speech_mix \
        "ref_num=${opt[ref_num]}" "dynamic_mixing_gain_db=${opt[dynamic_mixing_gain_db]}"; do
        options+=(--preprocessor_conf "${word}")
    done
}

stage_7() {
    local set options=() output='{out}/default' extra
    read -r -a extra <<<"${opt[inference_args]}"
    [[ ${opt[gpu_inference]} == false ]] || options+=(--ngpu 1)
    [[ -z ${opt[inference_enh_config]} ]] ||
        options+=(--inference_config "${opt[inference_enh_config]}")
    if [[ -n ${depths[*]} ]]; then # the output has a folder for each
        options+=(--n_re '{n_re}')
        output='{out}'
    fi
    for set in "${tests[@]}"; do
        step separation "${set}" -- "${python}" -m "${commands}.enh_inference" --fs "${rate}" \
            --data_path_and_name_and_type "${raw}/${set}/wav.scp,speech_mix,sound" \
            --train_config "${exp}/config.yaml" --model_file "${exp}/${opt[inference_model]}" \
            --key_file '{keys}' --output_dir "${output}" "${options[@]}" "${extra[@]}"
    done
}

stage_8() {
    local set depth metrics options=()
    for set in "${tests[@]}"; do
        # the unprocessed mixture as every speaker's estimate, once for all models
        score_set "${set}" "${raw}/${set}/wav.scp"
        for depth in "${depths[@]}"; do
            score_set "${set}" '{separated}/spk#.scp' "${depth}"
        done
    done
    read -r -a metrics <<<"${opt[scoring_protocol]}"
    [[ -z ${opt[inference_enh_config]} ]] ||
        options+=(--inference_config "${opt[inference_enh_config]}")
    [[ ! -f published.yaml ]] || options+=(--published published.yaml)
    step report -- "${python}" -m "${tools}.write_results" --enh_exp "${exp}" \
        --model "${exp}/${opt[inference_model]}" --fs "${rate}" --metrics "${metrics[@]}" \
        "${options[@]}" '{scored}'
    options=()
    for set in "${tests[@]}"; do
        options+=(--data "${raw}/${set}")
    done
    step page -- "${python}" -m espnet2_tisdiss.cli report "${exp}" "${options[@]}"
}

# score_set SET ESTIMATES [N_RE]: score a list of estimates for each speaker, whose number replaces #
score_set() {
    local set=$1 estimates=$2 number pairs=() extra
    shift 2
    read -r -a extra <<<"${opt[scoring_opts]}"
    for ((number = 1; number <= opt[ref_num]; number++)); do
        pairs+=(--ref_scp "${raw}/${set}/spk${number}.scp" --inf_scp "${estimates/spk#/spk${number}}")
    done
    step scoring "${set}" "$@" -- "${python}" -m "${commands}.enh_scoring" "${pairs[@]}" \
        --key_file '{keys}' --output_dir '{out}' "${extra[@]}"
}

stage_9() {
    log "nothing to do: speech recognition is not part of these recipes"
}

stage_10() {
    stage_9
}

stage_11() {
    local file options=()
    for file in RESULTS.md quality_by_cost.png images; do
        [[ ! -e ${exp}/${file} ]] || options+=(--option "${exp}/${file}")
    done
    step packing -- "${python}" -m espnet2.bin.pack enh --train_config "${exp}/config.yaml" \
        --model_file "${exp}/${opt[inference_model]}" "${options[@]}" --outpath '{out}'
}

stage_12() {
    log "nothing to do: models are not uploaded from here; stage 11 leaves a zip archive in ${exp}"
}

stage_13() {
    stage_12
}

# ---------------------------------------------------------------------------------------------

# need_gpus: check that the GPUs of training and inference exist, before hours of data preparation
need_gpus() {
    local wanted=" ${stages[*]} "
    stage=6
    [[ ${wanted} != *" 6 "* || -f ${exp}/.done ]] ||
        find_gpus "${opt[ngpu]}" "--ngpu ${opt[ngpu]}" "give --ngpu 0 to use the CPU"
    stage=7
    [[ ${wanted} != *" 7 "* || ${opt[gpu_inference]} == false ]] ||
        find_gpus 1 "--gpu_inference true" "leave it out to separate on the CPU"
}

# find_gpus NUMBER OPTION ADVICE: exit unless as many GPUs exist as the option requests
find_gpus() {
    (($1 == 0)) || "${python}" -c \
        'import sys, torch; sys.exit(torch.cuda.device_count() < int(sys.argv[1]))' "$1" ||
        die "$2: PyTorch does not find that many GPUs here; $3"
}

main() {
    local began
    export PYTHONPATH=${here%/*}${PYTHONPATH:+:${PYTHONPATH}} PYTHONUNBUFFERED=1
    read_options "$@"
    export PYTHON=${python}
    if [[ ${opt[backend]} == dask ]]; then
        TISDISS_PARALLEL_CONFIG=$(realpath -- "${opt[parallel_config]}")
        export TISDISS_PARALLEL_CONFIG
    fi
    trap 'interrupt 130' INT
    trap 'interrupt 143' TERM HUP
    need_gpus
    for stage in "${stages[@]}"; do
        began=${SECONDS}
        "stage_${stage}"
        log "took $(((SECONDS - began) / 60)) min $(((SECONDS - began) % 60)) s"
    done
    stage=
    log "all requested stages are done"
}

main "$@"
