"""What the subcommands share."""

from espnet2_tisdiss.cli.console import print_table


def test_tables_show_units_and_names_as_they_are(capsys):
    print_table(["file", "gain [dB]"], [["[a].wav", "1.5"]])
    shown = capsys.readouterr().out
    assert "gain [dB]" in shown and "[a].wav" in shown
