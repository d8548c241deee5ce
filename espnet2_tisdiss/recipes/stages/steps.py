"""The settings, inputs and outputs of the stages: one function for each step of local/enh.sh."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.recipes.stages.marker import (
    Fact,
    Step,
    audio,
    content,
    contents,
    digest,
    option,
    outcome,
    presence,
)
from espnet2_tisdiss.recipes.stages.recipe import Recipe

STAGES = (
    "data preparation",
    "speed perturbation",
    "format audio",
    "drop short and long",
    "statistics",
    "training",
    "inference",
    "scoring",
)


def run_first(stage: int) -> str:
    """Return the advice to run a stage."""
    return f"run stage {stage} ({STAGES[stage - 1]}) first"


def options(recipe: Recipe, *names: str) -> list[Fact]:
    """Return options as facts."""
    return [option(name, recipe.opt[name]) for name in names]


def signals(folder: Path) -> Fact:
    """Return the fact about the utterances and signals of a formatted set, wherever it is."""
    return contents(f"the data of {folder}", folder, "utt2*", "silent_utts")


def data_preparation(recipe: Recipe) -> Step:
    """Stage 1; each training set has its own marker."""
    # the number of processes does not change the result
    words = re.sub(r"(^| )--nj[ =]\S+", "", " ".join(recipe.opt["local_data_opts"].split()))
    facts = [option("local_data_opts", words)]
    made_by, places = Path("local/data.sh"), Path("db.sh")
    if places.is_file():
        facts += [option(*place) for place in corpora(places).items()]
    facts += [content(path) for path in (made_by, places) if path.is_file()]
    sets = dict.fromkeys([recipe.opt["train_set"], recipe.valid, *recipe.tests])
    return Step(
        what="data preparation",
        marker=Path(f"data/.done_{recipe.opt['train_set']}"),
        needs={made_by: "run this from a recipe's folder"},
        facts=facts,
        results=[presence(Path("data", name, "wav.scp")) for name in sets],
        unmade="local/data.sh made no {}: check --train_set, --valid_set and --test_sets",
    )


def corpora(places: Path) -> dict[str, str]:
    """Return the variables of db.sh, which may come from the environment."""
    names = re.findall(r"^([A-Z][A-Z0-9_]*)=", places.read_text(encoding="utf-8"), re.MULTILINE)
    script = f'source ./{places} && for name; do printf "%s\\0" "${{!name}}"; done'
    shown = subprocess.run(["bash", "-c", script, "bash", *names], capture_output=True, text=True)
    if shown.returncode:
        raise TisdissError(f"{places}: {shown.stderr.strip()}")
    return dict(zip(names, shown.stdout.split("\0"), strict=False))


def perturbation(recipe: Recipe) -> Step:
    """Stage 2."""
    source = Path("data", recipe.opt["train_set"])
    return Step(
        what="speed perturbation",
        marker=Path("data", recipe.train, ".done"),
        shared=Path("data"),
        needs={source / "wav.scp": run_first(1)},
        facts=[
            option("speed_perturb_factors", " ".join(recipe.opt["speed_perturb_factors"].split())),
            *options(recipe, "ref_channel"),
            *(audio(source / name) for name in recipe.train_lists),
        ],
    )


def formatting(recipe: Recipe, name: str) -> Step:
    """Stage 3: a set; stage 4 then processes those of training and validation."""
    data, raw = Path("data", name), Path(recipe.raw)
    out, lists = raw / name, recipe.test_lists
    if name in (recipe.train, recipe.valid):
        out = raw / "org" / name
        lists = recipe.train_lists if name == recipe.train else recipe.valid_lists
    perturbed = name == recipe.train != recipe.opt["train_set"]
    return Step(
        what=str(out),
        marker=out / ".done",
        shared=raw,
        needs={data / "wav.scp": run_first(2 if perturbed else 1)},
        facts=[
            option("fs", recipe.rate),
            *options(recipe, "audio_format", "resample", "ref_channel"),
            *(content(path) for path in sorted(data.glob("utt2*"))),
            *(audio(data / name) for name in lists),
        ],
        results=[presence(out / "utt2digest"), *(audio(out / name) for name in lists)],
    )


def filtering(recipe: Recipe, name: str) -> Step:
    """Stage 4: a set."""
    source, out = Path(recipe.raw, "org", name), Path(recipe.raw, name)
    return Step(
        what=str(out),
        marker=out / ".done",
        shared=Path(recipe.raw),
        needs={source / ".done": run_first(3)},
        facts=[
            *options(recipe, "min_wav_duration", "max_wav_duration"),
            contents(f"the lists of {source}", source, "*.scp", "utt2*"),
        ],
        results=[presence(out / "wav.scp")],
    )


def statistics(recipe: Recipe) -> Step:
    """Stage 5."""
    sets = [Path(recipe.raw, name) for name in (recipe.train, recipe.valid)]
    return Step(
        what=recipe.stats,
        marker=Path(recipe.stats, ".done"),
        needs={folder / ".done": run_first(4) for folder in sets},
        facts=[option("lists", " ".join(recipe.valid_lists)), *map(signals, sets)],
        results=[presence(Path(recipe.stats, part)) for part in ("train", "valid")],
    )


def beginning(recipe: Recipe) -> Step:
    """The facts that a training begins with; only its length may change later."""
    kept = re.sub(r"--(max_epoch|patience)[ =]+\S+ *", "", recipe.opt["enh_args"])
    weights = (path.partition(":") for path in recipe.init)
    init = [f"{digest(Path(file))}{colon}{parts}" for file, colon, parts in weights]
    facts = [option("init_param", " ".join(init)), option("enh_args", kept)]
    facts += [
        option(name, recipe.opt[name])
        for name in ("fit_args", "enh_speech_fold_length")
        if recipe.opt[name]
    ]
    if recipe.opt["dynamic_mixing"] == "true":
        facts += options(recipe, "dynamic_mixing_gain_db")
    config, stats = Path(recipe.opt["enh_config"]), statistics(recipe).marker
    return Step(
        what=recipe.exp,
        marker=Path(recipe.exp, ".begun"),
        needs={stats: run_first(5)},
        facts=[*facts, content(config), content(stats)],
    )


def training(recipe: Recipe) -> Step:
    """Stage 6."""
    begun, exp = beginning(recipe), Path(recipe.exp)
    return Step(
        what=recipe.exp,
        marker=exp / ".done",
        needs=begun.needs,
        facts=[*begun.facts, *options(recipe, "enh_args")],
        results=[presence(exp / name) for name in ("config.yaml", "latest.pth")],
    )


def model(recipe: Recipe) -> dict[Path, str]:
    """Return the files of the model that stages 7, 8 and 11 use, with advice.

    Raises:
        TisdissError: the training has ended without such weights.
    """
    exp, name = Path(recipe.exp), recipe.opt["inference_model"]
    if not (exp / name).is_file() and (exp / ".done").is_file():
        found = " ".join(sorted(path.name for path in exp.glob("*.pth")))
        raise TisdissError(f"--inference_model {name}: is not among the models: {found}")
    return dict.fromkeys([exp / "config.yaml", exp / name], run_first(6))


def separation(recipe: Recipe, name: str, n_re: str) -> Step:
    """Stage 7: a test set at a depth."""
    folder = Path(recipe.exp, recipe.separation(name, n_re))
    needed = model(recipe)
    files = [*needed]
    if recipe.opt["inference_enh_config"]:
        files.append(Path(recipe.opt["inference_enh_config"]))
    return Step(
        what=str(folder),
        marker=folder / ".done",
        shared=Path(recipe.exp),
        needs={**needed, Path(recipe.raw, name, ".done"): run_first(3)},
        facts=[
            *options(recipe, "inference_args"),
            option("n_re", n_re),
            *map(content, files),
            signals(Path(recipe.raw, name)),
        ],
        results=[audio(folder / listed) for listed in recipe.test_lists[1:]],
    )


def scoring(recipe: Recipe, name: str, n_re: str | None) -> Step:
    """Stage 8: a test set at a depth or, without one, the mixtures, once for all models."""
    data = Path(recipe.raw, name)
    facts = [signals(data)]
    if recipe.opt["scoring_opts"]:
        facts += options(recipe, "scoring_opts")
    out, shared = data / "mixture_scoring", Path(recipe.raw)
    if n_re is not None:
        separated = separation(recipe, name, n_re)
        out, shared = separated.marker.parent / "scoring", Path(recipe.exp)
        facts.append(outcome(separated))
    return Step(
        what=str(out),
        marker=out / ".done",
        shared=shared,
        needs={data / ".done": run_first(3)},
        facts=facts,
        results=[presence(out / "result_si_snr.txt")],
    )


def scorings(recipe: Recipe) -> Mapping[tuple[str, str | None], Step]:
    """Return (test set, depth) -> step, of all scores that stage 8 reports."""
    depths = [None, *recipe.depths]
    return {(name, n_re): scoring(recipe, name, n_re) for name in recipe.tests for n_re in depths}


def report(recipe: Recipe) -> Step:
    """Stage 8: the tables of all scores."""
    path, published = Path(recipe.exp, "RESULTS.md"), Path("published.yaml")
    return Step(
        what=str(path),
        marker=Path(recipe.exp, ".results"),
        facts=[
            *options(recipe, "scoring_protocol"),
            option("n_re", " ".join(recipe.depths)),
            *([content(published)] if published.is_file() else []),
            *map(content, model(recipe)),
            *map(outcome, scorings(recipe).values()),
        ],
        results=[presence(path)],
    )


def page(recipe: Recipe) -> Step:
    """Stage 8: the page of tables, pictures and players."""
    path, tables = Path(recipe.exp, "report.html"), report(recipe)
    return Step(
        what=str(path),
        marker=Path(recipe.exp, ".page"),
        facts=[outcome(tables)],
        results=[presence(path)],
    )


def packing(recipe: Recipe) -> Step:
    """Stage 11."""
    exp, name = Path(recipe.exp), Path(recipe.opt["inference_model"])
    archive = exp / f"{exp.name}_{name.with_suffix('')}.zip"
    needs = {**model(recipe), exp / "RESULTS.md": run_first(8)}
    return Step(
        what=str(archive),
        marker=exp / ".packed",
        needs=needs,
        facts=[content(path) for path in needs],
        results=[presence(archive)],
    )
