"""Joint training of separation and recognition: ESPnet's ``enh_s2t`` with a loss at every depth.

ESPnet's joint model passes the estimates of its separation part both to the loss and to the
recogniser. In training, a TISDiSS returns the estimates of several depths: the loss takes all of
them, and the recogniser takes those of the last depth.
"""

from argparse import Namespace
from typing import Any

from espnet2.enh.espnet_enh_s2t_model import ESPnetEnhS2TModel
from espnet2.enh.espnet_model import ESPnetEnhancementModel
from espnet2.tasks.enh_s2t import EnhS2TTask
from torch import Tensor

from espnet2_tisdiss.errors import OptionError
from espnet2_tisdiss.espnet.training import DepthTask
from espnet2_tisdiss.network.assembly import NORMALIZATIONS
from espnet2_tisdiss.network.separator import TISDiSSSeparator

# key of the estimates of all depths, kept between separation and loss
ALL_DEPTHS = "tisdiss_all_depths"


class JointEnhancementModel(ESPnetEnhancementModel):
    """ESPnet's enhancement model as part of a joint model, for a separator with several depths.

    Only training differs; weights and evaluation are those of ESPnet's class.
    """

    def forward_enhance(
        self, *args: Any, **options: Any
    ) -> tuple[list[Tensor], Tensor, list[Tensor], dict[str, Any]]:
        """Separate as ESPnet's model does, and return the speakers of the last depth.

        The fourth result keeps the estimates of all depths for :meth:`forward_loss`.
        """
        waves, mixture, features, others = super().forward_enhance(*args, **options)
        others[ALL_DEPTHS] = waves, features
        return waves[-self.num_spk :], mixture, features[-self.num_spk :], others

    def forward_loss(
        self,
        speech_pre: list[Tensor],
        speech_lengths: Tensor,
        feature_mix: Tensor,
        feature_pre: list[Tensor],
        others: dict[str, Any],
        *args: Any,
        **options: Any,
    ) -> tuple[Tensor, dict[str, Tensor], Tensor, Tensor | None]:
        """Return the loss of all depths, and the permutation of the last."""
        waves, features = others.pop(ALL_DEPTHS)
        return super().forward_loss(
            waves, speech_lengths, feature_mix, features, others, *args, **options
        )


class JointTask(DepthTask, EnhS2TTask):
    """ESPnet's joint task with a loss at every depth; trainings can resume."""

    prefix = "enh_"

    @classmethod
    def build_model(cls, args: Namespace) -> ESPnetEnhS2TModel:
        """Build the model as ESPnet does, with :class:`JointEnhancementModel` as its first part.

        Raises:
            OptionError: parts of the separation do not match, or ``enh_model_conf`` normalises the
                mixture, which ESPnet's joint model does not do.
        """
        if given := [name for name in NORMALIZATIONS if args.enh_model_conf.get(name)]:
            raise OptionError(
                f"enh_model_conf: {given[0]} has no effect in a joint model, which separates the "
                "mixture at the level it has; leave it out"
            )
        model = super().build_model(args)
        separation = model.enh_model
        if isinstance(separation.separator, TISDiSSSeparator):
            model.enh_model = JointEnhancementModel(
                separation.encoder,
                separation.separator,
                separation.decoder,
                separation.mask_module,
                separation.loss_wrappers,
                **args.enh_model_conf,
            )
        return model
