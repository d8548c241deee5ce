"""The model card of a trained model, from the template model_card.md."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

import numpy as np

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.evaluate.tables import markdown_table
from espnet2_tisdiss.recipes.stages import draw_training, set_results
from espnet2_tisdiss.recipes.stages.result_tables import by_pair
from espnet2_tisdiss.user_files import read_yaml

if TYPE_CHECKING:
    from espnet2_tisdiss import SeparateSpeech

TEMPLATE = Path(__file__).with_name("model_card.md")


@dataclass(frozen=True)
class Gains:
    """SI-SNR improvements of a test set, in dB: depth -> mixture -> improvement.

    Attributes:
        name: name of the set.
        heading: a word or two that describe it.
        meaning: a sentence that describes it.
    """

    name: str
    by_depth: dict[int, dict[str, float]]
    heading: str
    meaning: str


@dataclass(frozen=True)
class About:
    """A recipe's description of its model, in a YAML file.

    Attributes:
        trained_on: the speech.
        good_for: what to use the model for,
        not_good_for: and what not.
        sets: heading and meaning of each test set, by the beginning of its name.
        example: how the example was made; empty: the card does not say.
    """

    trained_on: str
    good_for: str
    not_good_for: str
    sets: dict[str, list[str]]
    example: str = ""

    @classmethod
    def read(cls, path: Path) -> About:
        """Read the file; raise TisdissError if it does not have this form."""
        content = {"example": cls.example, **read_yaml(path)}
        expected = [field.name for field in dataclasses.fields(cls)]
        if sorted(content) != sorted(expected):
            raise TisdissError(f"{path}: expected the keys {', '.join(expected)}")
        for name, words in content["sets"].items():
            if not isinstance(words, list) or len(words) != 2:
                raise TisdissError(
                    f"{path}: sets: {name}: expected [heading, meaning], got {words}"
                )
        return cls(**content)


def read_gains(path: Path, test_sets: Sequence[str], about: About) -> list[Gains]:
    """Read the SI-SNR improvements of test sets from an experiment's RESULTS.csv."""
    try:
        read = set_results.read_gains(path)
    except FileNotFoundError:
        raise TisdissError(f"{path}: no such file; stage 8 of the recipe writes it") from None
    tables = {
        name: {int(label): gains for label, gains in depths.items() if label.isdecimal()}
        for name, depths in read.items()
    }
    tables = {name: depths for name, depths in tables.items() if depths}
    for name in test_sets:
        if name not in tables:
            there = ", ".join(tables) or "none"
            raise TisdissError(f"{path}: no depths of {name} were scored; sets there: {there}")
    described = {
        name: words
        for name in test_sets
        for start, words in about.sets.items()
        if name.startswith(start)
    }
    if missing := sorted(set(test_sets) - described.keys()):
        raise TisdissError(f"--about: sets: says nothing of {missing[0]}")
    return [Gains(name, tables[name], *described[name]) for name in test_sets]


def model_card(name: str, model: SeparateSpeech, all_gains: Sequence[Gains], about: About) -> str:
    """Return the model card, without the section of :func:`copy_curve`."""
    from espnet2_tisdiss.evaluate.cost import count_cost, parameters

    depths = sorted(set.intersection(*(set(gains.by_depth) for gains in all_gains)))
    cost = count_cost(model, depths)
    rows = [
        [
            str(n_re),
            *(f"{np.mean(list(gains.by_depth[n_re].values())):.2f}" for gains in all_gains),
            f"{cost[n_re] / 1e9:.2f}",
        ]
        for n_re in depths
    ]
    header = ["N_re", *(gains.heading for gains in all_gains), "GMAC/s"]
    counts = [
        _wrapped(f"- {gains.heading}: {gains.meaning}; {len(gains.by_depth[depths[0]])} mixtures")
        for gains in all_gains
    ]
    first = all_gains[0]
    config = model.separator.config
    card = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        name=name,
        structure=config.structure,
        rate=model.sample_rate,
        parameters=f"{parameters(model.enh_model) / 1e6:.2f}",
        trained_n_re=config.reconstructor_repeat_times,
        trained_on=_wrapped(f"**Trained on** {about.trained_on}"),
        good_for=_wrapped(f"**Good for** {about.good_for}"),
        not_good_for=_wrapped(f"**Not good for** {about.not_good_for}"),
        detail=detail_table(first, depths),
        first=first.heading,
        table=markdown_table(header, rows, compact=True),
        sets="\n".join(counts),
    )
    if about.example:
        card += f"\n{_wrapped(f'**Example** {about.example}')}\n"
    return card


def detail_table(gains: Gains, depths: Sequence[int]) -> str:
    """Return a set's improvements by sex, its median and the share of mixtures made worse."""
    pairs = by_pair(gains.by_depth[depths[0]])
    rows = []
    for n_re in depths:
        by_mixture = gains.by_depth[n_re]
        values = list(by_mixture.values())
        means = [np.mean([by_mixture[key] for key in keys]) for keys in pairs.values()]
        numbers = (f"{value:.2f}" for value in (*means, np.median(values)))
        rows.append([str(n_re), *numbers, f"{np.mean(np.less(values, 0)):.0%}"])
    header = ["N_re", *pairs, "median", "made worse"]
    return markdown_table(header, rows, compact=True)


def copy_curve(exp: Path, folder: Path) -> str:
    """Copy the training's curve, picture and table; return the card's section about it.

    If the experiment has none, nothing is copied and the section is empty.
    """
    names = (draw_training.PICTURE, draw_training.TABLE)
    if not all((exp / name).is_file() for name in names):
        return ""
    for name in names:
        (folder / name).write_bytes((exp / name).read_bytes())
    picture, table = names
    return (
        "\n**Training**: SI-SNR in dB by training step and depth, means of each epoch "
        f"([table]({table})).\n\n![SI-SNR by training step]({picture})\n"
    )


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 100, subsequent_indent="  " * text.startswith("- "))
