"""``tisdiss report``: the page has the folder's content, and nothing that a browser could run."""

import base64
import csv
import io
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from espnet2_tisdiss.cli.app import app
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import write_scp
from espnet2_tisdiss.pages.html import PEAK, player
from espnet2_tisdiss.pages.report import make_report
from espnet2_tisdiss.pages.report_recordings import likeness

RATE = 8000
EVIL = "<img src=x onerror=alert(1)>&"
TIME = np.arange(RATE) / RATE


class Page(HTMLParser):
    """The tags and texts of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def tone(path, hertz, seconds=1.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * hertz * TIME[: round(seconds * RATE)]), RATE)
    return str(path)


@pytest.fixture
def experiment(tmp_path):
    """An experiment with 12 mixtures at two depths, the audio of one of them."""
    exp, data = tmp_path / "exp/enh_x", tmp_path / "dump/raw/test"
    exp.mkdir(parents=True)
    keys = [EVIL.replace(" ", "_"), *(f"m{number:02}" for number in range(11))]
    with (exp / "RESULTS.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["dataset", "n_re", "utterance", "STOI", "SI_SNR", "SI_SNRi"])
        for number, key in enumerate(keys):
            writer.writerow(["test", "mixture", key, "70", "0", "0"])
            writer.writerow(["test", "1", key, "80", number - 1, number - 1])
            writer.writerow(["test", "3", key, "90", number + 1, number + 1])
    (exp / "config.yaml").write_text(f"separator: tisdiss  # {EVIL}\n")
    data.mkdir(parents=True)
    write_scp(data / "wav.scp", {keys[0]: "audio/mix.wav"})  # from where the recipe ran
    tone(tmp_path / "audio/mix.wav", 500)
    for number in (1, 2):
        folder = exp / "enhanced_re3_test"
        folder.mkdir(exist_ok=True)
        write_scp(folder / f"spk{number}.scp", {keys[0]: tone(exp / f"wavs/{number}.wav", 300)})
    return exp, data


def check_safe(text):
    page = Page(text)
    assert not page.all("script") and not page.all("link") and not page.all("iframe")
    for tag in ("img", "audio", "source"):
        assert all(one["src"].startswith("data:") for one in page.all(tag))
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert "default-src 'none'" in page.all("meta")[1]["content"]
    return page


def test_an_experiment(experiment):
    exp, data = experiment
    page = check_safe(make_report(exp, [data]))
    words = "|".join(page.texts)
    # mean, median, percentiles of 1 .. 12, share of losses; at N_re 1 one of twelve loses
    assert "3|6.50|6.50|2.10|10.90|0%|6.50|90.00" in words
    assert "1|4.50|4.50|0.10|8.90|8%|4.50|80.00" in words
    assert "Best: N_re 3." in words and "The 10 worst of test" in words
    assert "m08|8.00|10.00" in words and "m09|" not in words  # the worst ten of twelve
    assert page.texts.count("speaker 1") == page.texts.count("mixture") - 1 == 1
    assert len(page.all("audio")) == 3  # of the one mixture whose files are there
    assert EVIL in "".join(page.texts)  # as text, from the configuration
    assert EVIL.replace(" ", "_") in page.texts
    pictures = [base64.b64decode(one["src"].partition(",")[2]) for one in page.all("img")]
    assert len(pictures) == 2 and all(one.startswith(b"\x89PNG") for one in pictures)


def test_pictures_of_the_experiment_are_taken_in(experiment):
    exp, _ = experiment
    (exp / "training_curve.png").write_bytes(b"\x89PNG curve")
    page = Page(make_report(exp))
    assert base64.b64encode(b"\x89PNG curve").decode() in page.all("img")[-1]["src"]


def test_separated_files(tmp_path):
    for number, hertz in ((1, 500), (2, 900)):
        tone(tmp_path / f"{EVIL.replace('/', '')}_re2_spk{number}.wav", hertz)
        tone(tmp_path / f"inner/same_spk{number}.wav", 700)
    (tmp_path / "bad_spk1.wav").write_bytes(b"nothing")
    (tmp_path / "bad_spk2.wav").write_bytes(b"nothing")
    page = check_safe(make_report(tmp_path))
    words = "|".join(page.texts)
    assert "2|1|0.000|0.000" in words and "of the run|1|1.000|1.000" in words
    assert words.index("inner/same: 1.000") < words.index("N_re 2: 0.000")  # most alike first
    assert len(page.all("audio")) == 4
    assert "bad_spk1.wav: " in words  # named with the reason


def test_a_player_has_the_sound_at_a_common_peak():
    (audio,) = Page(player(0.01 * np.sin(2 * np.pi * 440 * TIME), RATE, "x")).all("audio")
    content = io.BytesIO(base64.b64decode(audio["src"].partition(",")[2]))
    samples, rate = soundfile.read(content)
    assert rate == RATE and np.abs(samples).max() == pytest.approx(PEAK, abs=0.05)
    spectrum = np.abs(np.fft.rfft(samples[:RATE]))
    assert abs(spectrum.argmax() - 440) <= 1


def test_likeness():
    a, b = np.sin(2 * np.pi * 440 * TIME), np.sin(2 * np.pi * 900 * TIME)
    assert likeness([a, b]) == pytest.approx(0, abs=1e-6)
    assert likeness([a, -0.1 * a + 1]) == pytest.approx(1)
    assert likeness([a, np.zeros_like(a)]) == 0


def test_the_command_writes_beside_the_folder_or_where_asked(experiment, tmp_path):
    exp, data = experiment
    done = CliRunner().invoke(app, ["report", str(exp), "--data", str(data)])
    assert done.exit_code == 0
    assert (exp / "report.html").read_text().startswith("<!DOCTYPE html>")
    out = tmp_path / "new/page.html"
    done = CliRunner().invoke(app, ["report", str(exp), "-o", str(out), "--json"])
    assert done.exit_code == 0 and out.is_file() and str(out) in done.stdout


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (None, "", "holds no scores"),
        ("RESULTS.csv", "a,b\n1,2\n", "is no table of scores"),
        ("mixtures.csv", "mixture,n_re,si_snri\nm,1,much\n", "is no table of scores"),
    ],
)
def test_a_folder_without_results_is_one_line(tmp_path, name, content, reason):
    if name:
        (tmp_path / name).write_text(content)
    with pytest.raises(TisdissError, match=reason) as found:
        make_report(tmp_path)
    assert "\n" not in str(found.value)
    with pytest.raises(TisdissError, match="is no folder"):
        make_report(tmp_path / "none")


def test_a_sweep(tmp_path):
    (tmp_path / "mixtures.csv").write_text(
        "mixture,seconds,n_re,si_snr,si_snri,sdri\na,1,1,2,3,\na,1,2,4,5,\n"
    )
    words = "|".join(Page(make_report(tmp_path)).texts)
    assert "Best: N_re 2." in words and "2|5.00|5.00|5.00|5.00|0%|4.00" in words
