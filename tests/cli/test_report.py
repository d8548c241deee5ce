"""The report of ``tisdiss separate``."""

from espnet2_tisdiss.cli.console import printable


def test_printable():
    assert printable("späß 日本 ' \"") == "späß 日本 ' \""
    assert printable("a\nb\t\x1b[31m\udcff") == "a\\nb\\t\\x1b[31m\\udcff"
