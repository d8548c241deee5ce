"""Kaldi's lists are read strictly."""

from __future__ import annotations

from pathlib import Path

import pytest

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import read_scp, write_scp


def test_a_value_may_hold_spaces(tmp_path: Path) -> None:
    (tmp_path / "wav.scp").write_text("b  some folder/b.wav\na\tx.wav\n")
    assert read_scp(tmp_path / "wav.scp") == {"b": "some folder/b.wav", "a": "x.wav"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "list is empty"),
        ("a 1\nb\n", ":2: expected '<key> <value>', found 'b'"),
        ("a 1\n\nb 2\n", ":2: expected '<key> <value>', found ''"),
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
