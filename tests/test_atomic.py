"""Files and folders appear complete or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from espnet2_tisdiss.atomic import clean_up, replacing, replacing_folder, write_atomically
from espnet2_tisdiss.audio.writing import AudioWriter, OutputFormat
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import write_scp


@pytest.mark.parametrize(
    ("umask", "file", "folder"), [(0o022, 0o644, 0o755), (0o077, 0o600, 0o700)]
)
def test_permissions_follow_the_umask(tmp_path: Path, umask: int, file: int, folder: int) -> None:
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "new" / "file", "text")
        with replacing_folder(tmp_path / "folder"):
            pass
    finally:
        os.umask(before)
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("new", "new/file", "folder")]
    assert modes == [folder, file, folder]


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(TisdissError, match="/folder: cannot be written: Is a directory$"):
        write_atomically(tmp_path / "folder", b"")
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


@pytest.mark.promise("on-the-disk")
def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    with replacing_folder(folder) as temporary:
        (temporary / "a").write_text("1")
        assert not folder.exists()
    with pytest.raises(RuntimeError), replacing_folder(folder) as temporary:
        (temporary / "b").write_text("2")
        raise RuntimeError
    assert [path.name for path in folder.iterdir()] == ["a"]
    with replacing_folder(folder) as temporary:
        (temporary / "c").write_text("3")
    assert [path.name for path in folder.iterdir()] == ["c"]
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.promise("on-the-disk")
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

    with pytest.raises(error), replacing_folder(folder) as temporary:
        (temporary / "new").touch()
        monkeypatch.setattr(Path, "rename", stopped)
    assert [path.name for path in folder.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.promise("disk-full")
def test_a_full_disk_names_the_file(tmp_path: Path, full_disk: None) -> None:
    path = tmp_path / "wav.scp"
    with pytest.raises(OSError, match=f"File too large: '{path}'$"):
        write_scp(path, {f"key{number}": "value" for number in range(100)})
    folder = tmp_path / "set"
    message = f"File too large: '{folder}/wav.scp'$"
    with pytest.raises(OSError, match=message), replacing_folder(folder) as temporary:
        write_scp(temporary / "wav.scp", {f"key{number}": "value" for number in range(100)})
    message = f"File too large: '{folder}'$"
    with pytest.raises(OSError, match=message), replacing_folder(folder) as temporary:
        (temporary / "file").write_bytes(bytes(1000))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["pipe", "device", "stream"])
def test_what_is_no_ordinary_file_is_not_replaced(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to(os.devnull)
    (tmp_path / "stream").symlink_to("/proc/self/fd/1")
    before = os.lstat(tmp_path / name)
    writers = [
        lambda path: write_atomically(path, "text"),
        lambda path: replacing_folder(path).__enter__(),
        lambda path: AudioWriter(path, 8000, 0, OutputFormat()).__enter__(),
    ]
    for write in writers:
        with pytest.raises(TisdissError, match=f"^{tmp_path / name}: is a device, a pipe or a st"):
            write(tmp_path / name)
    assert os.lstat(tmp_path / name) == before
    assert len(list(tmp_path.iterdir())) == 3


def test_an_error_about_another_file_keeps_its_name(tmp_path: Path) -> None:
    other = tmp_path / "other"
    with pytest.raises(FileNotFoundError, match=f"'{other}'$"), replacing(tmp_path / "list"):
        other.read_text()
    with pytest.raises(OSError, match="^a text$"), replacing(tmp_path / "list"):
        raise OSError("a text")


def test_what_killed_processes_left_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    (folder / "inner").mkdir(parents=True)
    (folder / "kept").touch()
    others = tmp_path / ".aside-3" / "other"  # of another folder next to it
    for half in (
        tmp_path / ".aside-1/set/half",
        folder / ".aside-2/half",
        folder / "inner/.aside-4/half",
        others,
    ):
        half.parent.mkdir(parents=True)
        half.touch()
    (folder / ".aside-uuid").touch()
    clean_up(folder)
    assert sorted(path.name for path in folder.rglob("*")) == ["inner", "kept"]
    assert others.exists() and not (tmp_path / ".aside-1").exists()


@pytest.mark.promise("on-the-disk")
@pytest.mark.parametrize("last", ["folder away", "named"])
def test_a_folder_is_never_lost_between_old_and_new(tmp_path: Path, last: str) -> None:
    folder, temporary = tmp_path / "set", tmp_path / ".aside-1"
    for name, content in (("set", "new"), (".replaced", "old")):
        (temporary / name).mkdir(parents=True)
        (temporary / name / content).touch()
    if last == "named":
        (temporary / "set").rename(folder)
    clean_up(folder if last == "folder away" else tmp_path)
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.promise("on-the-disk")
def test_content_is_on_the_disk_before_it_has_its_name_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []

    def fsync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        events.append(f"fsync {path.name}" if path != tmp_path else "fsync names")

    def rename(path: Path, target: Path) -> None:
        events.append(f"rename {target.name}")
        os.rename(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "sync", lambda: events.append("sync"))
    monkeypatch.setattr(Path, "rename", rename)
    monkeypatch.setattr(Path, "replace", rename)
    write_atomically(tmp_path / "file", "text")
    assert events == ["fsync file", "rename file", "fsync names"]
    events.clear()
    with replacing_folder(tmp_path / "set"):
        pass
    assert events == ["sync", "rename set", "fsync names"]
