"""The options of a recipe's recognition, and the names derived from them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet2_tisdiss.checks import shown, whole_number
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.recipes.program import positive

LAST_STAGE = 7
HELP = """\
Recognise two speakers: a separator and a recogniser, joined and trained together.

Stages: 1 data, 2 tokens, 3 recogniser, 4 joint training, 5 recognition at every depth, 6 word error
rates, 7 packing. Finished stages are not repeated unless their input or options changed.
"""


@dataclass(frozen=True)
class Options:
    """The options of the command line; :func:`parse` has their help texts."""

    stage: int
    stop_stage: int
    nj: int
    ngpu: int
    gpu_inference: bool
    separation: Path
    separation_model: str
    expdir: Path
    local_data_opts: str
    train_set: str
    valid_set: str
    test_sets: str
    train_singles: str
    valid_singles: str
    nbpe: int
    asr_config: Path
    asr_args: str
    enh_asr_config: Path
    enh_asr_args: str
    inference_config: Path
    n_re: str

    @property
    def tokens(self) -> Path:
        """Folder of the tokens."""
        return self.expdir / f"tokens_bpe{self.nbpe}"

    @property
    def bpe_model(self) -> Path:
        """The sentencepiece model."""
        return self.tokens / "bpe.model"

    @property
    def token_list(self) -> Path:
        """ESPnet's list of tokens."""
        return self.tokens / "tokens.txt"

    @property
    def tests(self) -> list[str]:
        """The test sets."""
        return self.test_sets.split()

    @property
    def depths(self) -> list[int]:
        """The depths, from shallow to deep."""
        return sorted({int(word) for word in self.n_re.split()})

    def check(self) -> None:
        """Check for errors that would otherwise show only after hours."""
        for path in (self.asr_config, self.enh_asr_config, self.inference_config):
            if not path.is_file():
                raise TisdissError(f"{path}: no such file")
        if not self.tests:
            raise TisdissError("--test_sets: names no set")
        try:
            possible = bool(self.depths) and self.depths[0] > 0
        except ValueError:
            possible = False
        if not possible:
            raise TisdissError(f"--n_re '{self.n_re}': expected numbers from 1 on")


def truth(text: str) -> bool:
    """Parse true or false; a type for argparse."""
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"expected true or false, found {shown(text)}")
    return text == "true"


def count(text: str) -> int:
    """Parse a number of 0 or more; a type for argparse."""
    number = whole_number(text)
    if number is None:
        raise argparse.ArgumentTypeError(f"expected a whole number, found {shown(text)}")
    return number


def parse(words: Sequence[str] | None = None) -> Options:
    """Parse a command line, whose names may be written with hyphens."""
    parser = argparse.ArgumentParser(
        prog="run.sh",
        description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )

    def add(name: str, meaning: str, **options: object) -> None:
        default = " [%(default)s]" if options.get("default") not in (None, "") else ""
        names = dict.fromkeys([f"--{name}", f"--{name.replace('_', '-')}"])
        parser.add_argument(*names, help=meaning + default, **options)  # type: ignore[arg-type]

    stages, path = range(1, LAST_STAGE + 1), {"type": Path, "required": True, "metavar": "PATH"}
    add("stage", "first stage to run", type=int, choices=stages, default=1)
    add("stop_stage", "last stage to run", type=int, choices=stages, default=LAST_STAGE)
    add("nj", "processes", type=positive, default=2)
    add("ngpu", "GPUs for training; 0 trains on the CPU", type=count, default=0)
    add("gpu_inference", "true: recognise on the GPU", type=truth, default=False)
    add("separation", "folder of the separator's experiment", **path)
    add("separation_model", "weights of the separator", default="valid.loss.ave.pth")
    add("expdir", "folder of experiments", type=Path, default=Path("exp"))
    add("local_data_opts", "options of local/data.sh", default="")
    for name in ("train", "valid"):
        add(f"{name}_set", "mixtures with transcripts, a folder of data/", required=True)
        add(f"{name}_singles", "single utterances, a folder of data/", required=True)
    add("test_sets", "mixtures to recognise, separated by spaces", required=True)
    add("nbpe", "tokens of the sentencepiece model", type=positive, default=200)
    add("asr_config", "configuration of the recogniser", **path)
    add("asr_args", "options added to it", default="")
    add("enh_asr_config", "configuration of the joint training", **path)
    add("enh_asr_args", "options added to it", default="")
    add("inference_config", "configuration of the decoding", **path)
    add("n_re", "reconstructor repetitions to recognise at", default="1 2 3 6")
    return Options(**vars(parser.parse_args(words)))
