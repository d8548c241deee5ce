"""Finding the files to separate from the arguments of the command line."""

import os
from pathlib import Path

import pytest
from empty_files import touch

from espnet2_tisdiss import TisdissError
from espnet2_tisdiss.cli.input_arguments import find_inputs, without_separated
from espnet2_tisdiss.separate.input_files import InputFile

OUT = Path("out")
PATTERN = "{name}_spk{speaker}"


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def find_files(sources, out, **options):
    return find_inputs(sources, out, **options).inputs


def found(*sources, out=OUT):
    return [(str(item.source), str(item.folder), item.name) for item in find_files(sources, out)]


def item(source, folder="out", name=None):
    return InputFile(Path(source), Path(folder), name or Path(source).stem)


def test_files_are_themselves():
    names = ["b.wav", "in/späß 日本.flac", 'a b\'s "c".wav', "-x.wav", "new\nline.wav", "none.wav"]
    touch(*names[:-1])
    assert found(*names) == [(name, "out", Path(name).stem) for name in names]


def test_a_file_named_twice_is_separated_once():
    touch("a.wav")
    assert found("a.wav", "./a.wav", "*.wav") == [("a.wav", "out", "a")]


def test_paths_that_cannot_be_accessed_are_kept_for_later():
    name = "talk.wav " * 40  # of many files, quoted as one
    assert [source for source, *_ in found(name, name + ".scp")] == [name, name + ".scp"]


def test_folders_keep_their_subfolders():
    touch("in/b.WAV", "in/a.flac", "in/sub/deep er/c.ogg", "in/sub/a.wav")
    touch("in/notes.txt", "in/x.raw", "in/.hidden.wav", "in/.git/d.wav")
    assert found("in") == [
        ("in/a.flac", "out", "a"),
        ("in/b.WAV", "out", "b"),
        ("in/sub/a.wav", "out/sub", "a"),
        ("in/sub/deep er/c.ogg", "out/sub/deep er", "c"),
    ]


def test_the_output_folder_is_no_input():
    touch("in/a.wav", "in/out/a_spk1.wav", "in/outer/b.wav")
    expected = [("in/a.wav", "in/out", "a"), ("in/outer/b.wav", "in/out/outer", "b")]
    assert found("in", out=Path("in/out")) == expected
    os.symlink("in", "link")
    assert [name for *_, name in found("link", out=Path("in/out"))] == ["a", "b"]


def test_each_real_file_is_found_once():
    touch("in/b.wav", "in/sub/c.wav")
    os.symlink(".", "in/here")
    os.symlink("..", "in/sub/up")
    os.symlink("b.wav", "in/a.wav")
    expected = [("in/b.wav", "out", "b"), ("in/sub/c.wav", "out/sub", "c")]
    for pattern in ("in/**/*.wav", "in/**", "in/**/**/*.wav", "in"):
        assert found(pattern) == expected
    assert found("in/*/*.wav") == [
        ("in/here/b.wav", "out/here", "b"),
        ("in/sub/c.wav", "out/sub", "c"),
    ]
    # two given names are two recordings
    assert [name for *_, name in found("in/a.wav", "in", "in/b.wav")] == ["a", "c", "b"]


def test_patterns_reach_linked_folders():
    touch("else/2024/a.wav", "in/b.wav", "in/.hid/c.wav")
    os.symlink("../else", "in/link")
    assert [path for path, *_ in found("in/**/*.wav")] == ["in/b.wav", "in/link/2024/a.wav"]
    assert [path for path, *_ in found("in/**/2024/*.wav")] == ["in/link/2024/a.wav"]


def test_files_left_out_are_told():
    touch("in/a.wav", "in/b.dss", "in/c.dss", "empty/x.dss")
    assert find_inputs(["in"], OUT).notices == ["in: 2 files left out (2 .dss); convert them"]
    with pytest.raises(TisdissError, match=r"empty: holds no audio .*; 1 file left out \(1 .dss\)"):
        find_inputs(["empty"], OUT)


def test_names_of_dots_are_whole():
    touch("...wav", "a..wav", "....flac")
    assert [name for *_, name in found("...wav", "a..wav", "....flac")] == [
        "...wav",
        "a.",
        "....flac",
    ]


@pytest.mark.parametrize("scheme", ["https", "HTTP", "ftp", "s3", "file", "rtsp"])
def test_addresses_are_refused(scheme):
    with pytest.raises(TisdissError, match="addresses are not downloaded; save it as a file"):
        find_files([f"{scheme}://x/a.wav"], OUT)
    touch("x:/a.wav")  # not an address, because the file exists
    assert found("x://a.wav") == [("x:/a.wav", "out", "a")]


def test_patterns():
    touch("in/a.wav", "in/sub/b.wav", "in/c.txt")
    assert found("in/*.wav") == [("in/a.wav", "out", "a")]
    assert [name for *_, name in found("in/**/*.wav")] == ["a", "b"]
    with pytest.raises(TisdissError, match=r"in/\*.mp3: matches no file"):
        find_files(["in/a.wav", "in/*.mp3"], OUT)


def test_a_name_that_looks_like_a_pattern_is_a_name():
    touch("[1].wav", "1.wav", "what?.wav")
    assert found("[1].wav", "what?.wav") == [
        ("[1].wav", "out", "[1]"),
        ("what?.wav", "out", "what?"),
    ]
    Path("[1].wav").unlink()
    assert found("[1].wav") == [("1.wav", "out", "1")]


def test_lists():
    touch("in/a b.wav")
    Path("wav.scp").write_text("one in/a b.wav\nté none.wav\n")
    assert found("wav.scp") == [("in/a b.wav", "out", "one"), ("none.wav", "out", "té")]
    assert found("none.scp") == [("none.scp", "out", "none")]  # reported later


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "the list is empty"),
        (b"a\n", "expected '<key> <value>', found 'a'"),
        (
            b"a sph2pipe x.sph |\n",
            "a: is a command, not the path of a file: sph2pipe x.sph |; if you trust the list",
        ),
        (b"a x.wav\na y.wav\n", "key 'a' was already used in line 1"),
        (b"../a x.wav\n", "../a: not a file name"),
        (b".. x.wav\n", "not a file name"),
        (b"a \xff.wav\n", "cannot be read as a text list"),
    ],
)
def test_lists_that_are_none(content, match):
    Path("wav.scp").write_bytes(content)
    with pytest.raises(TisdissError, match=match.replace("|", r"\|")) as caught:
        find_files(["wav.scp"], OUT)
    assert str(caught.value).startswith("wav.scp:") and "\n" not in str(caught.value)


def test_a_folder_without_audio():
    touch("in/notes.txt")
    with pytest.raises(TisdissError, match="in: holds no audio files"):
        find_files(["in"], OUT)


def test_a_pattern_keeps_the_folders_below_its_fixed_part():
    touch("in/a/x.wav", "in/b/x.wav", "in/b/c/x.wav")
    for pattern, folders in (("in/*/x.wav", {"a", "b"}), ("in/**/*.wav", {"a", "b", "b/c"})):
        inputs = find_files([pattern], OUT)
        assert {item.folder for item in inputs} == {OUT / folder for folder in folders}


def test_a_pattern_reaches_no_files_of_the_output_folder():
    touch("a.wav", "out/a_re1_spk1.wav", "in/b.wav")
    assert [name for *_, name in found("**/*.wav")] == ["a", "b"]
    assert [name for *_, name in found("*/*.wav")] == ["b"]
    # but those of a folder that is named are meant
    assert found("out/*.wav") == [("out/a_re1_spk1.wav", "out", "a_re1_spk1")]
    assert found("in/*.wav", out=Path("in")) == [("in/b.wav", "in", "b")]


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        (PATTERN, "in/a_spk1.wav"),
        ("{name}/{speaker}", "in/a/2.wav"),
        ("{name}-{name}_ch{channel}_re{n_re}_spk{speaker}", "in/a-a_ch1_re12_spk3.wav"),
    ],
)
def test_separated_files_beside_the_recordings(pattern, left):
    touch("in/a.wav", left)
    recording, separated = item("in/a.wav", "in"), item(left, "in")
    with pytest.raises(TisdissError, match="in/a.* has the name of a separated file of in/a.wav"):
        without_separated([recording, separated], pattern, ".wav", skip=False)
    assert without_separated([recording, separated], pattern, ".wav", skip=True) == [recording]


@pytest.mark.parametrize(
    "other",
    [
        item("in/b_spk1.wav", "in"),  # there is no b
        item("in/a_spk1.flac", "in"),
        item("in/a_spk1_old.wav", "in"),
        item("a_spk1.wav", "in"),  # not in the folder of the outputs
    ],
)
def test_recordings_of_similar_names_are_recordings(other):
    inputs = [item("in/a.wav", "in"), other]
    for skip in (False, True):
        assert without_separated(inputs, PATTERN, ".wav", skip) == inputs
