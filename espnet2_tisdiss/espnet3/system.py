"""The enhancement system for ESPnet3; it needs Lightning and Dask, which ESPnet3 imports.

Data, model, separation and scores are set in the configurations; see docs/espnet3.md. Entries that
depend on the depths and the number of speakers are added to them here.
"""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from espnet3.contract.stages import StageSpec
from espnet3.systems.base.system import BaseSystem
from omegaconf import DictConfig

from espnet2_tisdiss.espnet3.configurations import add_inputs, add_outputs

# configurations that stages need in addition to those required by ESPnet3's base class
CONFIGS: Mapping[str, tuple[str, ...]] = {
    "measure": ("metrics", "inference"),
    "pack_model": ("training", "publication", "inference"),
    "upload_model": ("publication", "training"),
}


class EnhancementSystem(BaseSystem):
    """ESPnet3's stages for a model that separates at several depths.

    There is no ``create_dataset``: the data directories are those of ESPnet2's recipes.
    """

    stages: ClassVar[tuple[StageSpec, ...]] = tuple(
        dataclasses.replace(stage, config=CONFIGS.get(stage.name, stage.config))
        for stage in BaseSystem.stages
        if stage.name != "create_dataset"
    )

    def __init__(
        self,
        inference_config: DictConfig | None = None,
        metrics_config: DictConfig | None = None,
        **configs: DictConfig | None,
    ):
        if inference_config is not None:
            add_outputs(inference_config)
            if metrics_config is not None:
                add_inputs(metrics_config, inference_config)
        super().__init__(
            inference_config=inference_config, metrics_config=metrics_config, **configs
        )
