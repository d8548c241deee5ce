"""Run stages of the enhancement system for ESPnet3: ``python -m espnet2_tisdiss.espnet3 ...``."""

import sys
from collections.abc import Sequence

from espnet2_tisdiss.errors import TisdissError

NEEDED = "lightning dask distributed dask-jobqueue"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stages that the command line, or ``argv``, names."""
    try:
        from espnet3.systems.launch import launch

        from espnet2_tisdiss.espnet3.system import EnhancementSystem
    except ModuleNotFoundError as error:
        if error.name != "lightning":
            raise
        sys.exit(f"espnet3: Lightning is not installed: pip install {NEEDED}")
    try:
        launch(EnhancementSystem, conf_package="espnet2_tisdiss.espnet3", argv=argv)
    except Exception as error:  # Hydra wraps exceptions of a class that a configuration names
        if (reason := _reason(error)) is None:
            raise
        sys.exit(f"espnet3: {reason}")


def _reason(error: BaseException | None) -> TisdissError | None:
    """Return the user error in the chain of causes of ``error``, if there is one."""
    while error is not None and not isinstance(error, TisdissError):
        error = error.__cause__ or error.__context__
    return error


if __name__ == "__main__":
    main()
