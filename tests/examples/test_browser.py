"""The page of examples/browser in a real browser: the same samples as in Python, and errors."""

import shutil

import chromium
import numpy as np
import pytest
import soundfile
from microphones import median_likeness, microphone_that_hears

from espnet2_tisdiss import SeparateSpeech
from espnet2_tisdiss.pretrained.bundled import example

for package in ("onnxscript", "onnxruntime"):
    pytest.importorskip(package)
from browser import RUNTIME, served  # noqa: E402  (needs the two)

from espnet2_tisdiss.onnx.export import export_model  # noqa: E402
from espnet2_tisdiss.onnx.model import OnnxModel  # noqa: E402

pytestmark = pytest.mark.slow
RATE = 8000
PEAK = 0.9
DONE = "#message:has-text('N_re {}')"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    if reason := chromium.missing():
        pytest.skip(reason)
    if not RUNTIME.exists():
        pytest.skip("ONNX Runtime Web is not installed: npm ci --ignore-scripts")
    folder = tmp_path_factory.mktemp("exported") / "mini"
    export_model(SeparateSpeech.from_pretrained("mini"), folder)
    return folder


@pytest.fixture(scope="module")
def mixture():
    (path,) = (example("mini") / "mix").iterdir()
    return path


@pytest.fixture(scope="module")
def site(folder, mixture, tmp_path_factory):
    """A browser, and the address of the page with a good model and a damaged one."""
    damaged = shutil.copytree(folder, tmp_path_factory.mktemp("damaged") / "mini")
    (damaged / "repeat.onnx").write_bytes((folder / "encode.onnx").read_bytes())
    with (
        served({"model": folder, "damaged": damaged}) as address,
        chromium.launched(*microphone_that_hears(mixture)) as browser,
    ):
        yield browser, address


@pytest.fixture
def page(site):
    browser, address = site
    page = browser.new_page()
    page.set_default_timeout(120_000)
    page.asked = []
    page.on("request", lambda request: page.asked.append((request.method, request.url)))
    page.goto(f"{address}/index.html")
    page.wait_for_selector("#file:enabled")
    yield page
    page.close()


def sounds(page):
    """The files of the players: name -> samples."""
    found = {}
    for link in page.locator("#players a").all():
        with page.expect_download() as download:
            link.click()
        samples, rate = soundfile.read(download.value.path(), dtype="float32")
        assert rate == RATE
        found[download.value.suggested_filename] = samples
    return found


def speakers(found, depth):
    assert list(found)[1:] == [f"talk_re{depth}_spk{number}.wav" for number in (1, 2)]
    return np.stack(list(found.values())[1:])


def test_the_samples_are_pythons_at_every_depth(page, site, folder, mixture, tmp_path):
    samples, _ = soundfile.read(mixture, dtype="float32")
    soundfile.write(tmp_path / "talk.wav", samples, RATE, "FLOAT")
    expected = OnnxModel(folder).depths([samples], [1, 3], "peak")
    page.set_input_files("#file", tmp_path / "talk.wav")
    page.wait_for_selector(DONE.format(3))
    deep = sounds(page)
    page.press("#depth", "Home")
    page.wait_for_selector(DONE.format(1))
    shallow = sounds(page)
    np.testing.assert_array_equal(deep["mixture.wav"], samples)
    for depth, found in ((3, deep), (1, shallow)):
        wanted = expected[depth][0]
        np.testing.assert_allclose(speakers(found, depth), wanted, rtol=0, atol=1e-4 * PEAK)
    assert np.abs(speakers(deep, 3) - speakers(shallow, 1)).max() > 100e-4 * PEAK
    for method, url in page.asked:  # nothing leaves the browser
        assert method == "GET" and url.startswith((f"{site[1]}/", "blob:", "data:"))


def test_a_long_recording_is_cut_and_joined_as_in_python(page, folder, mixture, tmp_path):
    samples, _ = soundfile.read(mixture, dtype="float32")
    samples = np.tile(samples, 3)[: round(8.7 * RATE)]
    soundfile.write(tmp_path / "talk.wav", samples, RATE, "FLOAT")
    page.press("#depth", "Home")
    page.set_input_files("#file", tmp_path / "talk.wav")
    page.wait_for_selector(DONE.format(1))
    expected = OnnxModel(folder).recording(samples, RATE, n_re=1, scale="peak", keep_rumble=True)
    np.testing.assert_allclose(speakers(sounds(page), 1), expected, rtol=0, atol=1e-4 * PEAK)


def test_what_the_microphone_hears_is_separated(page, mixture):
    page.press("#depth", "Home")
    page.click("#record")
    page.wait_for_selector("#record:has-text('Stop')")
    page.wait_for_timeout(4000)
    page.click("#record")
    page.wait_for_selector(DONE.format(1))
    heard, played = sounds(page)["mixture.wav"], soundfile.read(mixture)[0]
    # compressed on the way; backwards it is not similar
    forwards, backwards = (median_likeness(heard, one) for one in (played, played[::-1]))
    assert forwards > 0.6 > backwards + 0.1


def test_what_is_wrong_with_a_file_is_one_line(page, tmp_path):
    (tmp_path / "text.wav").write_text("no sound\n" * 1000)
    soundfile.write(tmp_path / "long.wav", np.zeros(301 * RATE), RATE)
    for name, reason in (
        ("text", "this browser cannot decode any sound"),
        ("long", "takes 300 s at most"),
    ):
        page.set_input_files("#file", tmp_path / f"{name}.wav")
        page.wait_for_selector(f"#message.error:has-text('{name}.wav: '):has-text('{reason}')")
        assert page.locator("#players a").count() == 0


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("damaged", "damaged/repeat.onnx: cannot be read, or differs from its SHA-256"),
        ("nothing", "nothing/model.json: File not found"),
    ],
)
def test_a_model_that_is_damaged_or_missing_is_one_line(site, model, reason):
    browser, address = site
    page = browser.new_page()
    page.goto(f"{address}/index.html?model={model}")
    page.wait_for_selector(f"#message.error:has-text('{reason}')", timeout=60_000)
    assert not page.is_enabled("#file")
    page.close()
