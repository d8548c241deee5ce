"""The WHAMR! recipe on a small synthetic corpus in the real layout, made or as an existing tree.

Axis letters: n sample, c channel.
"""

import csv
import math
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyroomacoustics
import pytest
import soundfile
from recipe_folder import TINY_CONFIG, copy_recipe, prepare_here, read_data_dir
from scipy.signal import fftconvolve, resample_poly

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import read_scp
from espnet2_tisdiss.recipes.whamr.metadata import ROOM_COLUMNS, Room, read_levels
from espnet2_tisdiss.recipes.whamr.rooms import full_order, impulse_responses

NAMES = {
    "tr": ["01xo0101_1.5_02yo0102_-1.5", "02yo0101_0.3_03zo0101_-0.3", "03zo0102_2_01xo0102_-2"],
    "cv": ["01xo0103_1.9857_03zo0103_-1.9857", "02yo0103_0.7_01xo0104_-0.7"],
    "tt": ["050o0101_1_440o0101_-1", "440o0102_4.2e-07_050o0102_-4.2e-07"],
}
SETS = {split: f"{split}_mix_both_reverb_min_8k" for split in NAMES}
SIGNALS = (
    *("mix_both_reverb", "s1_anechoic", "s2_anechoic"),
    *("s1_reverb", "s2_reverb", "noise"),
)
TEST_SPEAKERS = {"050": "si_dt_05", "440": "si_et_05"}


def write_wav(path: Path, samples: np.ndarray, rate: int, subtype: str = "PCM_16") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype=subtype)


def spoken(name: str) -> list[str]:
    """WSJ0's paths of a mixture's utterances, as the tables have them."""
    first, _, second, _ = name.split("_")
    return [
        f"wsj0/{TEST_SPEAKERS.get(utt[:3], 'si_tr_s')}/{utt[:3]}/{utt}.wav"
        for utt in (first, second)
    ]


def write_table(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@dataclass(frozen=True)
class Sources:
    """Folders of WHAMR!'s sources."""

    root: Path

    @property
    def wsj0(self) -> Path:
        return self.root / "my WSJ0"

    @property
    def noise(self) -> Path:
        return self.root / "wham_noise"

    @property
    def scripts(self) -> Path:
        return self.root / "whamr_scripts"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "WSJ0": str(self.wsj0),
            "WHAM_NOISE": str(self.noise),
            "WHAMR_SCRIPTS": str(self.scripts),
        }

    def levels(self, split: str) -> Path:
        return self.noise / f"metadata/scaling_{split}.npz"


def write_sources(root: Path) -> Sources:
    """WSJ0, wham_noise and the tables for NAMES; utterances of different lengths, odd ones too."""
    sources = Sources(root)
    rng = np.random.default_rng(0)
    for split, names in NAMES.items():
        for name in names:
            for path in spoken(name):
                samples = rng.normal(0, 0.05, rng.integers(18001, 22000))
                write_wav(sources.wsj0 / path, samples, 16000)
            write_wav(sources.noise / f"{split}/{name}.wav", rng.normal(0, 0.03, (30000, 2)), 16000)
        files = [f"{name}.wav" for name in names]
        paths = [spoken(name) for name in names]
        write_table(
            sources.scripts / f"data/mix_2_spk_filenames_{split}.csv",
            [
                {"output_filename": file, "s1_path": first, "s2_path": second}
                for file, (first, second) in zip(files, paths, strict=True)
            ],
        )
        rooms = [{"utterance_id": file} | draw_room(rng) for file in files]
        write_table(sources.scripts / f"data/reverb_params_{split}.csv", rooms[::-1])
        write_levels(sources.levels(split), np.array(files[1:] + files[:1], dtype=object), rng)
    return sources


def draw_room(rng: np.random.Generator) -> dict[str, float]:
    size = rng.uniform([5, 5, 3], [6, 6, 4])
    values = [
        *(*size, 2.0, 2.5, 2.2, 2.5, 1.5),
        *(1.0, 1.2, 1.7, 3.4, 3.1, 1.6),
        rng.uniform(0.18, 0.25),
    ]
    return {column: float(value) for column, value in zip(ROOM_COLUMNS, values, strict=True)}


def write_levels(path: Path, files: np.ndarray, rng: np.random.Generator) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    count = len(files)
    np.savez(
        path,
        utterance_id=files,
        speech_start_sample_16k=rng.integers(1, 8000, count),
        scaling_wsjmix_8k_min=rng.uniform(0.5, 3, (count, 2)),
        scaling_wham_speech_8k_min=rng.uniform(0.5, 2, count),
        scaling_wham_noise_8k_min=rng.uniform(0.5, 2, count),
    )


def environment(variables: dict[str, str]) -> dict[str, str]:
    """The environment with no other corpus locations than these."""
    names = ("WHAMR", "WSJ0", "WHAM_NOISE", "WHAMR_SCRIPTS")
    clean = {name: value for name, value in os.environ.items() if name not in names}
    return clean | {"OMP_NUM_THREADS": "1", "PYTHON": sys.executable} | variables


def run(recipe: Path, program: str, *options: str, **variables: str):
    """Run a program of the recipe."""
    return subprocess.run(
        [recipe / program, *options],
        cwd=recipe,
        env=environment(variables),
        capture_output=True,
        text=True,
    )


def prepare(recipe: Path, *options: str, **variables: str):
    """Prepare the corpus with one process."""
    fixed = ["--allow_subset", "--nj", "1"]
    return prepare_here("whamr", recipe, [*fixed, *options], environment(variables))


def problems(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The messages of a failed preparation, without progress."""
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("local/data.sh: ")]
    return [line.removeprefix("local/data.sh: ") for line in told]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return copy_recipe("whamr", tmp_path)


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    return write_sources(tmp_path / "sources")


@dataclass(frozen=True)
class Made:
    recipe: Path
    sources: Sources

    @property
    def tree(self) -> Path:
        return self.recipe / "downloads/whamr"

    def files(self) -> dict[str, Path]:
        tree = self.tree / "wav8k/min"
        return {str(path.relative_to(tree)): path for path in tree.rglob("*.wav")}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The miniature corpus, made with two processes."""
    root = tmp_path_factory.mktemp("whamr made")
    made = Made(copy_recipe("whamr", root), write_sources(root / "sources"))
    done = prepare(made.recipe, "--nj", "2", **made.sources.environment)
    assert done.returncode == 0, done.stderr
    return made


# --------------------------------------------------------------------------------------------------
# Made of WSJ0 and noise


def plain_images(room: pyroomacoustics.ShoeBox, speech: list[np.ndarray], t60: float) -> np.ndarray:
    """The signal of each source at the microphones, (source, c, n) at 16 kHz."""
    room.compute_rir()
    room.rir = [[h[: math.ceil(t60 * 16000)] for h in responses] for responses in room.rir]
    for source, samples in zip(room.sources, speech, strict=True):
        source.add_signal(samples)
    return room.simulate(return_premix=True, recompute_rir=False)


def plain_mixture(sources: Sources, split: str, name: str) -> dict[str, np.ndarray]:
    """The formula, implemented again: signal -> (n, c) at 8 kHz."""
    speech = [soundfile.read(sources.wsj0 / path)[0] for path in spoken(name)]
    noise = soundfile.read(sources.noise / f"{split}/{name}.wav")[0]
    levels = np.load(sources.levels(split), allow_pickle=True)
    row = list(levels["utterance_id"]).index(f"{name}.wav")
    with (sources.scripts / f"data/reverb_params_{split}.csv").open() as file:
        found = next(row for row in csv.DictReader(file) if row["utterance_id"] == f"{name}.wav")
    p = {column: float(found[column]) for column in ROOM_COLUMNS}
    size = np.array([p["room_x"], p["room_y"], p["room_z"]])
    surface = 2 * (size[0] * size[1] + size[0] * size[2] + size[1] * size[2])
    absorption = 24 * np.prod(size) * np.log(10) / (343 * surface * p["T60"])
    assert absorption < 1
    pyroomacoustics.constants.set("rir_hpf_enable", False)
    heard = {}
    for kind, order in (("anechoic", 0), ("reverb", math.ceil(p["T60"] * 343 / size.min()))):
        material = pyroomacoustics.Material(1 - (1 - absorption) ** 2)
        room = pyroomacoustics.ShoeBox(size, fs=16000, materials=material, max_order=order)
        room.add_source([p["s1_x"], p["s1_y"], p["s1_z"]])
        room.add_source([p["s2_x"], p["s2_y"], p["s2_z"]])
        left, right = [p["micL_x"], p["micL_y"], p["mic_z"]], [p["micR_x"], p["micR_y"], p["mic_z"]]
        room.add_microphone_array(np.array([left, right]).T)
        heard[kind] = resample_poly(plain_images(room, speech, p["T60"]), 1, 2, axis=2)
    length = min(math.ceil(len(samples) / 2) for samples in speech)
    signals = {}
    for index in (0, 1):
        gain = levels["scaling_wsjmix_8k_min"][row][index]
        dry = np.round(2**15 * gain * resample_poly(speech[index], 1, 2)) / 2**15
        dry *= levels["scaling_wham_speech_8k_min"][row]
        factor = np.sqrt(np.sum(dry**2) / np.sum(heard["anechoic"][index, 0] ** 2))
        for kind in ("anechoic", "reverb"):
            signals[f"s{index + 1}_{kind}"] = factor * heard[kind][index, :, :length].T
    start = levels["speech_start_sample_16k"][row] // 2
    noise = levels["scaling_wham_noise_8k_min"][row] * resample_poly(noise, 1, 2)
    signals["noise"] = noise[start : start + length]
    signals["mix_both_reverb"] = signals["s1_reverb"] + signals["s2_reverb"] + signals["noise"]
    return signals


def test_files_are_as_the_formula_says(made):
    paths = made.files()
    assert len(paths) == 7 * len(SIGNALS)
    for split, names in NAMES.items():
        for name in names:
            for signal, expected in plain_mixture(made.sources, split, name).items():
                path = paths[f"{split}/{signal}/{name}.wav"]
                info = soundfile.info(path)
                assert (info.samplerate, info.channels, info.subtype) == (8000, 2, "FLOAT")
                samples = soundfile.read(path)[0]
                # float32 has 24 bits; pyroomacoustics adds up the images in float32
                np.testing.assert_allclose(samples, expected, atol=2e-6 * np.abs(expected).max())


def test_reverberation_is_there_and_comes_later(made):
    paths = (made.files()[f"tr/s1_{kind}/{NAMES['tr'][0]}.wav"] for kind in ("anechoic", "reverb"))
    dry, wet = (soundfile.read(path)[0] for path in paths)
    lag = int(np.argmax(fftconvolve(wet[:, 0], dry[::-1, 0]))) - (len(dry) - 1)
    assert lag == 0  # the direct sound has the same delay in both
    assert np.sum((wet - dry) ** 2) > 0.02 * np.sum(dry**2)


def same_samples(path: Path, other: Path) -> None:
    """To the bit; libsndfile puts the time of writing into the header of floating-point files."""
    first, second = (soundfile.read(file, dtype="float32")[0] for file in (path, other))
    np.testing.assert_array_equal(first, second, err_msg=path.name)


def test_numbers_of_processes_do_not_matter(made, recipe):
    assert prepare(recipe, **made.sources.environment).returncode == 0
    other = Made(recipe, made.sources).files()
    assert other.keys() == made.files().keys()
    for name, path in made.files().items():
        same_samples(path, other[name])


def test_data_directories(made):
    lists = {
        "wav.scp": "mix_both_reverb",
        **{"spk1.scp": "s1_anechoic", "spk2.scp": "s2_anechoic", "noise1.scp": "noise"},
        **{"dereverb1.scp": "s1_anechoic", "dereverb2.scp": "s2_anechoic"},
        **{"reverb1.scp": "s1_reverb", "reverb2.scp": "s2_reverb"},
    }
    for split, names in NAMES.items():
        tables = read_data_dir(made.recipe / "data" / SETS[split], [*lists, "utt2spk"])
        assert len(tables["wav.scp"]) == len(names)
        for list_, signal in lists.items():
            stems = {key[8:]: Path(path) for key, path in tables[list_].items()}
            assert stems == {n: made.tree / f"wav8k/min/{split}/{signal}/{n}.wav" for n in names}
    assert tables["utt2spk"] == {
        "050_440_050o0101_1_440o0101_-1": "050_440",
        "440_050_440o0102_4.2e-07_050o0102_-4.2e-07": "440_050",
    }


def test_only_what_is_not_whole_is_made_again(made, recipe):
    shutil.copytree(made.tree, recipe / "downloads/whamr")
    copies = Made(recipe, made.sources).files()
    lost = copies[f"tr/noise/{NAMES['tr'][0]}.wav"]
    lost.unlink()
    half = copies[f"cv/s2_reverb/{NAMES['cv'][1]}.wav"]
    os.truncate(half, half.stat().st_size // 2)
    touched = {name: path.stat().st_mtime_ns for name, path in copies.items() if path.exists()}
    assert prepare(recipe, **made.sources.environment).returncode == 0
    for name, path in made.files().items():
        same_samples(copies[name], path)
        remade = Path(name).stem in (lost.stem, half.stem) and name[:2] in ("tr", "cv")
        assert remade or copies[name].stat().st_mtime_ns == touched[name], name


@pytest.mark.promise("disk-full")
def test_a_full_disk_stops_at_once_and_is_mended(made, recipe):
    # files of more than 64 KiB cannot be written; a mixture's have 70 to 90
    command = 'ulimit -f 64; exec "$@"'
    data = ["local/data.sh", "--allow_subset", "--nj", "1"]
    done = subprocess.run(
        ["bash", "-c", command, "bash", *data],
        cwd=recipe,
        env=environment(made.sources.environment),
        capture_output=True,
        text=True,
    )
    (line,) = problems(done)
    assert ": cannot be written: File too large; correct that and run again" in line
    assert not list((recipe / "downloads").rglob("*.wav")) and not (recipe / "data").exists()
    assert prepare(recipe, **made.sources.environment).returncode == 0
    assert len(Made(recipe, made.sources).files()) == len(made.files())


# --------------------------------------------------------------------------------------------------
# An existing tree


def write_tree(root: Path) -> Path:
    """A tree made elsewhere, with all of WHAMR!'s mixtures; samples reach beyond 1."""
    rng = np.random.default_rng(1)
    for split, names in NAMES.items():
        folder = root / "wav8k/min" / split
        for name in names:
            signals = {"noise": rng.normal(0, 0.02, (9000, 2)).astype(np.float32)}
            for number in (1, 2):
                dry = rng.normal(0, 0.6, (9000, 2)).astype(np.float32)
                signals[f"s{number}_anechoic"] = dry
                signals[f"s{number}_reverb"] = dry + 0.3 * np.roll(dry, 50, axis=0)
            for kind in ("anechoic", "reverb"):
                clean = signals[f"s1_{kind}"] + signals[f"s2_{kind}"]
                signals[f"mix_clean_{kind}"] = clean
                signals[f"mix_both_{kind}"] = clean + signals["noise"]
                signals[f"mix_single_{kind}"] = signals[f"s1_{kind}"] + signals["noise"]
            for signal, samples in signals.items():
                write_wav(folder / signal / f"{name}.wav", samples, 8000, "FLOAT")
    return root


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "existing tree")


def test_an_existing_tree_is_used_as_it_is(recipe, tree):
    before = {path: path.stat().st_mtime_ns for path in tree.rglob("*")}
    done = prepare(recipe, WHAMR=str(tree))
    assert done.returncode == 0, done.stderr
    assert "data/tt_mix_both_reverb_min_8k: 2 utterances, 0.00 hours" in done.stdout
    paths = read_scp(recipe / "data" / SETS["tt"] / "spk1.scp")
    assert Path(paths["050_440_050o0101_1_440o0101_-1"]).parent == tree / "wav8k/min/tt/s1_anechoic"
    assert {path: path.stat().st_mtime_ns for path in tree.rglob("*")} == before
    assert not (recipe / "downloads").exists()


def test_other_tasks_of_the_corpus(recipe, tree):
    for options, name, lists in (
        (
            ("--reference", "reverb"),
            "tr_mix_both_reverb_min_8k_to_reverb",
            {"spk1.scp": "s1_reverb", "dereverb1.scp": "s1_anechoic", "noise1.scp": "noise"},
        ),
        (
            ("--mixture", "mix_clean_anechoic"),
            "tr_mix_clean_anechoic_min_8k",
            {"wav.scp": "mix_clean_anechoic", "spk2.scp": "s2_anechoic"},
        ),
    ):
        done = prepare(recipe, "--corpus", str(tree), *options)
        assert done.returncode == 0, done.stderr
        for list_, signal in lists.items():
            paths = read_scp(recipe / "data" / name / list_).values()
            assert {Path(path).parent.name for path in paths} == {signal}
    assert not (recipe / "data" / name / "noise1.scp").exists()
    senseless = ("--mixture", "mix_clean_anechoic", "--reference", "reverb")
    (line,) = problems(prepare(recipe, "--corpus", str(tree), *senseless))
    assert line == "--reference reverb: there is no reverberation in mix_clean_anechoic"


def test_formatting_keeps_samples_beyond_full_scale(recipe, tree):
    # and takes the left channel
    options = ("--python", sys.executable, "--nj", "1", "--local_data_opts", "--allow_subset")
    done = run(recipe, "run.sh", "--stop_stage", "4", *options, WHAMR=str(tree))
    assert done.returncode == 0, done.stderr
    for split, name in SETS.items():
        for list_, signal in (("wav", "mix_both_reverb"), ("spk2", "s2_anechoic")):
            for key, path in read_scp(recipe / f"dump/raw/{name}/{list_}.scp").items():
                original = soundfile.read(tree / f"wav8k/min/{split}/{signal}/{key[8:]}.wav")[0]
                formatted = soundfile.read(recipe / path)[0]
                np.testing.assert_array_equal(formatted, original[:, 0])
                assert np.abs(formatted).max() > 1.5


@pytest.mark.slow
def test_every_stage_runs(recipe, tree):
    (recipe / "conf/tiny.yaml").write_text(TINY_CONFIG)
    options = ("--python", sys.executable, "--ngpu", "0", "--nj", "1", "--inference_nj", "1")
    done = run(
        recipe,
        "run.sh",
        *options,
        *("--local_data_opts", "--allow_subset", "--enh_config", "conf/tiny.yaml", "--n_re", "1 2"),
        *("--use_noise_ref", "true", "--use_dereverb_ref", "true"),
        WHAMR=str(tree),
    )
    assert done.returncode == 0, done.stderr
    exp = recipe / "exp/enh_tiny_raw"
    separated = read_scp(exp / f"enhanced_re2_{SETS['tt']}/spk2.scp")
    assert len(separated) == 2
    assert all(soundfile.info(recipe / path).frames == 9000 for path in separated.values())
    results = (exp / "RESULTS.md").read_text()
    assert "|N_re|STOI|" in results and "|TF-Locoformer-M|" in results  # ours and the published
    assert (exp / "enh_tiny_raw_valid.loss.ave.zip").is_file()


# --------------------------------------------------------------------------------------------------
# What can be missing


def test_no_corpus_is_one_line(recipe):
    (line,) = problems(prepare(recipe))
    assert line.startswith("where is WSJ0 (LDC93S6A), or WHAMR! made before")
    assert "Set WSJ0 in db.sh or in the environment" in line
    (line,) = problems(prepare(recipe, WHAMR="/not/there"))
    assert line == "WHAMR /not/there: no such folder"


def test_each_source_is_asked_for(recipe, sources):
    given = {}
    for variable, message in (
        ("WSJ0", "where is wham_noise? Set WHAM_NOISE in"),
        ("WHAM_NOISE", "where is the WHAMR! scripts' tables? Set WHAMR_SCRIPTS in"),
    ):
        given[variable] = sources.environment[variable]
        (line,) = problems(prepare(recipe, **given))
        assert line.startswith(message)


def test_other_versions_need_a_tree(recipe, sources, tree):
    (line,) = problems(prepare(recipe, "--fs", "16k", **sources.environment))
    assert line == (
        "only 8k and min are made from WSJ0; for wav16k/min set WHAMR to a tree that has it"
    )
    (line,) = problems(prepare(recipe, "--min_or_max", "max", WHAMR=str(tree)))
    assert line == f"{tree}: has no wav8k/max/tt/mix_both_reverb"


def test_a_part_of_the_corpus_has_to_be_meant(recipe, sources, tree):
    for locations in (sources.environment, {"WHAMR": str(tree)}):
        (line,) = problems(run(recipe, "local/data.sh", **locations))
        assert line.startswith(f"{SETS['tr']}: 3 mixtures, but the corpus has 20000 there")
    assert not (recipe / "downloads").exists()  # reported before anything is made


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def break_table(sources: Sources) -> tuple[Path, str]:
    path = sources.scripts / "data/reverb_params_cv.csv"
    edit(path, "T60", "RT60")
    return path, ": has no column T60"


def break_row(sources: Sources) -> tuple[Path, str]:
    path = sources.scripts / "data/mix_2_spk_filenames_tt.csv"
    edit(path, ",wsj0/si_et_05/440/440o0101.wav", "")
    return path, ":2: not a value for each column of the first line"


def break_number(sources: Sources) -> tuple[Path, str]:
    path = sources.scripts / "data/reverb_params_tr.csv"
    edit(path, ",2.5,", ",2;5,")
    return path, ":2: could not convert string to float: '2;5'"


def leave_the_room(sources: Sources) -> tuple[Path, str]:
    path = sources.scripts / "data/reverb_params_tr.csv"
    edit(path, ",3.4,", ",13.4,")
    return path, ":2: (13.4, 3.1, 1.6) is not inside the room ("


def lose_room(sources: Sources) -> tuple[Path, str]:
    path = sources.scripts / "data/reverb_params_cv.csv"
    name = NAMES["cv"][0]
    path.write_text("".join(line for line in path.open() if name not in line))
    names = path.with_name("mix_2_spk_filenames_cv.csv")
    return path, f": lacks {name}, which {names}:2 has"


def lose_table(sources: Sources) -> tuple[Path, str]:
    path = sources.scripts / "data/mix_2_spk_filenames_tr.csv"
    path.unlink()
    return path, ": no such file; it belongs to the WHAMR! scripts (https://wham.whisper.ai)"


def lose_levels(sources: Sources) -> tuple[Path, str]:
    path = sources.levels("tt")
    path.unlink()
    return path, ": no such file; it belongs to wham_noise (its folder metadata)"


def cut_levels(sources: Sources) -> tuple[Path, str]:
    path = sources.levels("tr")
    os.truncate(path, 500)
    return path, ": not readable as arrays of numpy: "


@pytest.mark.parametrize(
    "damage",
    [
        *(break_table, break_row, break_number, leave_the_room, lose_room),
        *(lose_table, lose_levels, cut_levels),
    ],
)
def test_an_unusable_table_is_named(recipe, sources, damage):
    path, message = damage(sources)
    (line,) = problems(prepare(recipe, **sources.environment))
    assert line.startswith(f"{path}{message}")
    assert not (recipe / "downloads").exists()


def test_all_unusable_audio_is_told_at_once_and_mended(recipe, sources):
    first, second, third = (spoken(name)[0] for name in NAMES["tr"])
    kept = {path: (sources.wsj0 / path).read_bytes() for path in (first, second, third)}
    (sources.wsj0 / first).unlink()
    (sources.wsj0 / second).write_bytes(b"no audio at all")
    write_wav(sources.wsj0 / third, np.ones(9000) / 2, 8000)
    noise = sources.noise / f"tt/{NAMES['tt'][0]}.wav"
    whole = noise.read_bytes()
    write_wav(noise, np.ones((12000, 2)) / 2, 16000)
    lines = problems(prepare(recipe, **sources.environment))
    assert lines[0] == f"{sources.wsj0 / first}: no such file; check its name"
    assert lines[1].startswith(f"{sources.wsj0 / second}: not a readable audio file")
    assert lines[2] == f"{sources.wsj0 / third}: is at 8000 Hz, not 16000 Hz"
    assert lines[3].startswith(f"{noise}: too short: 6000 samples at 8000 Hz, not ")
    assert lines[4].endswith("4 of 7 failed, the others are done; correct these and run again")
    assert len(lines) == 5 and not (recipe / "data").exists()
    for path, content in kept.items():
        (sources.wsj0 / path).write_bytes(content)
    noise.write_bytes(whole)
    assert prepare(recipe, **sources.environment).returncode == 0


def test_a_truncated_utterance_is_found_before_anything_is_made(recipe, sources):
    path = sources.wsj0 / spoken(NAMES["cv"][0])[1]
    os.truncate(path, path.stat().st_size - 1000)
    lines = problems(prepare(recipe, **sources.environment))
    assert lines[0].startswith(f"{path}: truncated: ")
    assert lines[1].startswith("check WSJ0 and noise: 1 of 7 failed")
    assert not (recipe / "downloads").exists()


def test_an_utterance_with_a_broken_sample_stops_only_its_mixture(recipe, sources):
    path = sources.wsj0 / spoken(NAMES["cv"][0])[1]
    content = path.read_bytes()
    samples, rate = soundfile.read(path)
    samples[7] = np.nan
    soundfile.write(path, samples, rate, subtype="FLOAT")  # its header is sound
    lines = problems(prepare(recipe, **sources.environment))
    assert lines[0] == f"{path}: sample 7 is nan, not a finite number"
    assert lines[1].startswith("mixtures: 1 of 7 failed, the others are done")
    assert len(list((recipe / "downloads/whamr").rglob("*.wav"))) == 6 * len(SIGNALS)
    path.write_bytes(content)
    assert prepare(recipe, **sources.environment).returncode == 0


def test_an_incomplete_tree_is_told(recipe, tree):
    name = NAMES["tr"][0]
    reference = tree / f"wav8k/min/tr/s1_reverb/{name}.wav"
    content = reference.read_bytes()
    reference.unlink()
    assert (
        problems(prepare(recipe, WHAMR=str(tree)))[0]
        == f"{reference}: no such file; check its name"
    )
    write_wav(reference, soundfile.read(tree / f"wav8k/min/tr/noise/{name}.wav")[0], 8000, "FLOAT")
    line = problems(prepare(recipe, WHAMR=str(tree)))[0]
    assert line.startswith(f"{tree}/wav8k/min/tr/mix_both_reverb/{name}.wav: not the sum of its ")
    reference.write_bytes(content)
    shutil.rmtree(tree / "wav8k/min/cv/noise")
    (line,) = problems(prepare(recipe, WHAMR=str(tree)))
    assert line == f"{tree}/wav8k/min/cv/noise: no such folder"


def test_help_ends_where_nobody_reads_on(recipe):
    shown = subprocess.run(
        ["bash", "-c", "./run.sh --help | head -1"],
        cwd=recipe,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert shown.stdout.startswith("Usage: ./run.sh [--mixture NAME]")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--mixture", "mix_single"],
            "run.sh: --mixture mix_single: must be mix_both_reverb, mix_",
        ),
        (["--reference=dry"], "run.sh: --reference dry: must be anechoic or reverb"),
        (["--fs"], "run.sh: --fs lacks its value"),
        (["--stages", "3"], "unknown option --stages (see --help)"),
    ],
)
def test_wrong_options_are_one_line(recipe, options, message):
    done = run(recipe, "run.sh", *options)
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1 and message in done.stderr
    assert not (recipe / "data").exists()


# --------------------------------------------------------------------------------------------------
# Levels and rooms


def test_pickled_and_plain_arrays_are_read_alike(tmp_path):
    texts = ["a_1_b_-1.wav", "c_1_d_-1"]
    levels = []
    for kind in (object, str):
        path = tmp_path / f"{kind.__name__}.npz"
        write_levels(path, np.array(texts, dtype=kind), np.random.default_rng(2))
        levels.append(read_levels(path))
    assert levels[0] == levels[1]
    assert list(levels[0]) == ["a_1_b_-1", "c_1_d_-1"]
    arrays = np.load(path)
    (first, second), speech, noise, start = levels[0]["c_1_d_-1"]
    assert [first, second] == list(arrays["scaling_wsjmix_8k_min"][1])
    assert speech == arrays["scaling_wham_speech_8k_min"][1]
    assert noise == arrays["scaling_wham_noise_8k_min"][1]
    assert start == arrays["speech_start_sample_16k"][1]


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_arrays_that_older_numpys_pickled_are_read(tmp_path, protocol):
    files = np.array([f"{name}.wav" for name in NAMES["tr"]], dtype=object)
    write_levels(tmp_path / "new.npz", files, np.random.default_rng(2))
    payload = pickle.dumps(files, protocol)
    if protocol < 4:  # modules' names stand there as lines
        payload = payload.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
        assert b"numpy.core.multiarray" in payload
    with (
        zipfile.ZipFile(tmp_path / "new.npz") as new,
        zipfile.ZipFile(tmp_path / "old.npz", "w") as old,
    ):
        for name in new.namelist():
            content = new.read(name)
            if name == "utterance_id.npy":
                content = content[: content.index(b"\n") + 1] + payload
            old.writestr(name, content)
    assert read_levels(tmp_path / "old.npz") == read_levels(tmp_path / "new.npz")


def test_code_in_a_pickle_is_not_run(tmp_path):
    class Harm:
        def __reduce__(self):
            return Path.touch, (tmp_path / "harm",)

    path = tmp_path / "scaling_tr.npz"
    write_levels(path, np.array([Harm()], dtype=object), np.random.default_rng(2))
    with pytest.raises(
        TisdissError, match=f"{path}: not readable as arrays of numpy: it asks for "
    ):
        read_levels(path)
    assert not (tmp_path / "harm").exists()
    pickle.loads(pickle.dumps(Harm()))  # which it would have run
    assert (tmp_path / "harm").exists()


@pytest.mark.parametrize("t60", [0.3, 0.11])  # absorption 0.41 and 1.12: beyond 1 the sign changes
def test_responses_are_the_sum_of_images(t60):
    microphones, speakers = ((3, 3, 1.5), (3.2, 3, 1.5)), ((1, 2, 1.7), (5, 5, 2))
    room = Room((6, 7, 3.5), microphones, speakers, t60)
    order = min(full_order(room), 6)
    size = np.array(room.size)
    surface = 2 * (6 * 7 + 6 * 3.5 + 7 * 3.5)
    reflection = 1 - 24 * np.log(10) * np.prod(size) / (343 * surface * t60)
    responses = impulse_responses(room, order)
    length = math.ceil(t60 * 16000)
    for speaker, heard in zip(room.speakers, responses, strict=True):
        for microphone, response in zip(room.microphones, heard, strict=True):
            expected = np.zeros(length + 20000)
            for image in np.ndindex(*[2 * order + 1] * 3):
                cell = np.array(image) - order  # mirrored this often along each edge
                if np.abs(cell).sum() > order:
                    continue
                mirrored = np.where(cell % 2, size - speaker, speaker)
                distance = np.linalg.norm(cell * size + mirrored - microphone)
                add_impulse(expected, distance, reflection ** np.abs(cell).sum())
            np.testing.assert_allclose(
                # pyroomacoustics interpolates in a table of the sinc
                response,
                expected[: len(response)],
                atol=3e-3 * np.abs(expected).max(),
            )
            assert len(response) <= length


def add_impulse(response: np.ndarray, distance: float, gain: float) -> None:
    """Add a windowed sinc of 81 taps around the delay of a distance, 40 taps late."""
    delay = distance / 343 * 16000
    first = math.floor(delay)
    position = np.arange(81) - 40 - (delay - first)
    taps = np.sinc(position) * (0.5 + 0.5 * np.cos(np.pi * position / 40.5))
    response[first : first + 81] += gain / distance * taps
