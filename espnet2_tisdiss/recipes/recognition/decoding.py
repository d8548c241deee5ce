"""Stage 5: recognising the references, the mixtures and the estimates."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from espnet2_tisdiss.lists import read_scp, write_scp
from espnet2_tisdiss.recipes.recognition.experiments import (
    Experiment,
    cascade,
    joint,
    recogniser,
)
from espnet2_tisdiss.recipes.recognition.options import Options
from espnet2_tisdiss.recipes.stages.marker import Step, audio, content, option, presence
from espnet2_tisdiss.recipes.stages.run_jobs import Plan, run_jobs

# signals recognised without a separator: the references, or the mixture instead of each
SINGLE = {"clean1": "spk1.scp", "clean2": "spk2.scp", "mixture": "wav.scp"}


def recognise_set(options: Options, name: str) -> None:
    """Recognise a test set with all models."""
    recognise_singly(options, name)
    for experiment in (cascade(options), joint(options)):
        recognise_estimates(options, name, experiment)


def recognise_singly(options: Options, name: str) -> None:
    """Recognise the references and the mixtures of a set with the recogniser alone."""
    experiment = recogniser(options)
    step = decoding(options, name, experiment)
    folder = step.marker.parent

    def work() -> None:
        sources = {
            f"{key}-{label}": path
            for label, scp in SINGLE.items()
            for key, path in read_scp(Path("data", name, scp)).items()
        }
        folder.mkdir(parents=True, exist_ok=True)
        write_scp(folder / "wav.scp", sources)
        command = _command(options, experiment, folder / "wav.scp")
        _run(options, command, folder / "wav.scp", folder, {"": ["text"]}, "best hypo: ")

    step.do_once(work)


def recognise_estimates(options: Options, name: str, experiment: Experiment) -> None:
    """Separate the mixtures of a set with a joint model and recognise the estimates."""
    step, scp = decoding(options, name, experiment), Path("data", name, "wav.scp")

    def work() -> None:
        command = _command(options, experiment, scp)
        command += ["--n_re", *map(str, options.depths)]
        texts = [f"text_spk{number}" for number in range(1, experiment.num_spk + 1)]
        lists = {f"re{depth}": texts for depth in options.depths}
        _run(options, command, scp, step.marker.parent, lists, "Recognising ")

    step.do_once(work)


def decodings(options: Options) -> list[Step]:
    """Return the steps of all test sets and models."""
    models = (recogniser(options), cascade(options), joint(options))
    return [decoding(options, name, model) for name in options.tests for model in models]


def decoding(options: Options, name: str, experiment: Experiment) -> Step:
    """Return the step that recognises a test set with a model."""
    folder, data = experiment.folder / f"decode_{name}", Path("data", name)
    is_alone = experiment == recogniser(options)
    depths = [] if is_alone else [option("n_re", " ".join(map(str, options.depths)))]
    return Step(
        what=str(folder),
        marker=folder / ".done",
        shared=experiment.folder,
        needs=experiment.needs,
        facts=[
            *depths,
            *experiment.facts,
            content(options.inference_config),
            *(audio(data / scp) for scp in (SINGLE.values() if is_alone else ["wav.scp"])),
        ],
        results=[presence(folder)],
    )


def read_texts(path: Path) -> dict[str, str]:
    """Read a list of texts, of which some may be empty."""
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    return {key: text for key, _, text in (line.partition(" ") for line in lines)}


def _command(options: Options, experiment: Experiment, scp: Path) -> list[str]:
    config, weights = experiment.files
    return [
        *(sys.executable, "-m", "espnet2_tisdiss.bin.asr_inference"),
        *("--ngpu", str(int(options.gpu_inference))),
        *("--config", str(options.inference_config)),
        *("--asr_train_config", str(config), "--asr_model_file", str(weights)),
        *("--data_path_and_name_and_type", f"{scp},speech,sound"),
        *("--key_file", "{keys}", "--output_dir", "{out}"),
    ]


def _run(
    options: Options,
    command: list[str],
    scp: Path,
    folder: Path,
    lists: Mapping[str, Sequence[str]],
    count: str,
) -> None:
    """Recognise in parallel processes, and join their results.

    Args:
        options: options of the recipe.
        command: recognises the keys of a file.
        scp: list of the audio; ESPnet needs keys in its order.
        folder: folder of the results.
        lists: subfolder of the output -> names of its lists.
        count: pattern of an utterance's log line.
    """
    jobs, keys = folder / "jobs", list(read_scp(scp))
    run_jobs(Plan(jobs, folder / "logs/job", [keys], options.nj, command, str(folder), count))
    for name, texts in lists.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for text in texts:
            found: dict[str, str] = {}
            for part in sorted(jobs.glob("*/out")):
                found |= read_texts(part / name / "1best_recog" / text)
            write_scp(folder / name / text, found)
