"""Lists and data directories are read strictly and written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from espnet2_tisdiss.recipes.data_directories import (
    DataError,
    build_aside,
    copy_lists,
    read_data_dir,
    read_scp,
    write_aside,
    write_scp,
    write_speakers,
)


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
    with pytest.raises(DataError) as error:
        read_scp(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_or_binary_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such file"):
        read_scp(tmp_path / "nowhere")
    (tmp_path / "binary").write_bytes(b"a \xff\xfe\n")
    with pytest.raises(DataError, match="binary: cannot be read"):
        read_scp(tmp_path / "binary")


def test_lists_are_sorted_in_byte_order(tmp_path: Path) -> None:
    write_scp(tmp_path / "list", {"ä": "4", "a_b": "3", "aB": "2", "B": "1", "a": "2"})
    keys = list(read_scp(tmp_path / "list"))
    assert keys == ["B", "a", "aB", "a_b", "ä"]


def test_speaker_lists_belong_together(tmp_path: Path) -> None:
    write_speakers(tmp_path, {"s2-b": "s2", "s1-z": "s1", "s1-a": "s1"})
    assert (tmp_path / "utt2spk").read_text() == "s1-a s1\ns1-z s1\ns2-b s2\n"
    assert (tmp_path / "spk2utt").read_text() == "s1 s1-a s1-z\ns2 s2-b\n"


def test_lists_with_different_keys_are_refused(tmp_path: Path) -> None:
    write_scp(tmp_path / "wav.scp", {"a": "1", "b": "2"})
    write_scp(tmp_path / "spk1.scp", {"a": "1"})
    write_scp(tmp_path / "spk2.scp", {"a": "1", "b": "2", "c": "3"})
    with pytest.raises(DataError, match="spk1.scp: lacks utterance 'b', which wav.scp has"):
        read_data_dir(tmp_path, ["wav.scp", "spk1.scp"])
    with pytest.raises(DataError, match="spk2.scp: has utterance 'c', which wav.scp lacks"):
        read_data_dir(tmp_path, ["wav.scp", "spk2.scp"])
    with pytest.raises(DataError, match="no such data directory"):
        read_data_dir(tmp_path / "nowhere", ["wav.scp"])


def test_copied_lists_keep_only_the_keys(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    write_speakers(source, {"s1-a": "s1", "s2-b": "s2"})
    copy_lists([source / "utt2spk"], target, {"s1-a"})
    assert (target / "spk2utt").read_text() == "s1 s1-a\n"
    with pytest.raises(DataError, match="utt2spk: lacks utterance 'x'"):
        copy_lists([source / "utt2spk"], target, {"x"})


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text("old")
    with pytest.raises(RuntimeError), write_aside(path) as aside:
        aside.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    with build_aside(folder) as aside:
        (aside / "a").write_text("1")
        assert not folder.exists()
    with pytest.raises(RuntimeError), build_aside(folder) as aside:
        (aside / "b").write_text("2")
        raise RuntimeError
    assert [path.name for path in folder.iterdir()] == ["a"]
    with build_aside(folder) as aside:
        (aside / "c").write_text("3")
    assert [path.name for path in folder.iterdir()] == ["c"]
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_the_old_folder_comes_back_if_the_new_one_does_not_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    folder, rename = tmp_path / "set", Path.rename
    folder.mkdir()
    (folder / "old").touch()

    def stopped(path: Path, target: Path) -> Path:
        if target != folder:
            return rename(path, target)
        monkeypatch.undo()
        raise error

    with pytest.raises(error), build_aside(folder) as aside:
        (aside / "new").touch()
        monkeypatch.setattr(Path, "rename", stopped)
    assert [path.name for path in folder.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [folder]


def test_a_full_disk_names_the_file(tmp_path: Path, full_disk: None) -> None:
    path = tmp_path / "wav.scp"
    with pytest.raises(OSError, match=f"File too large: '{path}'$"):
        write_scp(path, {f"key{number}": "value" for number in range(100)})
    folder = tmp_path / "set"
    message = f"File too large: '{folder}/wav.scp'$"
    with pytest.raises(OSError, match=message), build_aside(folder) as aside:
        write_scp(aside / "wav.scp", {f"key{number}": "value" for number in range(100)})
    message = f"File too large: '{folder}'$"
    with pytest.raises(OSError, match=message), build_aside(folder) as aside:
        (aside / "file").write_bytes(bytes(1000))
    assert not list(tmp_path.iterdir())


def test_an_error_about_another_file_keeps_its_name(tmp_path: Path) -> None:
    other = tmp_path / "other"
    with pytest.raises(FileNotFoundError, match=f"'{other}'$"), write_aside(tmp_path / "list"):
        other.read_text()
    with pytest.raises(OSError, match="^a text$"), write_aside(tmp_path / "list"):
        raise OSError("a text")
