"""ESPnet's ``espnet2.bin.enh_s2t_train`` with a loss at every depth; trainings can resume.

Separation and recognition are trained together; see :mod:`espnet2_tisdiss.espnet.joint`.
"""

from argparse import ArgumentParser
from collections.abc import Sequence

from espnet2_tisdiss.espnet.failures import train
from espnet2_tisdiss.espnet.joint import JointTask

__all__ = ["get_parser", "main"]


def get_parser() -> ArgumentParser:
    """Return ESPnet's parser with this package's options added."""
    return JointTask.get_parser()


def main(cmd: Sequence[str] | None = None) -> None:
    """Train with the options of the command line, or of ``cmd``, as ESPnet's command does."""
    train(JointTask, "enh_s2t_train", cmd)


if __name__ == "__main__":
    main()
