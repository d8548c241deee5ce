"""Functions shared by the subcommands."""

import io
import logging

from espnet2_tisdiss.cli import console
from espnet2_tisdiss.cli.console import csv_file, print_table


def test_tables_show_units_and_names_as_they_are(capsys):
    print_table(["file", "gain [dB]"], [["[a].wav", "1.5"]])
    shown = capsys.readouterr().out
    assert "gain [dB]" in shown and "[a].wav" in shown


def test_names_of_any_bytes_are_the_same_bytes_in_a_table():
    name = b"f\xe4.wav"
    content = csv_file([{"file": name.decode(errors="surrogateescape")}])
    assert content.splitlines() == [b"file", name]


def test_a_warning_is_one_line(monkeypatch):
    monkeypatch.setattr(console.messages, "file", io.StringIO())
    record = logging.LogRecord(
        "x", logging.WARNING, "", 0, "of %s: %s", ("a\nb", "why " * 50), None
    )
    console.LineHandler().emit(record)
    assert console.messages.file.getvalue() == f"warning: of a\\nb: {'why ' * 50}\n"
