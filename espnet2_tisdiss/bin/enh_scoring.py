"""ESPnet's ``espnet2.bin.enh_scoring`` with the plugin registered and its output folder locked."""

from collections.abc import Sequence

from espnet2.bin import enh_scoring
from espnet2.bin.enh_scoring import get_parser

from espnet2_tisdiss.bin.commands import run_locked

__all__ = ["get_parser", "main"]


def main(cmd: Sequence[str] | None = None) -> None:
    """Score with the options of the command line, or of ``cmd``, as ESPnet's command does."""
    output_dir = get_parser().parse_args(cmd).output_dir
    run_locked("enh_scoring", output_dir, lambda: enh_scoring.main(cmd))


if __name__ == "__main__":
    main()
