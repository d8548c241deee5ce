"""RESULTS.md of a recipe's recognition: word error rates by depth, as a table and a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from espnet2_tisdiss.atomic import write_atomically
from espnet2_tisdiss.evaluate.pictures import Curve, draw_curves
from espnet2_tisdiss.evaluate.tables import markdown_table
from espnet2_tisdiss.lists import read_scp
from espnet2_tisdiss.recipes.recognition.decoding import read_texts
from espnet2_tisdiss.recipes.recognition.experiments import cascade, joint, recogniser
from espnet2_tisdiss.recipes.recognition.options import Options
from espnet2_tisdiss.recipes.recognition.word_errors import WordErrors, word_errors

PICTURE = "word_errors_by_depth.png"
EXAMPLES = 3

Texts = dict[str, list[str]]  # mixture -> a text of each speaker


def write_results(options: Options, path: Path) -> None:
    """Write a page of tables, with its pictures in the same folder."""
    sections = ["# Word error rates", ABOUT]
    for name in options.tests:
        said = _said(name)
        recognised = read_recognised(options, name, list(said))
        errors = {label: word_errors(said, texts) for label, texts in recognised.items()}
        sections += [f"## {name}", f"{len(said)} mixtures.", rate_table(errors)]
        sections += [change_table(errors, options.depths)]
        picture = f"{name}_{PICTURE}"
        write_atomically(path.with_name(picture), draw(errors, options.depths))
        sections += [f"![Word error rate by depth]({picture})"]
        sections += [examples(said, recognised, options.depths[-1])]
    write_atomically(path, "\n\n".join(map(str.strip, sections)) + "\n")


ABOUT = """\
Clean: the references, recognised without a separator. Mixture: the mixture, recognised instead of
each speaker. Cascade: separator and recogniser, trained separately. Joint: trained together.
N_re: number of reconstructor repetitions, the depth of the separator. WER: word error rate, with
the order of the speakers that has fewer errors. Intervals: 95 %, by bootstrap over the mixtures."""


def _said(name: str) -> Texts:
    """Return the transcripts of a test set's mixtures."""
    folder = Path("data", name)
    lists = [read_scp(folder / f"text_spk{number}") for number in (1, 2)]
    return {key: [texts[key] for texts in lists] for key in lists[0]}


def read_recognised(options: Options, name: str, keys: list[str]) -> dict[str, Texts]:
    """Return the recognised texts of a test set, by the row's label."""
    alone = read_texts(recogniser(options).folder / f"decode_{name}" / "text")
    recognised = {
        "clean": {key: [alone.get(f"{key}-clean{n}", "") for n in (1, 2)] for key in keys},
        "mixture": {key: [alone.get(f"{key}-mixture", "")] * 2 for key in keys},
    }
    for kind, experiment in (("cascade", cascade(options)), ("joint", joint(options))):
        for depth in options.depths:
            folder = experiment.folder / f"decode_{name}" / f"re{depth}"
            lists = [read_texts(folder / f"text_spk{number}") for number in (1, 2)]
            texts = {key: [found.get(key, "") for found in lists] for key in keys}
            recognised[_label(kind, depth)] = texts
    return recognised


def _label(kind: str, depth: int) -> str:
    return f"{kind}, N_re {depth}"


def rate_table(errors: Mapping[str, WordErrors]) -> str:
    """Return the word error rate of each row."""
    rows = []
    for label, one in errors.items():
        low, high = one.interval()
        rows.append([label, f"{one.rate:.1%}", f"{low:.1%} to {high:.1%}"])
    return markdown_table(["recognised", "WER", "interval"], rows)


def change_table(errors: Mapping[str, WordErrors], depths: list[int]) -> str:
    """Return the changes by joint training and by depth, paired by mixture."""
    pairs = [(_label("cascade", depth), _label("joint", depth)) for depth in depths]
    for kind in ("cascade", "joint"):
        pairs += [(_label(kind, depths[0]), _label(kind, depth)) for depth in depths[1:]]
    rows = []
    for before, after in pairs:
        change, (low, high) = errors[before].change_to(errors[after])
        points = [f"{100 * value:+.1f}" for value in (change, low, high)]
        rows.append([f"{before} → {after}", points[0], f"{points[1]} to {points[2]}"])
    return markdown_table(["change", "points of WER", "interval"], rows)


def draw(errors: Mapping[str, WordErrors], depths: list[int]) -> bytes:
    """Draw the word error rate by depth, and those of clean speech and mixture as lines."""
    curves = {}
    for kind in ("cascade", "joint"):
        rates = [100 * errors[_label(kind, depth)].rate for depth in depths]
        curves[kind] = Curve([float(depth) for depth in depths], rates)
    for kind in ("clean", "mixture"):
        curves[kind] = Curve([float(depths[0]), float(depths[-1])], [100 * errors[kind].rate] * 2)
    return draw_curves(curves, "N_re", "word error rate [%]", "Two speakers recognised")


def examples(said: Texts, recognised: Mapping[str, Texts], depth: int) -> str:
    """Return transcripts and recognised texts of the first mixtures, at the deepest depth."""
    lines = []
    for key in list(said)[:EXAMPLES]:
        lines += [f"`{key}`", ""]
        rows = {"said": said, "mixture": recognised["mixture"]}
        rows |= {kind: recognised[_label(kind, depth)] for kind in ("cascade", "joint")}
        lines += [f"- {label}: {' / '.join(texts[key])}" for label, texts in rows.items()] + [""]
    return f"First mixtures, N_re {depth}:\n\n" + "\n".join(lines)
