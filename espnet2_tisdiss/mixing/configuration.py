"""How mixtures are drawn: the options of ``mixing_conf``, and their checks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, TypeGuard

from espnet2_tisdiss.checks import check_choice, check_number

PAIRS = MappingProxyType({"women": "FF", "men": "MM", "mixed": "FM"})


@dataclass
class MixingConfig:
    """How mixtures are drawn: ``mixing_conf`` of a training configuration.

    Attributes:
        bank: folder of the recordings.
        seconds: length of a mixture.
        pairs: relative frequencies of ``women``, ``men`` and ``mixed`` pairs, among the kinds that
            the bank has. If it has none of them, because no speaker's sex is known, speakers are
            paired at random. Otherwise speakers of unknown sex are not drawn.
        level_db: largest level difference between the two speakers.
        speeds: factors on speed and pitch; one is drawn for each voice.
        partial_share: fraction of mixtures in which one speaker is silent at the start or the end.
        alone_share: range of that silence, as fractions of the mixture's length.
        room_share: fraction of mixtures in a room.
        noise_share: fraction of mixtures with noise.
        noise_snr_db: range of the louder speaker's level above the noise.
        clean_snr_db: recordings with a lower signal-to-noise ratio are noisy.
        noisy_weight: frequency of noisy recordings, relative to clean ones.
        unsure_sources: data sets whose speaker labels are guesses. Two speakers of such sets, who
            may be the same person, are never mixed.
    """

    bank: str
    seconds: float = 3.0
    pairs: Mapping[str, float] = field(
        default_factory=lambda: {"women": 0.35, "men": 0.25, "mixed": 0.4}
    )
    level_db: float = 5.0
    speeds: Sequence[float] = (0.9, 0.95, 1.0, 1.05, 1.1)
    partial_share: float = 0.3
    alone_share: tuple[float, float] = (0.2, 0.5)
    room_share: float = 0.25
    noise_share: float = 0.25
    noise_snr_db: tuple[float, float] = (5.0, 25.0)
    clean_snr_db: float = 30.0
    noisy_weight: float = 0.5
    unsure_sources: Sequence[str] = ()

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> "MixingConfig":
        """Build from a mapping of options.

        Raises:
            ValueError: an option is unknown, missing or has a wrong value; the message names it.
        """
        names = [option.name for option in fields(cls)]
        if not isinstance(options, Mapping):
            raise ValueError(f"mixing_conf must be a mapping of options; got {options!r}")
        for name in options:
            check_choice("an option of mixing_conf", name, names)
        if not options.get("bank"):
            raise ValueError("mixing_conf lacks bank, the folder of the recordings")
        return cls(**options)

    def __post_init__(self) -> None:
        """Check every option.

        Raises:
            ValueError: a value is wrong; the message names the option and the values allowed.
        """
        check_number("seconds", self.seconds, 0.5, 3600)
        check_number("level_db", self.level_db, 0, 100)
        check_number("clean_snr_db", self.clean_snr_db, float("-inf"), float("inf"))
        for name in ("partial_share", "room_share", "noise_share", "noisy_weight"):
            _check_share(name, getattr(self, name))
        _check_range("alone_share", self.alone_share, 0, 1)
        _check_range("noise_snr_db", self.noise_snr_db, -100, 100)
        if not isinstance(self.pairs, Mapping):
            raise ValueError(
                f"pairs must be a mapping of {', '.join(PAIRS)} to numbers; got {self.pairs!r}"
            )
        for name in self.pairs:
            check_choice("a pair", name, list(PAIRS))
            check_number(f"pairs: {name}", self.pairs[name], 0, float("inf"))
        if not sum(self.pairs.values()) > 0:
            raise ValueError(f"pairs must not all be 0; got {dict(self.pairs)}")
        if not _is_list(self.speeds) or not self.speeds:
            raise ValueError(f"speeds must be a list of factors; got {self.speeds!r}")
        for speed in self.speeds:
            check_number("speeds", speed, 0.25, 4)
        if not _is_list(self.unsure_sources):
            raise ValueError(f"unsure_sources must be a list; got {self.unsure_sources!r}")


def _is_list(value: Any) -> TypeGuard[Sequence[Any]]:
    """Return whether a value is a list or tuple, not a string."""
    return isinstance(value, Sequence) and not isinstance(value, str)


def _check_share(name: str, value: Any) -> None:
    """Raise ValueError unless a value is a number in [0, 1]."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError(f"{name} must be a number from 0 to 1; got {value!r}")


def _check_range(name: str, value: Any, low: float, high: float) -> None:
    """Raise ValueError unless a value is two numbers in [low, high), the smaller one first."""
    if not _is_list(value) or len(value) != 2:
        raise ValueError(f"{name} must be a list of two numbers; got {value!r}")
    for number in value:
        check_number(name, number, low, high)
    if value[0] > value[1]:
        raise ValueError(f"{name} must start with the smaller number; got {list(value)}")
