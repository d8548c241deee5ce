"""The benchmark of exported models, with planted models and times."""

import pytest
from noise_mixtures import write_noise_mixtures

from espnet2_tisdiss import SeparateSpeech

for package in ("onnx", "onnxruntime"):
    pytest.importorskip(package)
import exported  # noqa: E402  (needs the two)


def test_each_way_has_a_row(espnet_model, tmp_path, monkeypatch, capsys):
    _, _, weights = espnet_model()
    model = SeparateSpeech.from_pretrained(weights)

    def export_model(_, folder, precision):
        folder.mkdir()
        (folder / "encode.onnx").write_bytes(bytes(2_500_000))

    monkeypatch.setattr(exported, "export_model", export_model)
    monkeypatch.setattr(exported, "OnnxModel", lambda folder, threads: model)
    monkeypatch.setattr(exported, "drop_page_cache", lambda: False)
    monkeypatch.setattr(exported, "begin", lambda threads, device: None)
    monkeypatch.setattr(exported, "times", lambda programs, *_: dict.fromkeys(programs, 1.5))
    monkeypatch.setattr(exported, "machine", lambda device: "a machine\n")
    page = tmp_path / "page.md"
    page.write_text("<!-- exported -->\n<!-- /exported -->\n")
    write_noise_mixtures(tmp_path / "data", [0.5])
    exported.main([str(weights), str(tmp_path / "data"), "--limit", "1", "--page", str(page)])
    rows = [line.split("|")[1:-1] for line in page.read_text().splitlines() if line[:1] == "|"]
    cells = [[cell.strip() for cell in row] for row in rows]
    assert cells[0] == ["run by", "N_re 1", "N_re 2", "RTF at 1", "RTF at 2", "MB"]
    assert [row[0] for row in cells[2:7]] == [
        "PyTorch, float32",
        "PyTorch, auto",
        *(f"ONNX Runtime, {precision}" for precision in ("float32", "float16", "int8")),
    ]
    assert cells[2][1:3] == cells[4][1:3] and cells[4][5] == "2.50"
    assert cells[-1] == ["ONNX Runtime, int8", "1.50"]
    assert "Not measured cold" in page.read_text()
