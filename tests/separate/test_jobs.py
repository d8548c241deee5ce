"""Several processes: the same files as from one, and none lost when one dies."""

import multiprocessing
from functools import partial

import numpy as np
import pytest
import soundfile

from espnet2_tisdiss import SeparateSpeech
from espnet2_tisdiss.separate.files import separate_files
from espnet2_tisdiss.separate.input_files import InputFile
from espnet2_tisdiss.separate.jobs import separate_in_jobs
from espnet2_tisdiss.separate.options import FileOptions

RATE = 8000
OPTIONS = FileOptions(1, batch_size=2)


@pytest.fixture
def inputs(tmp_path):
    """Write files of noise: a, b (ten minutes) and c."""
    for name, seconds in (("a", 1), ("b", 600), ("c", 2)):
        samples = 0.1 * np.random.randn(seconds * RATE)
        soundfile.write(tmp_path / f"{name}.wav", samples, RATE)
    return [InputFile(tmp_path / f"{name}.wav", tmp_path / "out", name) for name in "abc"]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_as_from_one_process(espnet_model, inputs, tmp_path):
    _, config, weights = espnet_model()
    inputs = [inputs[0], InputFile(tmp_path / "none.wav", tmp_path / "out", "none"), inputs[2]]
    told = []
    load = partial(SeparateSpeech.from_pretrained, weights)
    results = list(separate_in_jobs(load, inputs, OPTIONS, 2, on_progress=told.append))
    assert {result.source.stem: result.status for result in results} == {
        "a": "done",
        "none": "failed",
        "c": "done",
    }
    assert sum(told) == pytest.approx(3)
    assert names(tmp_path / "out") == ["a_spk1.wav", "a_spk2.wav", "c_spk1.wav", "c_spk2.wav"]
    alone = [InputFile(item.source, tmp_path / "alone", item.name) for item in inputs]
    for result in separate_files(SeparateSpeech(config, weights), alone, OPTIONS):
        for path in result.outputs:
            found, expected = soundfile.read(tmp_path / "out" / path.name), soundfile.read(path)
            np.testing.assert_allclose(found[0], expected[0], rtol=0, atol=1e-5)
    assert not multiprocessing.active_children()


@pytest.mark.promise("interrupted")
def test_a_killed_process_takes_its_file_with_it_and_no_other(espnet_model, inputs, tmp_path):
    _, _, weights = espnet_model()
    told = []

    def kill_at_the_second_file(seconds):
        told.append(seconds)
        if sum(told) == pytest.approx(9):  # one chunk of the long one is done
            (worker,) = multiprocessing.active_children()
            worker.kill()

    load = partial(SeparateSpeech.from_pretrained, weights)
    results = list(
        separate_in_jobs(load, inputs, FileOptions(1), 1, on_progress=kill_at_the_second_file)
    )
    assert [result.status for result in results] == ["done", "failed", "done"]
    reason = results[1].reason
    assert reason.startswith(f"{inputs[1].source}: its process died (SIGKILL)")
    assert names(tmp_path / "out") == ["a_spk1.wav", "a_spk2.wav", "c_spk1.wav", "c_spk2.wav"]


def test_processes_that_cannot_begin(inputs, tmp_path):
    load = partial(SeparateSpeech.from_pretrained, tmp_path)
    results = list(separate_in_jobs(load, inputs, OPTIONS, 1))
    assert [result.source for result in results] == [item.source for item in inputs]
    assert all("no process could load the model" in result.reason for result in results)
