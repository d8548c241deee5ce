"""Run an unchanged ESPnet command with the plugin: ``python -m espnet2_tisdiss -m MODULE ...``.

``python -m espnet2_tisdiss espnet enhance ...`` runs a command that ESPnet installs.

It replaces the interpreter in pipelines that have an option for it, such as ESPnet's
``enh.sh --python "python3 -m espnet2_tisdiss"``: ESPnet's command modules run with the plugin
registered; any other arguments are passed to Python unchanged.
"""

import importlib
import os
import sys
from importlib.metadata import entry_points

import espnet2_tisdiss  # noqa: F401  (registers, also in processes that training starts)


def main() -> None:
    """Run a command of ESPnet in this process; anything else goes to the Python interpreter."""
    arguments = sys.argv[1:]
    if arguments and not os.path.isfile(arguments[0]):
        for script in entry_points(group="console_scripts", name=arguments[0]):
            if script.dist is not None and script.dist.name == "espnet":
                sys.argv = arguments
                sys.exit(script.load()())
    if len(arguments) < 2 or arguments[0] != "-m" or not arguments[1].startswith("espnet2.bin."):
        os.execv(sys.executable, [sys.executable, *arguments])
    # The command is called, not run as __main__: the processes of distributed training import this
    # process's main module, which must be this one to register the plugin.
    sys.argv = arguments[1:]
    importlib.import_module(arguments[1]).main()


if __name__ == "__main__":
    main()
