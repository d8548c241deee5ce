"""Registration of the separator and the loss with ESPnet's enhancement task."""

from types import ModuleType

from espnet2.tasks import enh
from espnet2.train.class_choices import ClassChoices

from espnet2_tisdiss.network.loss import MultiDepthPIT
from espnet2_tisdiss.network.separator import TISDiSSSeparator


def register(task: ModuleType = enh) -> None:
    """Add the separator ``tisdiss`` and the loss wrapper ``multi_depth_pit`` to ESPnet's choices.

    An import hook calls it when ESPnet's task is imported after this package. Repeated calls have
    no effect.

    Args:
        task: ESPnet's module ``espnet2.tasks.enh``.

    Raises:
        RuntimeError: one of the names belongs to another class.
    """
    add_choice(task.separator_choices, "tisdiss", TISDiSSSeparator)
    add_choice(task.loss_wrapper_choices, "multi_depth_pit", MultiDepthPIT)


def register_joint(task: ModuleType) -> None:
    """Add the separator to the choices of ESPnet's joint task.

    They are a copy of those of the enhancement task, made when ``espnet2.tasks.enh_s2t`` is
    imported, perhaps before this package is. The losses are not copied.

    Args:
        task: ESPnet's module ``espnet2.tasks.enh_s2t``.

    Raises:
        RuntimeError: the name belongs to another class.
    """
    add_choice(task.enh_separator_choices, "tisdiss", TISDiSSSeparator)


def add_choice(choices: ClassChoices, name: str, cls: type) -> None:
    """Add ``cls`` to ESPnet's ``choices`` as ``name``.

    Raises:
        RuntimeError: the name belongs to another class.
    """
    holder = choices.classes.setdefault(name, cls)
    if holder is not cls:
        raise RuntimeError(
            f"cannot register {cls.__module__}.{cls.__qualname__} as ESPnet's {choices.name} "
            f"{name!r}: {holder.__module__}.{holder.__qualname__} already holds that name"
        )
