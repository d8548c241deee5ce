"""The training configurations of the project."""

import pytest
import yaml
from recipe_folder import REPOSITORY

from espnet2_tisdiss import MultiDepthPIT, TISDiSSSeparator
from espnet2_tisdiss.espnet.training import ResumableTask
from espnet2_tisdiss.evaluate import cost
from espnet2_tisdiss.recipes.tools.model_table import page

CONFIGS = sorted([*REPOSITORY.glob("conf/*.yaml"), *REPOSITORY.glob("egs2/*/enh1/conf/*.yaml")])


def name_of(path):
    return str(path.relative_to(REPOSITORY))


@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_espnet_takes_every_option_and_builds_the_model(path):
    # as enh_train does: a key that ESPnet does not know is refused by its parser
    args = ResumableTask.get_parser().parse_args(["--config", str(path), "--output_dir", "none"])
    model = ResumableTask.build_model(args)
    assert isinstance(model.separator, TISDiSSSeparator)
    assert all(isinstance(wrapper, MultiDepthPIT) for wrapper in model.loss_wrappers)


@pytest.mark.parametrize(
    ("name", "structure", "parameters"),
    [
        ("train_sep1x2-re1x3", "sep1x2-re1x3", 8_011_779),
        ("train_sep1x2-re1x6", "sep1x2-re1x6", 8_011_779),
        ("train_sep1x2-re2x2", "sep1x2-re2x2", 11_163_011),
    ],
)
def test_published_structures(name, structure, parameters):
    config = yaml.safe_load((REPOSITORY / f"conf/{name}.yaml").read_text())
    encoder, separator = cost.build_parts(config)
    assert separator.config.structure == structure
    assert cost.parameters(separator) == parameters
    # each repetition costs the same
    counter = cost.CostCounter(encoder, separator, separator.config.sample_rate)
    macs = {n_re: counter.macs_per_s(n_re) for n_re in (1, 3, 6)}
    assert macs[6] - macs[3] == pytest.approx(1.5 * (macs[3] - macs[1]))


def test_documented_table_is_what_the_program_writes(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    listed = [path.relative_to(REPOSITORY) for path in CONFIGS if path.name.startswith("train_")]
    assert (REPOSITORY / "docs/configurations.md").read_text() == page(listed)
