"""Run an unchanged ESPnet command with the plugin: ``python -m espnet2_tisdiss -m MODULE ...``.

Made to stand in for the interpreter in pipelines that let one name it, such as ESPnet's
``enh.sh --python "python3 -m espnet2_tisdiss"``: an ESPnet command module runs with the plugin
registered, and anything else is handed to Python as it is.
"""

import importlib
import os
import sys

import espnet2_tisdiss  # noqa: F401  (registers, also in the processes that training starts)


def main() -> None:
    """Run ``-m espnet2.bin.X ARGS`` in this process; replace it by Python for all else."""
    arguments = sys.argv[1:]
    if len(arguments) < 2 or arguments[0] != "-m" or not arguments[1].startswith("espnet2.bin."):
        os.execv(sys.executable, [sys.executable, *arguments])
    # Called, not run as __main__: distributed training starts processes that import this
    # process's main module, and so the plugin.
    sys.argv = arguments[1:]
    importlib.import_module(arguments[1]).main()


if __name__ == "__main__":
    main()
