"""The benchmark of ten minutes of live separation, in one second and with a tiny model."""

import live
import numpy as np
from models import TINY
from noise_mixtures import write_noise_mixtures


def test_the_soak_plays_in_real_time(espnet_model, tmp_path, monkeypatch):
    _, config, _ = espnet_model()
    data = write_noise_mixtures(tmp_path / "data", [1.0])
    page = tmp_path / "page.md"
    page.write_text("<!-- live-soak -->\n<!-- /live-soak -->\n")
    monkeypatch.setattr(live, "SOAK_LATENCIES", (0.2, 0.4))
    live.main([str(config.parent), str(data), "--soak", "0.05", "--page", str(page)])
    rows = [line.split("|") for line in page.read_text().splitlines() if line.startswith("| 0.")]
    assert [float(row[1].split()[0]) for row in rows] == [0.2, 0.4]
    for row, hop in zip(rows, (0.1, 0.2), strict=True):
        assert 0.5 * 1.5 / hop <= float(row[2]) <= 1.5 / hop  # windows of 1.5 s; hops may be shared
        # a sample cannot be output before its look-ahead has arrived
        assert float(row[4].split()[0]) >= hop
        assert 1 <= float(row[8]) <= 2


def test_a_player_counts_what_comes_too_late(espnet_model, monkeypatch):
    from espnet2_tisdiss import SeparateSpeech

    _, config, weights = espnet_model()
    model = SeparateSpeech(config, weights)
    slow = model.anytime

    def anytime(*args, **options):
        live.time.sleep(0.5)
        yield from slow(*args, **options)

    monkeypatch.setattr(model, "anytime", anytime)
    row = live.play(model, 0.1 * np.random.randn(3 * 8000).astype(np.float32), 0.2)
    assert int(row[6]) >= 2 and float(row[5].split()[0]) > 0.5


def test_a_causal_model_has_its_section(espnet_model, tmp_path, monkeypatch):
    conf = {**TINY, "mask": True, "causal": True}
    _, config, _ = espnet_model(separator_conf=conf, model_conf={"normalize_variance": False})
    data = write_noise_mixtures(tmp_path / "data", [1.0])
    page = tmp_path / "page.md"
    page.write_text("<!-- live -->\n<!-- /live -->\n<!-- live-causal -->\n<!-- /live-causal -->\n")
    monkeypatch.setattr(live, "SETTINGS", ((0.2, 0.5),))
    live.main([str(config.parent), str(data), "--page", str(page)])
    other, causal = page.read_text().split("<!-- live-causal -->")
    assert "| live | 0.2 s | 0.5 s |" in causal and "|" not in other
