"""The models of a recipe's recognition, and training those that the recipe trains."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from espnet2_tisdiss.lists import read_scp, write_scp
from espnet2_tisdiss.recipes.recognition.options import Options
from espnet2_tisdiss.recipes.stages.marker import Fact, Step, check_beginning, content, presence
from espnet2_tisdiss.user_files import read_yaml

BEST = "valid.acc.ave.pth"  # of the trainings here

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Experiment:
    """A model.

    Attributes:
        folder: folder of the experiment.
        weights: name of its weights file.
        advice: what to do if they are missing.
    """

    folder: Path
    weights: str
    advice: str

    @property
    def files(self) -> tuple[Path, Path]:
        """Its configuration and its weights."""
        return self.folder / "config.yaml", self.folder / self.weights

    @property
    def needs(self) -> dict[Path, str]:
        """Its files, with advice."""
        return dict.fromkeys(self.files, self.advice)

    @property
    def facts(self) -> list[Fact]:
        """The content of its files."""
        return [content(path) for path in self.files]

    @property
    def num_spk(self) -> int:
        """The number of speakers of a joint model."""
        return len(read_yaml(self.files[0])["text_name"])


def separator(options: Options) -> Experiment:
    """The separator, trained by another recipe."""
    advice = "give --separation the folder of a trained separator"
    return Experiment(options.separation, options.separation_model, advice)


def recogniser(options: Options) -> Experiment:
    """The recogniser of single speakers."""
    folder = options.expdir / f"asr_{options.asr_config.stem}"
    return Experiment(folder, BEST, "run stage 3 (recogniser) first")


def cascade(options: Options) -> Experiment:
    """Separator and recogniser, joined without further training."""
    folder = options.expdir / f"cascade_{options.asr_config.stem}"
    return Experiment(folder, "model.pth", "run stage 4 (joint training) first")


def joint(options: Options) -> Experiment:
    """Separator and recogniser, trained together."""
    folder = options.expdir / f"enh_asr_{options.enh_asr_config.stem}"
    return Experiment(folder, BEST, "run stage 4 (joint training) first")


def train(
    options: Options,
    command: Sequence[str],
    experiment: Experiment,
    sets: Mapping[str, str],
    signals: Mapping[str, str],
    step: Step,
) -> None:
    """Train unless that is done, or resume a training.

    Args:
        options: options of the recipe.
        command: the training's command, without its data.
        experiment: the experiment to train.
        sets: part (``train``, ``valid``) -> data directory.
        signals: list of a directory -> its name in ESPnet's model.
        step: the settings and inputs of the training, apart from its data.
    """
    from espnet2_tisdiss.recipes.stages import follow_training  # slow to import

    exp, shapes = experiment.folder, experiment.folder / "shapes"
    folders = {part: Path("data", name) for part, name in sets.items()}
    lists = [folder / name for folder in folders.values() for name in signals]
    step = replace(
        step,
        needs={**step.needs, **dict.fromkeys(lists, "run stage 1 (data) first")},
        facts=[*step.facts, *map(content, lists)],
        results=[presence(path) for path in experiment.files],
    )
    words = [*command, "--ngpu", str(options.ngpu), "--resume", "true", "--output_dir", str(exp)]
    if options.ngpu > 1:
        words += ["--multiprocessing_distributed", "true"]
    for part, folder in folders.items():
        for name, signal in signals.items():
            kind = "sound" if name.endswith(".scp") else "text"
            words += [f"--{part}_data_path_and_name_and_type", f"{folder / name},{signal},{kind}"]
        words += [f"--{part}_shape_file", str(shapes / part)]

    def begin_and_train() -> None:
        begun = replace(step, marker=exp / ".begun", results=())
        if not check_beginning(begun, exp):
            begun.mark_done()
        for part, folder in folders.items():
            _write_shapes(folder / "wav.scp", shapes / part)
        log.info("training in %s, log %s", exp, exp / "train.log")
        follow_training.train(words, exp / "train.log", exp / "config.yaml")

    step.do_once(begin_and_train)


def _write_shapes(scp: Path, path: Path) -> None:
    """Write the number of samples of each utterance, by which ESPnet makes batches."""
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    files = read_scp(scp)
    write_scp(path, {key: str(soundfile.info(file).frames) for key, file in files.items()})
