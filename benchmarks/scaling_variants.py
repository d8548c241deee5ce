"""The models of the scaling experiment: variants of one configuration in one aspect each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType


@dataclass(frozen=True)
class Variant:
    """A model, trained under the same conditions as the others.

    Attributes:
        name: of the model.
        meaning: a short description.
        n_re: repetitions N_re in training, or those of equal cost.
        options: changed options of the separator, as text.
        one_depth: whether it has no repetitions to choose: it runs all of its layers once, and is
            compared with the others at ``n_re``.
    """

    name: str
    meaning: str
    n_re: int
    options: Mapping[str, str] = field(hash=False)
    one_depth: bool = False

    def enh_args(self) -> list[str]:
        """Return options of enh_train that change the shared configuration to this model."""
        return [f"--separator_conf {name}={value}" for name, value in self.options.items()]

    def separated_at(self, depths: list[int]) -> list[int]:
        """Return the values of ``--n_re`` where the other models use ``depths``."""
        return [1] if self.one_depth else depths


def _repeated(n_re: int) -> Variant:
    return Variant(
        f"re{n_re}", f"trained at N_re {n_re}", n_re, {"reconstructor_repeat_times": str(n_re)}
    )


TRAINED_AT = (1, 2, 3, 6)  # N_re of the models that differ only in it
VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        variant.name: variant
        for variant in (
            *(_repeated(n_re) for n_re in TRAINED_AT),
            Variant(
                "unshared",
                "as re3, every layer with its own weights",
                3,
                {
                    "encoder_n_layers": "2",
                    "encoder_repeat_times": "1",
                    "reconstructor_n_layers": "3",
                    "reconstructor_repeat_times": "1",
                    # as re3: one loss a layer, and the splitter's
                    "reconstructor_n_layers_multi_decoder": "true",
                },
                one_depth=True,
            ),
            Variant(
                "single_loss",
                "as re3, with a loss at the last depth alone",
                3,
                {
                    "reconstructor_repeat_times": "3",
                    "reconstructor_multi_decoder": "false",
                    "spliter_loss": "false",
                },
            ),
        )
    }
)

VARIED = frozenset(name for variant in VARIANTS.values() for name in variant.options)


@dataclass(frozen=True)
class Run:
    """One training of one model, with its evaluation.

    Attributes:
        variant: the model.
        seed: of the training.
        folder: the experiment's.
    """

    variant: Variant
    seed: int
    folder: Path

    @property
    def name(self) -> str:
        """Name of the run, that of its folder."""
        return f"{self.variant.name}_seed{self.seed}"

    @property
    def finished(self) -> bool:
        """Whether it has been trained and scored."""
        return (self.folder / ".results").is_file()


def plan(experiment: Path, variants: list[str], seeds: list[int]) -> list[Run]:
    """All runs of an experiment's folder, every model with the first seed before the next seed."""
    return [
        Run(VARIANTS[name], seed, experiment / f"{name}_seed{seed}")
        for seed in seeds
        for name in variants
    ]
