"""Registration with ESPnet's enhancement task: all that ties the package to ESPnet."""

from espnet2.tasks import enh
from espnet2.train.class_choices import ClassChoices

from espnet2_tisdiss.loss import MultiDepthPIT
from espnet2_tisdiss.separator import TISDiSSSeparator


def register() -> None:
    """Add the separator ``tisdiss`` and the loss wrapper ``multi_depth_pit`` to ESPnet's choices.

    Registering again changes nothing.

    Raises:
        RuntimeError: another class holds one of the names.
    """
    add_choice(enh.separator_choices, "tisdiss", TISDiSSSeparator)
    add_choice(enh.loss_wrapper_choices, "multi_depth_pit", MultiDepthPIT)


def add_choice(choices: ClassChoices, name: str, cls: type) -> None:
    """Add ``cls`` to ESPnet's ``choices`` as ``name``.

    Raises:
        RuntimeError: another class holds the name.
    """
    holder = choices.classes.setdefault(name, cls)
    if holder is not cls:
        raise RuntimeError(
            f"cannot register {cls.__module__}.{cls.__qualname__} as ESPnet's {choices.name} "
            f"{name!r}: {holder.__module__}.{holder.__qualname__} already holds that name"
        )
