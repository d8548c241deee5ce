import subprocess
import sys
from importlib import import_module

import pytest
from espnet2.enh.separator.tcn_separator import TCNSeparator
from espnet2.tasks import enh
from espnet2.train.class_choices import ClassChoices

import espnet2_tisdiss
from espnet2_tisdiss.espnet.registration import add_choice


def test_import_registers_and_again_is_harmless():
    espnet2_tisdiss.register()
    assert enh.separator_choices.get_class("tisdiss") is espnet2_tisdiss.TISDiSSSeparator
    assert enh.loss_wrapper_choices.get_class("multi_depth_pit") is espnet2_tisdiss.MultiDepthPIT


def test_a_name_taken_by_another_class_is_an_error():
    choices = ClassChoices("separator", {"tisdiss": TCNSeparator}, default="tisdiss")
    with pytest.raises(RuntimeError, match="separator 'tisdiss': .*TCNSeparator already holds"):
        add_choice(choices, "tisdiss", espnet2_tisdiss.TISDiSSSeparator)
    assert choices.get_class("tisdiss") is TCNSeparator


def test_a_command_of_espnet_knows_the_separator():
    # enh_train of the plugin itself runs in the tests of the recipes
    command = ["-m", "espnet2_tisdiss", "-m", "espnet2.bin.enh_train"]
    run = subprocess.run(
        [sys.executable, *command, "--separator", "tisdiss", "--print_config"],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert "separator: tisdiss" in run.stdout


def test_stock_command_without_the_plugin_does_not():
    run = subprocess.run(
        [sys.executable, "-m", "espnet2.bin.enh_train", "--separator", "tisdiss", "--print_config"],
        capture_output=True,
        text=True,
    )
    assert run.returncode != 0 and "invalid choice: 'tisdiss'" in run.stderr


@pytest.mark.parametrize(
    ("command", "added"), [("enh_inference", "Depth related:\n"), ("enh_scoring", "")]
)
def test_entry_points_take_the_stock_options(command, added):
    stock, ours = (
        import_module(f"{package}.bin.{command}")
        .get_parser()
        .format_help()
        .partition("options:")[2]
        for package in ("espnet2", "espnet2_tisdiss")
    )
    assert "--output_dir" in stock and stock == ours[: len(stock)]
    assert ours[len(stock) :].strip().startswith(added.strip())
    assert ("--n_re" in ours) == bool(added)


def test_stand_in_for_the_interpreter_passes_all_else_to_python(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import sys; print(sys.argv[1:])")
    for arguments, expected in [
        ([str(script), "--a", "b c"], "['--a', 'b c']"),
        (["-m", "calendar", "2026", "11"], "November 2026"),
    ]:
        run = subprocess.run(
            [sys.executable, "-m", "espnet2_tisdiss", *arguments], capture_output=True, text=True
        )
        assert run.returncode == 0 and expected in run.stdout, run.stderr


def test_stand_in_runs_commands_that_espnet_installs(monkeypatch, tmp_path):
    from espnet2.bin import cli

    from espnet2_tisdiss.__main__ import main

    monkeypatch.chdir(tmp_path)
    arguments = ["espnet", "enhance", "mixture.wav", "--model", "me/mine"]
    monkeypatch.setattr(sys, "argv", ["espnet2_tisdiss", *arguments])
    given = []
    monkeypatch.setattr(cli, "main", lambda: given.append(sys.argv) or 3)
    with pytest.raises(SystemExit) as error:
        main()
    assert error.value.code == 3 and given == [arguments]


@pytest.mark.parametrize("name", ["pytest", "espnet"])
def test_stand_in_passes_scripts_of_others_to_python(monkeypatch, tmp_path, name):
    from espnet2_tisdiss.__main__ import main

    monkeypatch.chdir(tmp_path)
    if name == "espnet":  # a file of that name is Python's
        (tmp_path / "espnet").touch()
    monkeypatch.setattr(sys, "argv", ["espnet2_tisdiss", name])
    monkeypatch.setattr("os.execv", lambda path, words: sys.exit(str(words)))
    with pytest.raises(SystemExit, match=f"'{name}'"):
        main()
