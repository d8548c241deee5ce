"""Functions shared by the subcommands."""

from espnet2_tisdiss.cli.console import csv_file, print_table


def test_tables_show_units_and_names_as_they_are(capsys):
    print_table(["file", "gain [dB]"], [["[a].wav", "1.5"]])
    shown = capsys.readouterr().out
    assert "gain [dB]" in shown and "[a].wav" in shown


def test_names_of_any_bytes_are_the_same_bytes_in_a_table():
    name = b"f\xe4.wav"
    content = csv_file([{"file": name.decode(errors="surrogateescape")}])
    assert content.splitlines() == [b"file", name]
