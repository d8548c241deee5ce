"""The models of the package: finding them, and checking their weights.

A folder of espnet2_tisdiss/models/ holds config.yaml, model.pth, its SHA-256 in the format of
``sha256sum``, a model card (README.md), full results (RESULTS.md) and an example: a mixture in mix/
and its sources in s1/ and s2/. Nothing heavy is imported here, because help and completion name the
default model.
"""

from pathlib import Path

from espnet2_tisdiss.checksums import CHECKSUMS, checksum_line
from espnet2_tisdiss.errors import TisdissError

MODELS = Path(__file__).parents[1] / "models"
DEFAULT_MODEL = "voices"
MODEL_FILE = "model.pth"
EXAMPLE = "example"
# description of each model
TRAINED_ON = {
    "mini": "synthesised speech, two speakers at 8 kHz",
    "voices": "speech of 500 people, two speakers at 16 kHz",
}


def bundled_models() -> list[str]:
    """Return the names of the models that come with the package."""
    return sorted(path.parent.name for path in MODELS.glob("*/config.yaml"))


def bundled_model(name: str = DEFAULT_MODEL) -> Path:
    """Return the folder of a model that comes with the package, its weights checked.

    Raises:
        TisdissError: there is no model of this name, or its weights are not the packaged ones.
    """
    if name not in bundled_models():
        there = ", ".join(bundled_models()) or "none"
        raise TisdissError(f"{name}: no model that comes with the package; there: {there}")
    weights = MODELS / name / MODEL_FILE
    if not _is_whole(weights):
        raise TisdissError(
            f"{weights}: is missing or is not the file that was packed (SHA-256 in {CHECKSUMS}); "
            "install espnet2_tisdiss again"
        )
    return weights.parent


def example(name: str = DEFAULT_MODEL) -> Path:
    """Return the folder of a model's example, with mix/, s1/, s2/."""
    return MODELS / name / EXAMPLE


def _is_whole(weights: Path) -> bool:
    """Whether the weights match the checksum in their folder."""
    try:
        recorded = weights.with_name(CHECKSUMS).read_text(encoding="utf-8")
        return recorded == checksum_line(weights)
    except (OSError, UnicodeDecodeError):
        return False
