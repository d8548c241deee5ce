"""Audio in folders: suffixes, hidden files, and links of every kind."""

import os
from pathlib import Path

import pytest
from empty_files import touch

from espnet2_tisdiss import TisdissError
from espnet2_tisdiss.audio.folders import audio_files, each_once, walk


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def found(*args, **kwargs):
    return [str(path) for path in audio_files(*args, **kwargs).files]


def test_what_looks_like_audio_but_cannot_be_read_is_counted():
    touch("in/a.wav", "in/b.OPUS", "in/sub/c.sph", "in/notes.txt", "in/.x.dss", "in/noext")
    touch("in/a.dss", "in/sub/b.DSS", "in/c.raw", "in/d.mid")
    files = audio_files("in")
    assert [str(path) for path in files.files] == ["in/a.wav", "in/b.OPUS", "in/sub/c.sph"]
    assert files.left_out == {".dss": 2, ".raw": 1, ".mid": 1}
    assert files.notice() == "4 files left out (2 .dss, 1 .raw, 1 .mid)"
    assert found("in", subfolders=False) == ["in/a.wav", "in/b.OPUS"]
    assert audio_files("in/sub", without=[Path("in/sub")]).notice() == "1 file left out (1 .dss)"


def test_linked_folders_are_searched_once():
    touch("in/z/a.wav", "else/b.wav", "else/deep/c.wav")
    os.symlink("../else", "in/one")
    os.symlink("../else", "in/two")
    os.symlink("z", "in/also_z")
    assert found("in") == ["in/z/a.wav", "in/one/b.wav", "in/one/deep/c.wav"]
    assert found("in", without=[Path("else/deep")]) == ["in/z/a.wav", "in/one/b.wav"]


def test_links_to_themselves_and_to_folders_above_end():
    touch("top/in/a.wav", "top/other.wav")
    os.symlink(".", "top/in/here")
    os.symlink("..", "top/in/up")
    os.symlink("/", "top/in/root")
    os.symlink("itself", "top/in/itself")
    assert found("top/in") == ["top/in/a.wav"]
    assert [str(place) for place, _ in walk("top")] == ["top", "top/in"]


def test_a_linked_file_is_listed_once():
    touch("in/b.wav", "else/c.wav")
    os.symlink("b.wav", "in/a.wav")
    os.symlink("../else/c.wav", "in/first.wav")
    os.symlink("../else/c.wav", "in/second.wav")
    os.symlink("none.wav", "in/third.wav")  # its error is reported when it is read
    assert found("in") == ["in/b.wav", "in/first.wav", "in/third.wav"]
    real = {os.path.realpath("else/c.wav")}
    assert each_once([Path("in/b.wav"), Path("in/first.wav")], real) == [Path("in/b.wav")]


def test_a_folder_that_is_missing():
    with pytest.raises(TisdissError, match="none: cannot be read"):
        audio_files("none")
