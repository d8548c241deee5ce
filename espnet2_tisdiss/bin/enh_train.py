"""ESPnet's ``espnet2.bin.enh_train`` with the plugin registered and trainings that can resume."""

import sys
from collections.abc import Sequence

from espnet2.bin.enh_train import get_parser

from espnet2_tisdiss.errors import OptionError, TisdissError
from espnet2_tisdiss.espnet.training import ResumableTask

__all__ = ["get_parser", "main"]


def main(cmd: Sequence[str] | None = None) -> None:
    """Train with the options of the command line, or of ``cmd``, as ESPnet's command does.

    An error of the package is one line on stderr, and the exit status is 1.
    """
    try:
        ResumableTask.main(cmd=cmd)
    except (TisdissError, OptionError) as error:
        sys.exit(f"enh_train: {error}")


if __name__ == "__main__":
    main()
