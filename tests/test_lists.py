"""Kaldi's lists are read strictly."""

from __future__ import annotations

from pathlib import Path

import pytest

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import Source, read_scp, read_sources, write_scp


def test_a_value_may_hold_spaces(tmp_path: Path) -> None:
    (tmp_path / "wav.scp").write_text("b  some folder/b.wav\na\tx.wav\n")
    assert read_scp(tmp_path / "wav.scp") == {"b": "some folder/b.wav", "a": "x.wav"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "list is empty"),
        ("a 1\nb\n", ":2: expected '<key> <value>', found 'b'"),
        ("a 1\n\nb\n", ":3: expected '<key> <value>', found 'b'"),
        ("a 1\nb 2\0.wav\n", ":2: contains a NUL byte"),
        ("a 1\nb 2\na 3\n", ":3: key 'a' was already used in line 1"),
    ],
)
def test_a_malformed_list_is_refused_by_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "wav.scp"
    path.write_text(content)
    with pytest.raises(TisdissError) as error:
        read_scp(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffa x y.wav\nb z.wav\n",
        "a x y.wav\r\nb\tz.wav \r\n",
        "\n \na x y.wav\n\n\nb z.wav",
        "a x y.wav\n\ufeffb z.wav\n",  # joined from two files
    ],
)
def test_marks_blanks_and_line_ends_do_not_matter(tmp_path: Path, content: str) -> None:
    (tmp_path / "wav.scp").write_bytes(content.encode())
    assert read_scp(tmp_path / "wav.scp") == {"a": "x y.wav", "b": "z.wav"}


def test_only_blanks_separate_columns(tmp_path: Path) -> None:
    (tmp_path / "wav.scp").write_text("k\u3000 \u00a0a\u2028b.wav\u00a0\n")
    assert read_scp(tmp_path / "wav.scp") == {"k\u3000": "\u00a0a\u2028b.wav\u00a0"}


def test_the_kinds_of_entries(tmp_path: Path) -> None:
    (tmp_path / "at:12").touch()
    lines = ["a x y.wav", "b some/x.ark:12", f"c {tmp_path}/at:12", "d sox a.wav -t wav - |"]
    (tmp_path / "wav.scp").write_text("\n".join(lines))
    sources = read_sources(tmp_path / "wav.scp", run_commands=True)
    assert [source.is_file for source in sources.values()] == [True, False, True, False]
    assert sources["b"].archive == (Path("some/x.ark"), 12)
    assert [key for key, source in sources.items() if source.is_command] == ["d"]


def test_segments_cut_the_recordings(tmp_path: Path) -> None:
    (tmp_path / "wav.scp").write_text("r x.wav\ns y.wav\n")
    (tmp_path / "segments").write_text("b r 0.5 2\na r 1.25 -1\n")
    sources = read_sources(tmp_path / "wav.scp")
    assert sources == {"b": Source("x.wav", 0.5, 2.0), "a": Source("x.wav", 1.25)}
    assert [str(source) for source in sources.values()] == [
        "x.wav (0.5 s to 2 s)",
        "x.wav (1.25 s to the end)",
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("wav.scp", "r a.wav b.wav\n", "r: has 2 columns of files"),
        ("wav.scp", "r a.wav speaker 1\n", "give only the path, as a.wav, after the key"),
        ("wav.scp", "r x.ark:12[0:9]\n", "a range ([0:9]) cannot be read"),
        ("wav.scp", "r cat a.wav |\n", "r: is a command, not the path of a file: cat a.wav |"),
        ("wav.scp", "r https://x.org/a.wav\n", "addresses are not downloaded: https://x.org/a.wav"),
        ("segments", "u r 1\n", "u: expected '<key> <recording> <start> <end>'"),
        ("segments", "u r 1 2 A\n", "u: expected"),
        ("segments", "u r 2 1\n", "u: expected"),
        ("segments", "u r nan 1\n", "u: expected"),
        ("segments", "u q 1 2\n", "u: wav.scp lacks the recording q"),
    ],
)
def test_entries_that_cannot_be_read_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in ("a.wav", "b.wav"):
        Path(path).touch()
    Path("wav.scp").write_text("r a.wav\n")
    Path(name).write_text(content)
    with pytest.raises(TisdissError) as error:
        read_sources("wav.scp")
    assert str(error.value).startswith(f"{name}: ") and message in str(error.value)


def test_a_missing_or_binary_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TisdissError, match="nowhere: no such file"):
        read_scp(tmp_path / "nowhere")
    (tmp_path / "binary").write_bytes(b"a \xff\xfe\n")
    with pytest.raises(TisdissError, match="binary: cannot be read"):
        read_scp(tmp_path / "binary")


def test_lists_are_sorted_in_byte_order(tmp_path: Path) -> None:
    write_scp(tmp_path / "list", {"ä": "4", "a_b": "3", "aB": "2", "B": "1", "a": "2"})
    keys = list(read_scp(tmp_path / "list"))
    assert keys == ["B", "a", "aB", "a_b", "ä"]
