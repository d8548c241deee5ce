"""Print the environment's exact versions as requirements.txt, runnable on any platform."""

import argparse
import importlib.metadata
import re
import sys

HEADER = """\
# Every version, direct and transitive, in one place. Made by `make lock`.
# setup.py says which of them are direct and why; the rest come with those.
"""
# PyTorch's GPU libraries exist for Linux only, and its wheels for other systems do not ask for them
GPU_ONLY = re.compile(r"^(nvidia-|cuda-|triton)")
MARKER = ' ; sys_platform == "linux" and platform_machine == "x86_64"'
LEFT_OUT = {"pip", "espnet2-tisdiss", "espnet2_tisdiss"}


def main() -> None:
    """Write the sorted pins to standard output."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    pins = {dist.name.lower(): dist.version for dist in importlib.metadata.distributions()}
    lines = [
        f"{name}=={version}{MARKER if GPU_ONLY.match(name) else ''}\n"
        for name, version in sorted(pins.items())
        if name not in LEFT_OUT
    ]
    sys.stdout.write(HEADER + "".join(lines))


if __name__ == "__main__":
    main()
