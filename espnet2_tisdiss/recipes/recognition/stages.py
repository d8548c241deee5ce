"""The stages of a recipe's recognition; each is repeated only if its input has changed."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import yaml

from espnet2_tisdiss.atomic import write_atomically
from espnet2_tisdiss.lists import read_scp
from espnet2_tisdiss.recipes.program import run_or_exit
from espnet2_tisdiss.recipes.recognition.decoding import decodings, recognise_set
from espnet2_tisdiss.recipes.recognition.experiments import (
    cascade,
    joint,
    recogniser,
    separator,
    train,
)
from espnet2_tisdiss.recipes.recognition.options import Options
from espnet2_tisdiss.recipes.stages.marker import Step, content, option, outcome, presence
from espnet2_tisdiss.user_files import read_yaml


def prepare_data(options: Options) -> None:
    """Stage 1: run local/data.sh."""
    words = options.local_data_opts.split()
    sets = [options.train_set, options.valid_set, *options.tests]
    wanted = [Path("data", name, "text_spk1") for name in sets]
    singles = (options.train_singles, options.valid_singles)
    wanted += [Path("data", name, "text") for name in singles]
    step = Step(
        what="data preparation",
        marker=Path(f"data/.done_{options.train_set}"),
        facts=[option("local_data_opts", " ".join(words)), content(Path("local/data.sh"))],
        results=[presence(path) for path in wanted],
        unmade="local/data.sh made no {}: check the names of the sets",
    )
    step.do_once(lambda: run_or_exit(["bash", "local/data.sh", *words]))


def make_tokens(options: Options) -> None:
    """Stage 2: the sentencepiece model of the training transcripts, and ESPnet's token list."""
    from espnet2_tisdiss.recipes.recognition.tokens import write_tokens  # slow to import

    text, folder = Path("data", options.train_singles, "text"), options.tokens
    step = Step(
        what=str(folder),
        marker=folder / ".done",
        needs={text: "run stage 1 (data) first"},
        facts=[option("nbpe", str(options.nbpe)), content(text)],
        results=[presence(path) for path in (options.bpe_model, options.token_list)],
    )
    step.do_once(
        lambda: write_tokens(
            read_scp(text).values(), options.nbpe, options.bpe_model, options.token_list
        ),
    )


def train_recogniser(options: Options) -> None:
    """Stage 3: ESPnet's training of a recogniser of single utterances."""
    experiment = recogniser(options)
    tokens = (options.bpe_model, options.token_list)
    step = Step(
        what=str(experiment.folder),
        marker=experiment.folder / ".done",
        needs=dict.fromkeys(tokens, "run stage 2 (tokens) first"),
        facts=[
            *map(content, (options.asr_config, *tokens)),
            option("asr_args", options.asr_args),
        ],
    )
    command = [
        *(sys.executable, "-m", "espnet2.bin.asr_train", "--config", str(options.asr_config)),
        *("--token_type", "bpe", "--bpemodel", str(options.bpe_model)),
        *("--token_list", str(options.token_list), *options.asr_args.split()),
    ]
    sets = {"train": options.train_singles, "valid": options.valid_singles}
    train(options, command, experiment, sets, {"wav.scp": "speech", "text": "text"}, step)


def train_jointly(options: Options) -> None:
    """Stage 4: join separator and recogniser, and train both."""
    join(options)
    experiment, parts = joint(options), (separator(options), recogniser(options))
    config, weights = experiment.folder / "training.yaml", [part.files[1] for part in parts]
    write_config(options, config)
    step = Step(
        what=str(experiment.folder),
        marker=experiment.folder / ".done",
        facts=[
            *map(content, (config, *weights)),
            option("enh_asr_args", options.enh_asr_args),
        ],
    )
    command = [
        *(sys.executable, "-m", "espnet2_tisdiss.bin.enh_s2t_train", "--config", str(config)),
        *("--init_param", f"{weights[0]}::enh_model", f"{weights[1]}::s2t_model"),
        *options.enh_asr_args.split(),
    ]
    signals = {"wav.scp": "speech"}
    for number in range(1, cascade(options).num_spk + 1):
        signals[f"spk{number}.scp"] = f"speech_ref{number}"
        signals[f"text_spk{number}"] = f"text_spk{number}"
    sets = {"train": options.train_set, "valid": options.valid_set}
    train(options, command, experiment, sets, signals, step)


def join(options: Options) -> None:
    """Join separator and recogniser without further training: the cascade."""
    experiment, parts = cascade(options), (separator(options), recogniser(options))
    step = Step(
        what=str(experiment.folder),
        marker=experiment.folder / ".done",
        needs=parts[0].needs | parts[1].needs,
        facts=[fact for part in parts for fact in part.facts],
        results=[presence(path) for path in experiment.files],
    )

    def work() -> None:
        from espnet2_tisdiss.espnet.joint_parts import write_cascade  # slow to import

        write_cascade(parts[0].files, parts[1].files, *experiment.files)

    step.do_once(work)


def write_config(options: Options, path: Path) -> None:
    """Write the configuration of the joint training: both parts, and how they are trained."""
    from espnet2_tisdiss.espnet.joint_parts import joint_config  # slow to import

    parts = [read_yaml(part(options).files[0]) for part in (separator, recogniser)]
    config = joint_config(*parts) | read_yaml(options.enh_asr_config)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, yaml.safe_dump(config, sort_keys=False))


def recognise(options: Options) -> None:
    """Stage 5: recognise every test set: references, mixture, and the estimates at every depth."""
    for name in options.tests:
        recognise_set(options, name)


def score(options: Options) -> None:
    """Stage 6: word error rates of every test set, as a table and a picture."""
    from espnet2_tisdiss.recipes.recognition.results import write_results  # slow to import

    experiment = joint(options)
    path = experiment.folder / "RESULTS.md"
    for decoded in decodings(options):
        decoded.require("it was recognised", "run stage 5 (recognition) first")
    texts = [Path("data", name, f"text_spk{n}") for name in options.tests for n in (1, 2)]
    step = Step(
        what=str(path),
        marker=experiment.folder / ".results",
        facts=[*map(outcome, decodings(options)), *map(content, texts)],
        results=[presence(path)],
    )
    step.do_once(lambda: write_results(options, path))
    sys.stdout.write(path.read_text(encoding="utf-8"))


def pack(options: Options) -> None:
    """Stage 7: write the joint model's folder, which ESPnet and this package load."""
    from espnet2_tisdiss.pretrained.packing import META, pack_model  # slow to import

    experiment = joint(options)
    exp, (config, weights) = experiment.folder, experiment.files
    results, folder = exp / "RESULTS.md", exp / "packed"
    step = Step(
        what=str(folder),
        marker=exp / ".packed",
        needs=experiment.needs | {results: "run stage 6 (word error rates) first"},
        facts=[*experiment.facts, content(results)],
        results=[presence(folder / META)],
    )

    def work() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        files = {"train_config": str(config), "model_file": str(weights)}
        pack_model(files, folder, exp.name)

    step.do_once(work)


STAGES = {
    1: prepare_data,
    2: make_tokens,
    3: train_recogniser,
    4: train_jointly,
    5: recognise,
    6: score,
    7: pack,
}
