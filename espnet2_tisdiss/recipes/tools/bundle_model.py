#!/usr/bin/env python3
"""Put a recipe's trained model into the package: espnet2_tisdiss/models/NAME.

Run it in the recipe's folder, to which the paths of its data directories are relative. It writes
the weights, a configuration without paths, a model card and RESULTS.md with the figures of the
experiment, the training curve if draw_training has drawn it, an example, and
conf/finetune_NAME.yaml, the configuration for further training.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import yaml

from espnet2_tisdiss.atomic import replacing_folder, write_atomically
from espnet2_tisdiss.checksums import CHECKSUMS, checksum_line
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.locks import holding
from espnet2_tisdiss.pretrained.bundled import EXAMPLE, MODEL_FILE, MODELS
from espnet2_tisdiss.pretrained.finding import CONFIG, find_model, read_weights
from espnet2_tisdiss.recipes.program import run_main
from espnet2_tisdiss.recipes.signals import read_signal, write_signal
from espnet2_tisdiss.recipes.tools.model_card import (
    About,
    copy_curve,
    model_card,
    read_gains,
)
from espnet2_tisdiss.user_files import read_yaml

if TYPE_CHECKING:
    from espnet2_tisdiss import SeparateSpeech

HERE = Path(__file__).resolve().parent
MOST_PARAMETERS, MOST_BYTES = 3_000_000, 12_000_000
EXAMPLE_SECONDS = 6.0  # so that the three files stay below 600 kB
EXAMPLE_NAME = "two_voices"
RESULTS = "RESULTS.md"

# options of a configuration that describe the machine and the data of a training
LOCAL = re.compile(
    r"(output_dir|.*_shape_file|.*_data_path_and_name_and_type|fold_length|utt2spk|.*_scp"
    r"|init_param|pretrain_path|num_workers|dist_.*|multiprocessing_distributed|.*wandb.*"
    r"|dynamic_mixing.*|iterator_type|chunk_length|chunk_shift_ratio|valid_iterator_type|resume)"
)
# options added by the command line of ESPnet or this package, which no model needs
DROPPED = (
    *("config", "print_config", "ngpu", "required", "distributed"),
    *("mixing_conf", "cpu_processes", "depth_schedule", "valid_every_depth"),
    "max_skipped_steps",
)
# options of the model; the rest of a configuration describes its training
MODEL_KEYS = (
    *("encoder", "encoder_conf", "decoder", "decoder_conf", "separator", "separator_conf"),
    *("model_conf", "criterions", "num_spk"),
)


def portable_config(config: dict[str, Any]) -> dict[str, Any]:
    """Return a training's configuration without the entries for its machine and data.

    These get ESPnet's defaults; mixtures made during training are replaced by mixtures from files.

    Raises:
        TisdissError: a path remains.
    """
    from espnet2.tasks.enh import EnhancementTask

    from espnet2_tisdiss.network.config import TISDiSSConfig

    defaults = vars(EnhancementTask.get_parser().parse_args(["--output_dir", "none"]))
    defaults["output_dir"] = None
    portable = {
        key: defaults[key] if LOCAL.fullmatch(key) else value
        for key, value in config.items()
        if key not in DROPPED
    }
    portable |= {"preprocessor": "enh", "preprocessor_conf": {}}
    # a model must not depend on the current defaults
    rate = TISDiSSConfig.from_options(portable["separator_conf"]).sample_rate
    portable["separator_conf"] = {**portable["separator_conf"], "sample_rate": rate}
    for key, value in portable.items():
        if value != defaults.get(key) and "/" in yaml.safe_dump(value):
            raise TisdissError(f"{CONFIG}: {key}: a path would go into the package: {value}")
    return portable


def weights_alone(path: Path) -> bytes:
    """Return a state dict of float32 as the content of a file, the same for the same weights.

    Raises:
        TisdissError: the file holds something else or other types, or is too large for the package.
    """
    weights = read_weights(path)
    kinds = {value.dtype for value in weights.values()}
    if kinds != {torch.float32}:
        raise TisdissError(f"{path}: holds {', '.join(map(str, kinds))}; expected only float32")
    # saved to memory, because a file's name would become part of the archive
    content = io.BytesIO()
    torch.save({name: value.contiguous() for name, value in weights.items()}, content)
    if content.tell() > MOST_BYTES:
        raise TisdissError(
            f"{path}: {content.tell()} bytes, more than the {MOST_BYTES} of a package"
        )
    return content.getvalue()


def check_model(folder: Path, exp: Path) -> SeparateSpeech:
    """Load the packed model."""
    from espnet2_tisdiss import SeparateSpeech  # takes seconds to import
    from espnet2_tisdiss.evaluate.cost import parameters

    try:
        model = SeparateSpeech.from_pretrained(folder)
    except TisdissError as error:
        raise TisdissError(str(error).replace(str(folder), str(exp))) from None
    if (count := parameters(model.enh_model)) > MOST_PARAMETERS:
        raise TisdissError(
            f"{exp}: {count} parameters, more than the {MOST_PARAMETERS} of a package"
        )
    return model


def portable_results(text: str, test_sets: Sequence[str]) -> str:
    """Return a RESULTS.md of stage 8 with only these sets, without paths and single mixtures."""
    head, *sections = re.split(r"^## ", text, flags=re.MULTILINE)
    by_name = {section.partition("\n")[0]: section for section in sections}
    names = ["Environments", *test_sets]
    for name in names:
        if name not in by_name:
            raise TisdissError(f"{RESULTS}: has no section {name}; run stage 8 of the recipe again")
    kept = [by_name[name].partition("\n### By mixture")[0].rstrip() for name in names]
    return head + "\n\n".join(f"## {section}" for section in kept) + "\n"


def check_scored(exp: Path, results: str, weights: Path) -> None:
    """Check that RESULTS.md has the scores of these weights."""
    found = re.search(r"^- model: `(.+)`$", results, flags=re.MULTILINE)
    scored = found and Path(found[1])
    if scored is None or scored.resolve() != weights.resolve():
        whose = f"has the scores of {scored}" if scored else "does not say whose scores it has"
        raise TisdissError(
            f"{exp / RESULTS}: {whose}; {weights} would be packed: run stages 7 and 8 with "
            f"--inference_model {weights.name}, in this folder"
        )


def write_example(folder: Path, source: Path, rate: int) -> None:
    """Copy an example, a mixture and its sources, into a folder.

    Args:
        folder: target folder of mix/, s1/ and s2/.
        source: a folder that holds these three, with one .wav file each.
        rate: the model's sample rate in Hz.
    """
    signals = {}
    for part in ("mix", "s1", "s2"):
        files = sorted((source / part).glob("*.wav"))
        if len(files) != 1:
            raise TisdissError(f"{source / part}: expected one .wav file, found {len(files)}")
        signals[part] = read_signal(str(files[0]))
        if signals[part].rate != rate:
            raise TisdissError(f"{files[0]}: is not at the model's {rate} Hz")
    lengths = {len(signal.samples) for signal in signals.values()}
    if len(lengths) > 1 or max(lengths) > EXAMPLE_SECONDS * rate:
        raise TisdissError(
            f"{source}: mixture and sources must have one length, up to {EXAMPLE_SECONDS:g} s"
        )
    for part, signal in signals.items():
        path = folder / part / f"{EXAMPLE_NAME}.wav"
        path.parent.mkdir(parents=True)
        write_signal(path, signal.samples, rate, "PCM_16")


def finetune_config(name: str, config: dict[str, Any]) -> str:
    """Return a configuration for further training: the model's options, then finetune.yaml."""
    model = {key: config[key] for key in MODEL_KEYS}
    return (
        f"# Fine-tune the package's model {name} (docs/finetuning.md). Written by\n"
        "# its recipe's bundle.sh. Run with --init_param .../espnet2_tisdiss/models/"
        f"{name}/{MODEL_FILE}\n\n"
        "# the model as trained; docs/finetuning.md says which options may change\n"
        + yaml.safe_dump(model, sort_keys=False, default_flow_style=None, width=96)
        + (HERE / "finetune.yaml").read_text(encoding="utf-8")
    )


def bundle(args: argparse.Namespace) -> str:
    """Write the model's folder and its fine-tuning configuration; return a line about them."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", args.name):
        raise TisdissError(f"--name {args.name}: expected small letters, digits and _")
    files = find_model(args.exp)
    about = About.read(args.about)
    all_gains = read_gains(args.exp / "RESULTS.csv", args.test_sets, about)
    results = (args.exp / RESULTS).read_text(encoding="utf-8")
    check_scored(args.exp, results, Path(files["model_file"]))
    config = portable_config(read_yaml(Path(files["train_config"])))
    folder = args.models / args.name
    with holding(folder), replacing_folder(folder) as temporary:
        (temporary / MODEL_FILE).write_bytes(weights_alone(Path(files["model_file"])))
        (temporary / CHECKSUMS).write_text(checksum_line(temporary / MODEL_FILE), encoding="utf-8")
        text = yaml.safe_dump(config, sort_keys=False, default_flow_style=None, width=96)
        (temporary / CONFIG).write_text(text, encoding="utf-8")
        model = check_model(temporary, args.exp)
        text = portable_results(results, args.test_sets)
        (temporary / RESULTS).write_text(text, encoding="utf-8")
        text = model_card(args.name, model, all_gains, about)
        text += copy_curve(args.exp, temporary)
        (temporary / "README.md").write_text(text, encoding="utf-8")
        example = args.example or folder / EXAMPLE
        write_example(temporary / EXAMPLE, example, model.sample_rate)
    conf = args.conf / f"finetune_{args.name}.yaml"
    write_atomically(conf, finetune_config(args.name, config))
    return f"{folder}: {(folder / MODEL_FILE).stat().st_size / 1e6:.1f} MB of weights; {conf}"


def get_parser() -> argparse.ArgumentParser:
    """Build the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("exp", type=Path, metavar="EXP_DIR", help="the experiment's folder")
    add("--name", required=True, help="name of the model in the package")
    add("--test_sets", nargs="+", required=True, help="sets whose results go into the model card")
    add(
        "--example",
        type=Path,
        metavar="DIR",
        help="a mixture and its sources in mix/, s1/ and s2/ (default: those that the package's "
        "model of this name has)",
    )
    add("--about", type=Path, required=True, help="YAML file with the text of the model card")
    add("--models", type=Path, default=MODELS, help="folder of all models")
    add("--conf", type=Path, default=MODELS.parents[1] / "conf", help="folder of configurations")
    return parser


def main() -> None:
    """Run the command line; a line on stdout says what was written."""
    print(bundle(get_parser().parse_args()))


if __name__ == "__main__":
    sys.exit(run_main("bundle_model", main))
