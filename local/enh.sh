#!/usr/bin/env bash
# Stages of a speech separation recipe, from data preparation to a packed model.
# A recipe's run.sh calls this from its own folder; --help tells the options.
set -euo pipefail
if ((BASH_VERSINFO[0] * 10 + BASH_VERSINFO[1] < 44)); then
    echo "enh.sh: needs bash 4.4 or newer" >&2
    exit 1
fi

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here
readonly programs=espnet2_tisdiss.recipes.stages
# Mixtures of so many seconds halve a batch of batch_type folded.
readonly fold_seconds=10

# What read_options sets: all options, and what follows from them.
declare -A opt
rate='' train='' valid='' exp='' stats='' raw=''
tests=() depths=() train_lists=() valid_lists=() test_lists=()
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
    local python code
    python=$(named_python "$@")
    command -v "${python}" >/dev/null || die "--python ${python}: no such program"
    code=$("${python}" "${here%/*}/espnet2_tisdiss/recipes/stages/options.py" "$@") || exit 1
    eval "${code}"
    readonly rate train valid tests depths exp stats raw train_lists valid_lists test_lists
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

# run COMMAND...: run it to its end; if it fails, which it tells itself, so does this script
run() {
    local status=0
    # Its own process group, so that an interrupt can reach everything that it started.
    set -m
    "$@" </dev/null &
    child=$!
    set +m
    wait "${child}" || status=$?
    child=
    ((status == 0)) || exit "${status}"
}

# tool NAME ARGUMENT...: run one of the stages' Python programs
tool() {
    run "${opt[python]}" -m "${programs}.$1" "${@:2}"
}

# ask NAME ARGUMENT...: print what such a program answers
ask() {
    "${opt[python]}" -m "${programs}.$1" "${@:2}"
}

# interrupt EXIT_CODE: stop everything that runs
interrupt() {
    trap '' INT TERM HUP
    log "stopping"
    if [[ -n ${child} ]]; then
        kill -TERM -- "-${child}" 2>/dev/null || true
        wait "${child}" 2>/dev/null || true
    fi
    log "interrupted; finished work is kept, the same command goes on from here"
    exit "$1"
}

# is_done MARKER WHAT FACT...: succeed, and say so, if the marker says WHAT was done with the facts
is_done() {
    local marker=$1 what=$2 changed status=0
    shift 2
    changed=$(ask marker check "${marker}" "$@") || status=$?
    case ${status} in
        0) log "${what}: already done (to do it again, remove ${marker})" ;;
        3)
            [[ -z ${changed} ]] || log "${what}: changed since it was done: ${changed}"
            return 1
            ;;
        *) exit "${status}" ;;
    esac
}

mark_done() {
    ask marker write "$@"
}

# refuse_changed FOLDER SINCE STAGE FACT...: refuse to go on with a folder that was done otherwise
refuse_changed() {
    local folder=$1 since=$2 first=$3 changed
    shift 3
    changed=$(ask marker check "${folder}/.done" "$@") ||
        die "${folder}: changed since ${since} (${changed}): run stage ${first} first"
}

# claim_work FOLDER FACT...: keep what an interrupted run left there for the same facts, or empty it
claim_work() {
    local work=$1
    shift
    if ! ask marker check "${work}/facts" "$@" >/dev/null; then
        rm -rf -- "${work}"
        mark_done "${work}/facts" "$@"
    fi
}

# need FILE STAGE: refuse to go on without a file that an earlier stage makes
need() {
    [[ -e $1 ]] || die "$1 is missing: run stage $2 first"
}

# ---------------------------------------------------------------------------------------------
# Stages

stage_1() {
    local facts words marker
    read -r -a words <<<"${opt[local_data_opts]}"
    [[ -f local/data.sh ]] || die "local/data.sh is missing: run this from a recipe's folder"
    # a marker for each training set; how many processes work changes nothing that they make
    marker=data/.done_${opt[train_set]}
    facts=(--option "local_data_opts=$(sed -E 's/(^| )--nj[ =][^ ]+//g' <<<"${words[*]}")"
        --input local/data.sh)
    location_facts
    if [[ -z $(missing_sets) ]] && is_done "${marker}" "data preparation" "${facts[@]}"; then
        return
    fi
    run bash local/data.sh "${words[@]}"
    [[ -z $(missing_sets) ]] ||
        die "local/data.sh made no $(missing_sets): check --train_set, --valid_set and --test_sets"
    mark_done "${marker}" "${facts[@]}"
}

# location_facts: add to facts where db.sh, if there is one, and the environment say that corpora are
location_facts() {
    local names name location
    [[ -f db.sh ]] || return 0
    facts+=(--input db.sh)
    mapfile -t names < <(sed -nE 's/^([A-Z][A-Z0-9_]*)=.*/\1/p' db.sh)
    while IFS= read -r location; do
        facts+=(--option "${location}")
    done < <(
        # shellcheck source=/dev/null
        source ./db.sh
        for name in "${names[@]}"; do
            echo "${name}=${!name}"
        done
    )
}

# need_singles: refuse to mix a training set's mixtures with each other
need_singles() {
    local folder=data/${opt[train_set]}
    [[ ${opt[dynamic_mixing]} == false || ! -e ${folder}/spk1.scp ]] ||
        die "${folder} holds mixtures (spk1.scp); dynamic mixing needs single utterances: name a" \
            "--train_set of wav.scp and utt2spk alone, or leave out --dynamic_mixing"
}

# missing_sets: name the sets that data preparation still has to make
missing_sets() {
    local set missing=()
    for set in "${opt[train_set]}" "${valid}" "${tests[@]}"; do
        [[ -f data/${set}/wav.scp ]] || missing+=("data/${set}/wav.scp")
    done
    echo "${missing[*]}"
}

stage_2() {
    local source=data/${opt[train_set]} facts list factors channel=()
    read -r -a factors <<<"${opt[speed_perturb_factors]}"
    if ((${#factors[@]} == 0)); then
        log "no speed perturbation (--speed_perturb_factors is empty)"
        return
    fi
    need "${source}/wav.scp" "1 (data preparation)"
    [[ -z ${opt[ref_channel]} ]] || channel=(--ref_channel "${opt[ref_channel]}")
    facts=(--option "speed_perturb_factors=${factors[*]}"
        --option "ref_channel=${opt[ref_channel]}")
    for list in "${train_lists[@]}"; do
        facts+=(--audio "${source}/${list}")
    done
    is_done "data/${train}/.done" "speed perturbation" "${facts[@]}" && return
    tool perturb_speed "${source}" "data/${train}" --lists "${train_lists[@]}" \
        --factors "${factors[@]}" --nj "${opt[nj]}" "${channel[@]}"
    mark_done "data/${train}/.done" "${facts[@]}"
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
    local data=data/$1 out=$2 facts extra=() made_by="1 (data preparation)"
    [[ $1 == "${opt[train_set]}" || $1 != "${train}" ]] || made_by="2 (speed perturbation)"
    shift 2
    need "${data}/wav.scp" "${made_by}"
    format_facts "${data}" "${out}" "$@"
    is_done "${out}/.done" "${out}" "${facts[@]}" && return
    [[ ${opt[resample]} == false ]] || extra+=(--resample)
    [[ -z ${opt[ref_channel]} ]] || extra+=(--ref_channel "${opt[ref_channel]}")
    tool format_audio "${data}" "${out}" --fs "${rate}" --audio_format "${opt[audio_format]}" \
        --nj "${opt[nj]}" "${extra[@]}" --lists "$@"
    mark_done "${out}/.done" "${facts[@]}"
}

# format_facts DATA OUT LIST...: put what a formatted set depends on into facts
format_facts() {
    local data=$1 out=$2 word
    shift 2
    facts=(--option "fs=${rate}")
    for word in audio_format resample ref_channel; do
        facts+=(--option "${word}=${opt[${word}]}")
    done
    for word in "$@"; do
        [[ ${word} == --* ]] || facts+=(--audio "${data}/${word}" --audio "${out}/${word}")
    done
    for word in "${data}"/utt2*; do
        [[ ! -f ${word} ]] || facts+=(--input "${word}")
    done
}

# check_format SET: refuse a test set whose files are no longer those that stage 3 has checked
check_format() {
    local data=data/$1 out=${raw}/$1 facts
    need "${out}/.done" "3 (format audio)"
    # Without data/ (a copied dump), or for a set that stage 4 made, there is nothing to compare.
    [[ -d ${data} && $1 != "${train}" && $1 != "${valid}" ]] || return 0
    format_facts "${data}" "${out}" "${test_lists[@]}"
    refuse_changed "${out}" "stage 3 checked it" "3 (format audio)" "${facts[@]}"
}

stage_4() {
    local set facts limits
    limits=(--min_duration "${opt[min_wav_duration]}" --max_duration "${opt[max_wav_duration]}")
    for set in "${train}" "${valid}"; do
        need "${raw}/org/${set}/.done" "3 (format audio)"
        facts=(--input "${raw}/org/${set}/.done" --option "duration=${limits[*]}"
            --exists "${raw}/${set}/wav.scp")
        is_done "${raw}/${set}/.done" "${raw}/${set}" "${facts[@]}" || {
            tool filter_lengths "${raw}/org/${set}" "${raw}/${set}" --fs "${rate}" "${limits[@]}"
            mark_done "${raw}/${set}/.done" "${facts[@]}"
        }
    done
}

# enh_train_data: put the options that name training and validation data into data_options
enh_train_data() {
    local list
    data_options=()
    for list in "${train_lists[@]}"; do
        add_data train "${train}" "${list}" "$(training_name "${list}")"
    done
    # Dynamic mixing replaces it; ESPnet asks for it all the same.
    [[ ${opt[dynamic_mixing]} == false ]] || add_data train "${train}" wav.scp speech_ref1
    for list in "${valid_lists[@]}"; do
        add_data valid "${valid}" "${list}" "$(training_name "${list}")"
    done
}

# add_data PART SET LIST NAME: add a list of a set to data_options
add_data() {
    data_options+=("--$1_data_path_and_name_and_type" "${raw}/$2/$3,$4,sound")
}

# training_name LIST: the name that ESPnet's model knows the signals of a list by
training_name() {
    local name=${1%.scp}
    case ${name} in
        wav) echo speech_mix ;;
        spk*) echo "speech_ref${name#spk}" ;;
        noise*) echo "noise_ref${name#noise}" ;;
        dereverb*) echo "dereverb_ref${name#dereverb}" ;;
    esac
}

need_config() {
    [[ -n ${opt[enh_config]} ]] || die "--enh_config is missing"
}

stage_5() {
    local facts results work=${stats}/work data_options part
    need_config
    need "${raw}/${train}/.done" "4 (drop short and long)"
    need "${raw}/${valid}/.done" "4 (drop short and long)"
    facts=(--input "${raw}/${train}/.done" --input "${raw}/${valid}/.done"
        --option "lists=${valid_lists[*]}")
    results=(--exists "${stats}/train" --exists "${stats}/valid")
    is_done "${stats}/.done" "${stats}" "${facts[@]}" "${results[@]}" && return
    claim_work "${work}" "${facts[@]}"
    enh_train_data
    # One utterance a batch, one log line a batch: so the log tells how far a job is.
    tool run_jobs --keys "${raw}/${train}/wav.scp" --keys "${raw}/${valid}/wav.scp" \
        --nj "${opt[nj]}" --work "${work}/jobs" --logs "${stats}/logs/stats" \
        --label statistics --count 'Niter: ' -- \
        "${opt[python]}" -m espnet2_tisdiss.bin.enh_train --config "${opt[enh_config]}" \
        --collect_stats true --batch_type folded --batch_size 1 --log_interval 1 --ngpu 0 \
        "${data_options[@]}" --train_shape_file '{keys1}' --valid_shape_file '{keys2}' \
        --output_dir '{out}'
    run join_statistics "${work}"
    for part in train valid; do
        rm -rf -- "${stats:?}/${part}"
        mv -- "${work}/joined/${part}" "${stats}/${part}"
    done
    mark_done "${stats}/.done" "${facts[@]}" "${results[@]}"
    rm -rf -- "${work}"
}

# join_statistics WORK: join the jobs' statistics into WORK/joined
join_statistics() {
    local work=$1 number inputs=()
    for ((number = 1; number <= opt[nj]; number++)); do
        [[ ! -d ${work}/jobs/${number} ]] || inputs+=(--input_dir "${work}/jobs/${number}/out")
    done
    "${opt[python]}" -m espnet2.bin.aggregate_stats_dirs --log_level WARNING --skip_sum_stats \
        "${inputs[@]}" --output_dir "${work}/joined" 2>"${stats}/logs/join.log" ||
        die "joining the statistics failed; its log is ${stats}/logs/join.log"
}

stage_6() {
    local facts begun data_options shapes=() extra init mixing=()
    need_config
    need "${stats}/.done" "5 (statistics)"
    read -r -a extra <<<"${opt[fit_args]} ${opt[enh_args]}"
    initial_weights
    # how long to train may change on the way, nothing else
    begun=(--input "${opt[enh_config]}" --input "${stats}/.done" --option "init_param=${opt[init_param]}"
        --option "enh_args=$(sed -E 's/--(max_epoch|patience)[ =]+[^ ]+ *//g' <<<"${opt[enh_args]}")")
    [[ -z ${opt[fit_args]} ]] || begun+=(--option "fit_args=${opt[fit_args]}")
    [[ ${opt[dynamic_mixing]} == false ]] ||
        begun+=(--option "dynamic_mixing_gain_db=${opt[dynamic_mixing_gain_db]}")
    facts=("${begun[@]}" --option "enh_args=${opt[enh_args]}"
        --exists "${exp}/config.yaml" --exists "${exp}/latest.pth")
    is_done "${exp}/.done" "${exp}" "${facts[@]}" && return
    need_training_gpus
    [[ ${opt[dynamic_mixing]} == false ]] || mixing_options
    begin_training "${begun[@]}"
    [[ ! -f ${exp}/checkpoint.pth ]] ||
        log "training goes on from ${exp}/checkpoint.pth (to begin anew, remove ${exp})"
    ((opt[ngpu] <= 1)) || extra=(--multiprocessing_distributed true "${extra[@]}")
    ((${#init[@]} == 0)) || extra=(--init_param "${init[@]}" "${extra[@]}")
    shape_options
    enh_train_data
    log "training in ${exp}, log ${exp}/train.log"
    tool follow_training --log "${exp}/train.log" --config "${exp}/config.yaml" -- \
        "${opt[python]}" -m espnet2_tisdiss.bin.enh_train --config "${opt[enh_config]}" \
        "${data_options[@]}" "${shapes[@]}" --ngpu "${opt[ngpu]}" --resume true \
        --output_dir "${exp}" "${extra[@]}" "${mixing[@]}"
    tool draw_training "${exp}"
    mark_done "${exp}/.done" "${facts[@]}"
}

# shape_options: put what ESPnet makes batches by, the mixtures' lengths, into shapes.  Uses stage_6's
# extra.
shape_options() {
    local list
    for list in "${train_lists[@]}"; do
        shapes+=(--train_shape_file "${stats}/train/$(training_name "${list}")_shape")
    done
    for list in "${valid_lists[@]}"; do
        shapes+=(--valid_shape_file "${stats}/valid/$(training_name "${list}")_shape")
        # ESPnet takes one for each list, and would take those of --enh_args besides these.
        [[ " ${extra[*]}" == *" --fold_length"* ]] ||
            shapes+=(--fold_length "$((fold_seconds * rate))")
    done
}

# need_gpus NUMBER OPTION ADVICE: refuse to go on without so many GPUs, which the option asks for
need_gpus() {
    (($1 == 0)) || "${opt[python]}" -c \
        'import sys, torch; sys.exit(torch.cuda.device_count() < int(sys.argv[1]))' "$1" ||
        die "$2: PyTorch finds no such number of GPUs here; $3"
}

need_training_gpus() {
    need_gpus "${opt[ngpu]}" "--ngpu ${opt[ngpu]}" "give --ngpu 0 to use the CPU"
}

need_inference_gpu() {
    [[ ${opt[gpu_inference]} == false ]] ||
        need_gpus 1 "--gpu_inference true" "leave it out to separate on the CPU"
}

# mixing_options: put what makes ESPnet mix single utterances anew in every epoch into mixing
mixing_options() {
    local segment word
    segment=$(ask check_dynamic_mixing --config "${opt[enh_config]}" \
        --singles "${raw}/${train}" --ref_num "${opt[ref_num]}" -- "${extra[@]}") || exit 1
    mixing=(--preprocessor dynamic_mixing --dynamic_mixing true --utt2spk "${raw}/${train}/utt2spk"
        --iterator_type chunk --chunk_length "${segment}" --chunk_shift_ratio 1.0
        --valid_iterator_type sequence)
    # The first utterance of a mixture comes as speech_mix, which inference has, too.
    for word in source_scp_name=wav.scp mixture_source_name=speech_mix \
        "ref_num=${opt[ref_num]}" "dynamic_mixing_gain_db=${opt[dynamic_mixing_gain_db]}"; do
        mixing+=(--preprocessor_conf "${word}")
    done
}

# begin_training FACT...: check a training and note what it begins with; refuse to go on with the
# weights of one that began otherwise.  Uses stage_6's init, extra and mixing.
begin_training() {
    local marker=${exp}/.begun changed status=0
    if [[ -f ${marker} && -f ${exp}/checkpoint.pth ]]; then
        changed=$(ask marker check "${marker}" "$@") || status=$?
        ((status == 0 || status == 3)) || exit "${status}"
        ((status == 0)) || die "${exp} holds a training that began otherwise (${changed}):" \
            "name this one with --enh_tag, or remove ${exp} to begin anew," \
            "or ${marker} to go on from its weights"
        return
    fi
    tool check_training --config "${opt[enh_config]}" --fs "${rate}" --init_param "${init[@]}" -- \
        "${extra[@]}" "${mixing[@]}"
    mark_done "${marker}" "$@"
}

# initial_weights: put the weights to start from (file[:source:target:excluded]) into init; refuse what
# has no file
initial_weights() {
    local weights file=${opt[init_param]%%:*}
    read -r -a init <<<"${opt[init_param]}"
    # the path of one file rather than several files
    [[ ${file} != *" "* || ! -f ${file} ]] || init=("${opt[init_param]}")
    for weights in "${init[@]}"; do
        [[ -f ${weights%%:*} ]] || die "--init_param ${weights}: no such file"
    done
}

# separation_name SET N_RE: what a separation and its folder are called; N_RE may be empty
separation_name() {
    local name=enhanced
    [[ -z ${opt[inference_enh_config]} ]] || name=$(basename "${opt[inference_enh_config]}" .yaml)
    echo "${name}${2:+_re$2}_$1"
}

# separated_dir SET N_RE: folder of the separated files
separated_dir() {
    echo "${exp}/$(separation_name "$1" "$2")"
}

# for_each_separation FUNCTION: call it with every test set and depth
for_each_separation() {
    local set depth
    for set in "${tests[@]}"; do
        for depth in "${depths[@]}"; do
            "$1" "${set}" "${depth}"
        done
    done
}

stage_7() {
    local set
    need_model
    check_inference_config
    for set in "${tests[@]}"; do
        check_format "${set}"
    done
    for set in "${tests[@]}"; do
        separate "${set}"
    done
}

# check_inference_config: refuse one that ESPnet would, and depths of a model that has none
check_inference_config() {
    local options=(--train_config "${exp}/config.yaml")
    [[ -z ${opt[inference_enh_config]} ]] ||
        options+=(--inference_config "${opt[inference_enh_config]}")
    [[ -z ${depths[*]} ]] || options+=(--n_re)
    ((${#options[@]} == 2)) || tool check_inference "${options[@]}"
}

# separate SET: run inference on a test set, once for all depths that are not done
separate() {
    local data=${raw}/$1 facts results pending=() parts output work where left depth index folder
    separation_facts "$1"
    for depth in "${depths[@]}"; do
        folder=$(separated_dir "$1" "${depth}")
        separation_results "${folder}" "${depth}"
        is_done "${folder}/.done" "${folder}" "${facts[@]}" "${results[@]}" ||
            pending+=("${depth}")
    done
    ((${#pending[@]} > 0)) || return 0
    # the folders of a job's output that hold what each depth gives
    parts=("${pending[@]/#/re}")
    output='{out}'
    [[ -n ${pending[*]} ]] || parts=(default) output='{out}/default'
    # shared by all depths
    work=${exp}/inference/$(separation_name "$1" "")
    claim_work "${work}" "${facts[@]}"
    where=(--work "${work}" --data_dir "${data}" --num_spk "${opt[ref_num]}")
    left=$(ask collect_separated todo "${where[@]}" "${parts[@]}") || exit 1
    ((left == 0)) || run_inference "${data}" "${work}" "${output}" "${pending[@]}"
    for index in "${!pending[@]}"; do
        folder=$(separated_dir "$1" "${pending[index]}")
        separation_results "${folder}" "${pending[index]}"
        tool collect_separated collect "${where[@]}" --folder "${folder}" "${parts[index]}"
        mark_done "${folder}/.done" "${facts[@]}" "${results[@]}"
    done
}

# separation_facts SET: put what all separations of a test set depend on into facts
separation_facts() {
    local data=${raw}/$1
    facts=(--input "${data}/.done" --input "${exp}/config.yaml"
        --input "${exp}/${opt[inference_model]}" --option "inference_args=${opt[inference_args]}")
    [[ -z ${opt[inference_enh_config]} ]] || facts+=(--input "${opt[inference_enh_config]}")
}

# separation_results FOLDER N_RE: put the facts of a separation at a depth into results
separation_results() {
    local list
    results=(--option "n_re=$2")
    for list in "${test_lists[@]:1}"; do
        results+=(--audio "$1/${list}")
    done
}

# run_inference DATA WORK OUTPUT N_RE...: separate what WORK/todo.scp lists at these depths
run_inference() {
    local data=$1 work=$2 output=$3 options=() label extra
    shift 3
    label="inference ${work##*/}"
    read -r -a extra <<<"${opt[inference_args]}"
    [[ ${opt[gpu_inference]} == false ]] || options+=(--ngpu 1)
    [[ -z ${opt[inference_enh_config]} ]] ||
        options+=(--inference_config "${opt[inference_enh_config]}")
    [[ -z $* ]] || {
        options+=(--n_re "$@")
        label+=" (N_re $*)"
    }
    tool run_jobs --keys "${work}/todo.scp" --nj "${opt[inference_nj]}" \
        --work "${work}/jobs" --logs "${work}" --label "${label}" --count 'Enhancing' -- \
        "${opt[python]}" -m espnet2_tisdiss.bin.enh_inference --fs "${rate}" \
        --data_path_and_name_and_type "${data}/wav.scp,speech_mix,sound" \
        --train_config "${exp}/config.yaml" --model_file "${exp}/${opt[inference_model]}" \
        --key_file '{keys}' --output_dir "${output}" "${options[@]}" "${extra[@]}"
}

need_model() {
    local there=("${exp}"/*.pth)
    need "${exp}/config.yaml" "6 (training)"
    [[ -f ${exp}/${opt[inference_model]} || ! -f ${exp}/.done ]] ||
        die "--inference_model ${opt[inference_model]}: is not among the models: ${there[*]##*/}"
    need "${exp}/${opt[inference_model]}" "6 (training)"
}

stage_8() {
    local set facts report metrics
    report=(--enh_exp "${exp}" --model "${exp}/${opt[inference_model]}" --fs "${rate}")
    [[ -z ${opt[inference_enh_config]} ]] ||
        report+=(--inference_config "${opt[inference_enh_config]}")
    facts=(--option "scoring_protocol=${opt[scoring_protocol]}" --option "n_re=${depths[*]}"
        --exists "${exp}/RESULTS.md")
    for set in "${tests[@]}"; do
        need "${raw}/${set}/.done" "3 (format audio)"
        score_mixture "${set}"
    done
    for_each_separation score_separation
    [[ ! -f published.yaml ]] || {
        facts+=(--input published.yaml)
        report+=(--published published.yaml)
    }
    read -r -a metrics <<<"${opt[scoring_protocol]}"
    report+=(--metrics "${metrics[@]}")
    if is_done "${exp}/.results" "${exp}/RESULTS.md" "${facts[@]}"; then
        tool write_results "${report[@]}" --only_print
        return
    fi
    tool write_results "${report[@]}"
    mark_done "${exp}/.results" "${facts[@]}"
}

# score_mixture SET: score the unprocessed mixture as every speaker's estimate, once for all models
score_mixture() {
    local data=${raw}/$1 list estimates=()
    for list in "${test_lists[@]}"; do # an & would stand for the match in a replacement
        estimates+=("${data}/wav.scp")
    done
    score "${data}" "${data}/mixture_scoring" "${data}/.done" "${estimates[@]}"
    facts+=(--input "${data}/mixture_scoring/.done")
    report+=(--mixture "$1" "${data}/mixture_scoring")
}

# check_separated SET N_RE: refuse what other weights or options than these have separated
check_separated() {
    local folder facts results
    folder=$(separated_dir "$1" "$2")
    need "${folder}/.done" "7 (inference)"
    separation_facts "$1"
    separation_results "${folder}" "$2"
    refuse_changed "${folder}" "it was separated" "7 (inference)" "${facts[@]}" "${results[@]}"
}

# score_separation SET N_RE
score_separation() {
    local folder list estimates=()
    folder=$(separated_dir "$1" "$2")
    check_separated "$@"
    for list in "${test_lists[@]}"; do
        estimates+=("${folder}/${list}")
    done
    score "${raw}/$1" "${folder}/scoring" "${folder}/.done" "${estimates[@]}"
    facts+=(--input "${folder}/scoring/.done")
    report+=(--scored "$1" "${2:-default}" "${folder}")
}

# score DATA OUT MARKER LIST...: score lists of estimates (one for each of test_lists, of which that
# for the mixture is not used), which MARKER vouches for
score() {
    local data=$1 out=$2 marker=$3 work=$2.work facts result pairs=() number
    shift 4
    facts=(--input "${data}/.done" --input "${marker}")
    result=(--exists "${out}/result_si_snr.txt")
    is_done "${out}/.done" "${out}" "${facts[@]}" "${result[@]}" && return
    claim_work "${work}" "${facts[@]}"
    for ((number = 1; number <= opt[ref_num]; number++)); do
        pairs+=(--ref_scp "${data}/spk${number}.scp" --inf_scp "${!number}")
    done
    tool run_jobs --keys "${data}/wav.scp" --skip "${data}/silent_utts" \
        --nj "${opt[nj]}" --work "${work}/jobs" --logs "${out%/*}/logs/${out##*/}" \
        --label "scoring ${out}" --count 'Scoring ' -- \
        "${opt[python]}" -m espnet2_tisdiss.bin.enh_scoring "${pairs[@]}" \
        --key_file '{keys}' --output_dir '{out}'
    tool join_scores "${work}/jobs" "${out}"
    mark_done "${out}/.done" "${facts[@]}" "${result[@]}"
    rm -rf -- "${work}"
}

nothing_to_do() {
    log "nothing to do: $1"
}

stage_9() {
    nothing_to_do "speech recognition is not part of these recipes"
}

stage_10() {
    stage_9
}

stage_12() {
    nothing_to_do "models are not uploaded from here; stage 11 leaves a zip archive in ${exp}"
}

stage_11() {
    local archive aside facts file options=()
    archive=${exp}/${exp##*/}_${opt[inference_model]%.*}.zip
    aside=${exp}/.aside-${archive##*/}
    need_model
    need "${exp}/RESULTS.md" "8 (scoring)"
    facts=(--exists "${archive}")
    for file in config.yaml "${opt[inference_model]}" RESULTS.md; do
        facts+=(--input "${exp}/${file}")
    done
    is_done "${exp}/.packed" "${archive}" "${facts[@]}" && return
    for file in RESULTS.md quality_by_cost.png images; do
        [[ ! -e ${exp}/${file} ]] || options+=(--option "${exp}/${file}")
    done
    run "${opt[python]}" -m espnet2.bin.pack enh --train_config "${exp}/config.yaml" \
        --model_file "${exp}/${opt[inference_model]}" "${options[@]}" \
        --outpath "${aside}" >/dev/null
    mv -- "${aside}" "${archive}"
    mark_done "${exp}/.packed" "${facts[@]}"
    log "packed model: ${archive}"
}

# ---------------------------------------------------------------------------------------------

# wanted: whether the options ask for the current stage
wanted() {
    ((stage >= opt[stage] && stage <= opt[stop_stage])) || return 1
    case ${stage} in
        1 | 2 | 3 | 4) [[ ${opt[skip_data_prep]} == false ]] ;;
        5 | 6) [[ ${opt[skip_train]} == false ]] ;;
        7 | 8) [[ ${opt[skip_eval]} == false ]] ;;
    esac
}

main() {
    local number began
    read_options "$@"
    export PYTHON=${opt[python]} PYTHONUNBUFFERED=1
    export PYTHONPATH=${here%/*}${PYTHONPATH:+:${PYTHONPATH}}
    trap 'interrupt 130' INT
    trap 'interrupt 143' TERM HUP
    # before the hours that the data may take
    stage=6
    ! wanted || [[ -f ${exp}/.done ]] || need_training_gpus
    stage=7
    ! wanted || need_inference_gpu
    for number in {1..12}; do
        stage=${number}
        wanted || continue
        began=${SECONDS}
        # stage 1 may make the training set, and from stage 7 on nobody reads it
        ((stage == 1 || stage > 6)) || need_singles
        "stage_${number}"
        log "took $(((SECONDS - began) / 60)) min $(((SECONDS - began) % 60)) s"
    done
    stage=
    log "all stages asked for are done"
}

main "$@"
