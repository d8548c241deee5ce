"""``tisdiss models``: list the models that come with the package."""

import re
from typing import Any

from espnet2_tisdiss.cli.common_options import JsonOption
from espnet2_tisdiss.cli.console import print_facts, print_json, print_table
from espnet2_tisdiss.pretrained.bundled import DEFAULT_MODEL, MODELS, TRAINED_ON, bundled_models

EXAMPLES = """
[bold]Examples[/bold]

tisdiss models

tisdiss models --json
"""


def command(as_json: JsonOption = False) -> None:
    """List the models that come with the package, with the scores of their model cards."""
    found = [described(name) for name in bundled_models()]
    if as_json:
        print_json({"models": found})
        return
    for model in found:
        print_facts(
            {
                "model": model["model"] + ", the default" * (model["model"] == DEFAULT_MODEL),
                "trained on": model["trained_on"],
                "structure": model["structure"],
                "card": str(model["card"]),
                "scores": "SI-SNRi in dB by N_re and test set",
            }
        )
        header, *rows = model["scores"]
        print_table(header, rows)


def described(name: str) -> dict[str, Any]:
    """Return the facts in the model card of a model that comes with the package."""
    path = MODELS / name / "README.md"
    card = path.read_text(encoding="utf-8")
    # the sentence with structure, speakers, rate, parameters and training depth
    structure = re.search(r"^TISDiSS (.+?)\. It was trained with\s+(\d+)", card, re.M | re.S)
    if structure is None:
        raise ValueError(f"{path}: does not state the model's structure")
    lines = [line for line in card.splitlines() if line.startswith("|")]
    table = [line.strip("|").split("|") for line in lines]
    header, _, *rows = table
    ends = [number for number, row in enumerate(rows) if row[0] == header[0]]
    return {
        "model": name,
        "trained_on": TRAINED_ON[name],
        "structure": f"{' '.join(structure[1].split())}; trained with N_re {structure[2]}",
        "card": path,
        "scores": [header, *rows[: ends[0] if ends else None]],
    }
