"""The page of examples/browser reads the folders that this version exports."""

import re

from recipe_folder import REPOSITORY

from espnet2_tisdiss.onnx.folder import FORMAT


def test_the_page_reads_this_versions_folders():
    text = (REPOSITORY / "examples/browser/model.js").read_text()
    assert re.findall(r"^const FORMAT = (\d+);", text, re.MULTILINE) == [str(FORMAT)]
