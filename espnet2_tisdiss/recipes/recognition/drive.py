"""Run the stages of a recipe's recognition; a recipe's run.sh calls this from its own folder."""

from __future__ import annotations

import logging
import sys

from espnet2_tisdiss.recipes.program import run_main
from espnet2_tisdiss.recipes.recognition.options import parse
from espnet2_tisdiss.recipes.recognition.stages import STAGES


def main() -> None:
    """Run the stages requested on the command line."""
    options = parse()
    options.check()
    for stage in range(options.stage, options.stop_stage + 1):
        logging.basicConfig(
            format=f"%(asctime)s (run.sh) stage {stage}: %(message)s",
            datefmt="%Y-%m-%d %H:%M:%S",
            level=logging.INFO,
            force=True,
        )
        STAGES[stage](options)


if __name__ == "__main__":
    sys.exit(run_main("run.sh", main))
