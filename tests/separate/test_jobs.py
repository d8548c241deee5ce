"""Several processes side by side: the same files as from one, and none lost when one dies."""

import multiprocessing

import numpy as np
import pytest
import soundfile

from espnet2_tisdiss import SeparateSpeech
from espnet2_tisdiss.separate.chunking import Chunking
from espnet2_tisdiss.separate.files import Options, Task, separate_files
from espnet2_tisdiss.separate.jobs import separate_in_jobs
from espnet2_tisdiss.separate.recordings import Depths

RATE = 8000
OPTIONS = Options(Depths((1,)), Chunking.in_seconds(RATE), batch_size=2)


@pytest.fixture
def tasks(tmp_path):
    """Write files of noise: a, b (ten minutes) and c."""
    for name, seconds in (("a", 1), ("b", 600), ("c", 2)):
        samples = 0.1 * np.random.randn(seconds * RATE)
        soundfile.write(tmp_path / f"{name}.wav", samples, RATE)
    return [Task(tmp_path / f"{name}.wav", tmp_path / "out", name) for name in "abc"]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_as_from_one_process(espnet_model, tasks, tmp_path):
    _, config, weights = espnet_model()
    tasks = [tasks[0], Task(tmp_path / "none.wav", tmp_path / "out", "none"), tasks[2]]
    told = []
    outcomes = list(separate_in_jobs({"model_tag": weights}, tasks, OPTIONS, 2, 1, told.append))
    assert {outcome.source.stem: outcome.status for outcome in outcomes} == {
        "a": "done",
        "none": "failed",
        "c": "done",
    }
    assert sum(told) == pytest.approx(3)
    assert names(tmp_path / "out") == ["a_spk1.wav", "a_spk2.wav", "c_spk1.wav", "c_spk2.wav"]
    alone = [Task(task.source, tmp_path / "alone", task.name) for task in tasks]
    for outcome in separate_files(SeparateSpeech(config, weights), alone, OPTIONS):
        for path in outcome.outputs:
            found, expected = soundfile.read(tmp_path / "out" / path.name), soundfile.read(path)
            np.testing.assert_allclose(found[0], expected[0], rtol=0, atol=1e-5)
    assert not multiprocessing.active_children()


def test_a_killed_process_takes_its_file_with_it_and_no_other(espnet_model, tasks, tmp_path):
    _, _, weights = espnet_model()
    told = []

    def kill_at_the_second_file(seconds):
        told.append(seconds)
        if sum(told) == pytest.approx(9):  # one chunk of the long one is done
            (worker,) = multiprocessing.active_children()
            worker.kill()

    one_by_one = Options(Depths((1,)), Chunking.in_seconds(RATE))
    outcomes = list(
        separate_in_jobs({"model_tag": weights}, tasks, one_by_one, 1, 1, kill_at_the_second_file)
    )
    assert [outcome.status for outcome in outcomes] == ["done", "failed", "done"]
    reason = outcomes[1].reason
    assert reason.startswith(f"{tasks[1].source}: its process died (SIGKILL)")
    assert names(tmp_path / "out") == ["a_spk1.wav", "a_spk2.wav", "c_spk1.wav", "c_spk2.wav"]


def test_processes_that_cannot_begin(tasks, tmp_path):
    outcomes = list(separate_in_jobs({"model_tag": tmp_path}, tasks, OPTIONS, 2, 1))
    assert [outcome.source for outcome in outcomes] == [task.source for task in tasks]
    assert all("no process could load the model" in outcome.reason for outcome in outcomes)
