"""ESPnet's ``espnet2.bin.enh_train`` with the plugin registered; trainings can resume."""

from collections.abc import Sequence

from espnet2.bin.enh_train import get_parser

from espnet2_tisdiss.espnet.failures import train
from espnet2_tisdiss.espnet.training import ResumableTask

__all__ = ["get_parser", "main"]


def main(cmd: Sequence[str] | None = None) -> None:
    """Train with the options of the command line, or of ``cmd``, as ESPnet's command does."""
    train(ResumableTask, "enh_train", cmd)


if __name__ == "__main__":
    main()
