"""The tables of shifts.py and short_files.py, of results and times that are planted."""

from types import SimpleNamespace

import numpy as np
import shifts
import short_files
import soundfile

RATE = 8000


def test_gains_and_times_by_the_number_of_shifts(monkeypatch, capsys):
    rng = np.random.default_rng(0)
    sources = rng.standard_normal((2, 4000))
    signals, error = np.stack([sources.sum(axis=0), *sources]), rng.standard_normal((2, 4000))

    def recording(samples, rate, shifts=1):
        np.testing.assert_array_equal(samples, signals[0])
        return (sources + 0.1 * error / np.sqrt(shifts))[::-1]  # in another order

    model = SimpleNamespace(num_spk=2, sample_rate=RATE, recording=recording)
    monkeypatch.setattr(shifts.SeparateSpeech, "from_pretrained", lambda name, n_re: model)
    mixture = SimpleNamespace(path="mix", references=("s1", "s2"))
    monkeypatch.setattr(shifts, "find_mixtures", lambda data, speakers: [mixture] * 3)
    monkeypatch.setattr(shifts, "read_signals", lambda paths, rate: signals)
    seconds = iter([0.5, 1.0, 2.0] * 3)
    monkeypatch.setattr(shifts, "seconds_of", lambda run: (next(seconds), run()))
    shifts.main(["voices", "data", "--shifts", "1", "2", "4"])
    _, _, *rows = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [[number, time] for number, _, time in cells] == [
        ["1", "1.0"],
        ["2", "2.0"],
        ["4", "4.0"],
    ]
    # a tenth of noise is 20 dB below; half of its power is 3 dB less
    gains = [float(gain) for _, gain, _ in cells]
    np.testing.assert_allclose(gains, [20.0, 23.0, 26.0], atol=0.5)
    np.testing.assert_allclose(np.diff(gains), 10 * np.log10(2), atol=0.02)


def test_versions_take_turns_on_the_same_files(tmp_path, monkeypatch, capsys):
    runs = []

    def run(command, folder, root):
        files = sorted(short_files.Path(folder, "in").iterdir())
        runs.append((root, [soundfile.info(file).frames for file in files]))
        assert not short_files.Path(folder, "out").exists()
        short_files.Path(folder, "out").mkdir()

    monkeypatch.setattr(short_files, "_run", run)
    seconds = iter([1.0, 2.0, 3.0, 4.0, 1.5, 3.0])
    monkeypatch.setattr(short_files, "seconds_of", lambda run: (next(seconds), run()))
    short_files.main(["--other", str(tmp_path), "--files", "5"])
    roots, lengths = zip(*runs, strict=True)
    assert roots == (short_files.ROOT, tmp_path.resolve()) * 3
    assert all(found == lengths[0] for found in lengths)
    assert len(lengths[0]) == 5 and all(8000 <= length < 24_000 for length in lengths[0])
    rows = capsys.readouterr().out.splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert cells == [["this version", "1.5"], ["the other one", "3.0"], ["ratio", "0.50"]]
