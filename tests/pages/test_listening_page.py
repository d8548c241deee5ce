"""The listening page: its content, and its use in a real browser."""

import base64
import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import chromium
import numpy as np
import pytest
import soundfile
import soxr
from microphones import median_likeness, microphone_that_hears

from espnet2_tisdiss import SeparateSpeech
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.pages.demo import import_gradio, is_loopback, run, serve
from espnet2_tisdiss.pages.listening import Separation, curve, mixer, separate, spectrograms
from espnet2_tisdiss.pretrained.bundled import example


@pytest.fixture(scope="module")
def model():
    return SeparateSpeech.from_pretrained("mini")


@pytest.fixture(scope="module")
def mixture():
    (path,) = (example("mini") / "mix").iterdir()
    return path


@pytest.fixture(scope="module")
def found(model, mixture):
    sources = [example("mini") / f"s{number}" / mixture.name for number in (1, 2)]
    return separate(model, mixture, 60, sources=sources)


def test_every_depth_is_that_of_the_model(model, mixture, found):
    assert list(found.voices) == [1, 2, 3, 4] and found.suggested == 3
    voices, rate = model.file(mixture, n_re=2)
    assert found.rate == rate
    np.testing.assert_allclose(found.voices[2], voices, atol=1e-5)


def test_nothing_stays_on_the_disk(model, mixture, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    separate(model, mixture, 60)
    assert list(tmp_path.iterdir()) == []


def test_a_budget_suggests_a_depth(model, mixture):
    assert separate(model, mixture, 60, rtf=1e-9).suggested == 1


def test_the_mixer_has_the_tracks_of_both_depths(found):
    page = mixer(found, [1, 3])
    labels = re.findall(r'data-label="([^"]+)"', page)
    assert labels == ["mixture", *(f"voice {j}, N_re {n}" for n in (1, 3) for j in (1, 2))]
    muted = re.findall(r'data-act="mute" aria-pressed="(\w+)"', page)
    assert muted == ["true", "false", "false", "true", "true"]
    assert len(set(re.findall(r'data-src="([^"]+)"', page))) == 5
    assert spectrograms(found, [1, 3]).startswith(b"\x89PNG")


def test_the_curve_needs_no_sources(found):
    without = Separation(found.rate, found.mixture, found.voices, None, 1.0, 3)
    assert curve(found) != curve(without)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"no audio", "cannot be read"), (None, "60 s long; this page takes 2 s at most")],
)
def test_bad_files_are_a_message(model, tmp_path, content, reason):
    path = tmp_path / "<b>bad.wav"
    if content is None:
        soundfile.write(path, np.zeros(60 * 8000), 8000)
    else:
        path.write_bytes(content)
    found, message = run(model, str(path), None, 0, 2)
    assert found is None and "<b>" not in message and str(tmp_path) not in message
    assert reason in message or "format" in message


def test_only_this_machine_by_default():
    assert [is_loopback(h) for h in ("127.0.0.1", "::1", "localhost")] == [True] * 3
    assert [is_loopback(h) for h in ("0.0.0.0", "192.168.0.2", "a.example")] == [False] * 3


def test_without_gradio_it_is_one_line(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(TisdissError, match=r"pip install 'espnet2_tisdiss\[demo\]'"):
        import_gradio()


def test_a_port_that_is_taken_is_one_line(model):
    pytest.importorskip("gradio")
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(TisdissError, match="give another --port"):
            serve(model, "127.0.0.1", port, 60, 50, lambda _: None)


@pytest.fixture
def page(tmp_path, mixture):
    """The page in a browser without network."""
    pytest.importorskip("gradio", reason="Gradio is not installed")
    if reason := chromium.missing():
        pytest.skip(reason)
    command = [sys.executable, "-u", "-m", "espnet2_tisdiss.cli", "demo", "-m", "mini"]
    (tmp_path / "temporary").mkdir()
    server = subprocess.Popen(
        [*command, "--port", "0", "--most-seconds", "20", "--most-mb", "1"],
        stdout=subprocess.PIPE,
        stderr=(tmp_path / "stderr").open("w"),
        env={**os.environ, "TMPDIR": str(tmp_path / "temporary")},
        text=True,
    )
    try:
        address = server.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), (tmp_path / "stderr").read_text()
        with chromium.launched(*microphone_that_hears(mixture)) as browser:
            page = browser.new_page()
            page.set_default_timeout(120_000)
            page.asked = []
            page.on("request", lambda request: page.asked.append(request.url))
            page.goto(address)
            page.wait_for_selector("#separate")
            yield page
    finally:
        server.terminate()
        server.wait(60)
    assert list((tmp_path / "temporary").iterdir()) == []  # nothing from the user is kept


def sounds(page):
    tracks = "tracks => tracks.map(track => [track.dataset.label, track.dataset.src])"
    return dict(page.eval_on_selector_all("#player .track", tracks))


def wait_for_tracks(page, label):
    page.wait_for_selector(f'#player .track[data-label="{label}"]')
    return sounds(page)


@pytest.mark.slow
def test_a_browser_separates_changes_the_depth_and_plays(page):
    page.click("#pick input")
    page.click("text=two synthesised voices")
    page.click("#separate")
    third = wait_for_tracks(page, "voice 1, N_re 3")
    page.focus("#depth input[type=range]")
    page.press("#depth input[type=range]", "Home")
    first = wait_for_tracks(page, "voice 1, N_re 1")
    assert first["mixture"] == third["mixture"]
    assert first["voice 1, N_re 1"] != third["voice 1, N_re 3"]
    page.focus("#other input[type=range]")
    page.press("#other input[type=range]", "End")
    both = wait_for_tracks(page, "voice 2, N_re 4")
    assert len(both) == 5 and both["voice 2, N_re 1"] == first["voice 2, N_re 1"]
    assert page.locator("#spectrograms img").count() == page.locator("#curve img").count() == 1
    solo = page.locator("#player [data-act=solo]").first
    solo.click()
    assert solo.get_attribute("aria-pressed") == "true"
    page.click("#player [data-act=play]")
    page.wait_for_function("document.querySelector('#player [data-act=seek]').value > 0.3")
    assert {re.match(r"\w+://[^/:]+|data:", url)[0] for url in page.asked} <= {
        "http://127.0.0.1",
        "data:",
    }


@pytest.mark.slow
def test_a_browser_separates_what_its_microphone_hears(page, mixture):
    page.click("#mixture button[aria-label='Record audio'], #mixture button[title*=icrophone]")
    page.click("#mixture button:has-text('Record')")
    page.wait_for_timeout(4000)
    page.click("#mixture button:has-text('Stop')")
    page.wait_for_selector("#mixture [data-testid=download-link]")  # it has been sent
    page.click("#separate")
    heard = wait_for_tracks(page, "voice 2, N_re 3")
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(heard["mixture"].split(",")[1])))
    played, played_rate = soundfile.read(mixture)
    samples = soxr.resample(samples, rate, played_rate)
    # the browser suppresses noise, so the sound is similar only; backwards it is not
    forwards, backwards = (median_likeness(samples, one) for one in (played, played[::-1]))
    assert forwards > 0.6 > backwards + 0.1


@pytest.mark.slow
def test_a_browser_shows_what_is_wrong_with_files(page, tmp_path):
    bad, long = tmp_path / "bad.wav", tmp_path / "long.wav"
    bad.write_bytes(b"RIFF no audio")
    soundfile.write(long, np.zeros(30 * 8000), 8000)
    for path, message in ((bad, "bad.wav"), (long, "30 s long; this page takes 20 s")):
        page.set_input_files("#mixture input[type=file]", path)
        page.wait_for_selector("#mixture button[aria-label=Clear], #mixture audio, #mixture .error")
        page.click("#separate")
        page.wait_for_function(
            "text => document.querySelector('#message').innerText.includes(text)", arg=message
        )
        assert sounds(page) == {}
        page.reload()
        page.wait_for_selector("#separate")
    huge = tmp_path / "huge.wav"
    soundfile.write(huge, np.zeros(10 * 80000), 80000)
    page.set_input_files("#mixture input[type=file]", huge)
    page.wait_for_selector("text=/exceed|too large|size/i")
    assert not Path(tmp_path, "separated").exists()
