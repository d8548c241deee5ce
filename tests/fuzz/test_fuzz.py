"""Damaged files of every kind that the package reads: an error of one line, or a valid result.

Each case is a good file with a few random changes that depend only on its seed. A failing seed is
named together with its file. Copy that file into ``corpus/``: every run reads it again.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from espnet2.main_funcs.pack_funcs import pack
from models import TINY

from espnet2_tisdiss import SeparateSpeech, TisdissError
from espnet2_tisdiss.audio.reading import probe, read_blocks
from espnet2_tisdiss.lists import read_sources
from espnet2_tisdiss.network.assembly import build_network
from espnet2_tisdiss.pretrained.finding import find_model, read_weights

CORPUS = Path(__file__).with_name("corpus")
AUDIO = {"wav": "PCM_16", "flac": "PCM_16", "ogg": "VORBIS", "mp3": None, "w64": "FLOAT"}
STFT = {"n_fft": 64, "hop_length": 32}
CONFIG = {
    **{"encoder": "stft", "encoder_conf": STFT, "decoder": "stft", "decoder_conf": STFT},
    **{"separator": "tisdiss", "separator_conf": TINY, "model_conf": {"normalize_variance": True}},
}


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Return bytes with one to four changes."""
    changed = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        if not changed:
            break
        start = int(rng.integers(len(changed)))
        stop = start + int(rng.integers(1, 2 ** rng.integers(1, 12)))
        piece = changed[start:stop]
        match rng.integers(7):
            case 0:
                changed[start] ^= 1 << int(rng.integers(8))
            case 1:
                del changed[start:]
            case 2:
                del changed[start:stop]
            case 3:
                changed[start:start] = piece * int(rng.integers(1, 4))
            case 4:
                changed[start:stop] = rng.bytes(len(piece))
            case 5:
                changed[start:stop] = bytes([rng.choice([0, 255])]) * len(piece)
            case _:  # another number of any kind, in text and in headers
                number = rng.choice([b"0", b"-1", b"9" * 30, b"1e999", b"\xff\xff\xff\x7f", b"nan"])
                changed[start : start + len(number)] = number
    return bytes(changed)


@dataclass(frozen=True)
class Kind:
    """A kind of file: good ones, and what reads them.

    Attributes:
        files: content by name.
        read: reads a file, and fails if a result is silently wrong.
    """

    files: dict[str, bytes]
    read: Callable[[Path], None]


def read_audio(path: Path) -> None:
    probe(path, on_notice=lambda notice: None)
    for block in read_blocks(path, on_notice=lambda notice: None):
        assert block.ndim == 2 and len(block) == 1 and np.isfinite(block).all()


def read_list(path: Path) -> None:
    sources = read_sources(path)
    assert sources and all(0 <= source.start < source.stop for source in sources.values())
    for source in sources.values():
        assert not source.is_command and (source.is_file or source.is_stretch or source.archive)


def read_model(folder: Path, config: Path) -> None:
    model = SeparateSpeech(config, folder / "model.pth")
    (waves,) = model.batch([np.linspace(-0.5, 0.5, 500, dtype=np.float32)], n_re=1)
    assert waves.shape == (2, 500) and np.isfinite(waves).all()


@pytest.fixture(scope="module")
def kinds(tmp_path_factory) -> Iterator[dict[str, Kind]]:
    folder = tmp_path_factory.mktemp("good")
    torch.manual_seed(0)  # the files are the same in every run
    noise = 0.1 * np.random.default_rng(0).standard_normal((3000, 1))
    for suffix, subtype in AUDIO.items():
        soundfile.write(folder / f"a.{suffix}", noise, 16000, subtype)
    (folder / "a.scp").write_text("one a.wav\ntwo a.flac\nthree x.ark:17\n")
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    torch.save(build_network(CONFIG).state_dict(), folder / "model.pth")
    good = torch.load(folder / "model.pth", weights_only=True)

    def as_packed(found: dict[str, torch.Tensor]) -> None:
        assert found.keys() == good.keys()
        assert all(torch.equal(found[name], good[name]) for name in good)

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        configs, weights = {"train_config": "config.yaml"}, {"model_file": "model.pth"}
        pack(files=weights, yaml_files=configs, outpath="packed.zip")

        def read_archive(path: Path) -> None:
            as_packed(read_weights(find_model(path)["model_file"]))
            shutil.rmtree(folder / "cache", ignore_errors=True)

        def kind(read: Callable[[Path], None], *names: str) -> Kind:
            return Kind({name: (folder / name).read_bytes() for name in names}, read)

        yield {
            "audio": kind(read_audio, *(f"a.{suffix}" for suffix in AUDIO)),
            "list": kind(read_list, "a.scp"),
            "yaml": kind(lambda path: read_model(folder, path), "config.yaml"),
            "weights": kind(lambda path: as_packed(read_weights(path)), "model.pth"),
            "archive": kind(read_archive, "packed.zip"),
        }


def check(read: Callable[[Path], None], path: Path) -> bool:
    """Read a file; return whether it was refused, in one line that names it."""
    try:
        read(path)
    except TisdissError as error:
        assert "\n" not in str(error) and len(str(error)) < 2000
        return True
    return False


@pytest.mark.promise("damaged-files")
@pytest.mark.parametrize("name", ["audio", "list", "yaml", "weights", "archive"])
@pytest.mark.parametrize(
    "seeds",
    [range(40), pytest.param(range(40, 540), marks=pytest.mark.slow)],
    ids=["40", "500"],
)
def test_damaged_files_are_refused_or_read_right(kinds, name, seeds, tmp_path, record_property):
    kind, refused = kinds[name], 0
    record_property("cases", len(seeds))
    record_property("seeds", f"{name} {seeds.start} to {seeds.stop - 1}")
    for seed in seeds:
        rng = np.random.default_rng([seed, len(name)])
        file = rng.choice(sorted(kind.files))
        path = tmp_path / file
        path.write_bytes(damaged(kind.files[file], rng))
        try:
            refused += check(kind.read, path)
        except BaseException as error:
            kept = shutil.copy(path, tmp_path / f"failed-{name}-{seed}{path.suffix}")
            error.add_note(f"{name}, seed {seed}; copy {kept} to {CORPUS}")
            raise
    assert refused > 0


@pytest.mark.promise("damaged-files")
def test_files_that_once_failed(kinds, tmp_path, record_property):
    files = sorted(CORPUS.iterdir())
    record_property("cases", len(files))
    for file in files:
        path = shutil.copy(file, tmp_path)
        check(kinds[file.name.partition("-")[0]].read, Path(path))
    assert len(files) >= 10
