"""The files of a training: complete, consistent and intact whenever it is stopped.

ESPnet overwrites its checkpoint in place and removes links before it makes new ones. So here it
writes to a working folder. From there, each epoch's files are moved to the training's folder in an
order in which every name always leads to a complete file. ``SHA256SUMS`` has the checksums of the
weights.
"""

import io
import logging
import os
import re
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

import torch
from espnet2.train.reporter import Reporter
from espnet2.utils.yaml_no_alias_safe_dump import yaml_no_alias_safe_dump

from espnet2_tisdiss.atomic import replacing, to_disk, write_atomically
from espnet2_tisdiss.checksums import damage, record_checksums, settle_checksums
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.espnet.divergence import not_finite
from espnet2_tisdiss.user_files import read_yaml

CHECKPOINT, BACKUP, BROKEN = "checkpoint.pth", "checkpoint.pth.kept", "checkpoint.pth.broken"
CONFIG = "config.yaml"
WORK = ".training"
LATEST = "latest.pth"
# folders to which ESPnet adds files during training
FOLDERS = ("images", "tensorboard", "att_ws")
EPOCH = re.compile(r"(\d+)epoch\.pth")

log = logging.getLogger(__name__)


def work_folder(folder: Path) -> Path:
    """Return the folder that ESPnet writes to, for a training in ``folder``."""
    return folder / WORK


def begin(folder: Path, best: Sequence[Sequence[str]], keep: int, resume: bool) -> None:
    """Prepare the working folder of a training.

    Args:
        folder: folder of the training.
        best: ESPnet's ``best_model_criterion``.
        keep: epochs whose weights are kept for each criterion, ESPnet's ``keep_nbest_models``.
        resume: repair the files of a stopped training, and let ESPnet continue from its checkpoint.

    Raises:
        TisdissError: weights that the average of epochs needs are damaged.
    """
    work = work_folder(folder)
    work.mkdir(parents=True, exist_ok=True)
    for name in FOLDERS:
        (folder / name).mkdir(exist_ok=True)
        (work / name).symlink_to(Path("..", name))
    if resume and (epoch := repair(folder, best, keep)):
        for path in [folder / CHECKPOINT, *_epochs(folder, last=epoch).values()]:
            _link(path, work / path.name)


def publish_config(folder: Path) -> None:
    """Copy the configuration that ESPnet has written, with the name of the training's folder."""
    config = read_yaml(work_folder(folder) / CONFIG) | {"output_dir": str(folder)}
    text = io.StringIO()
    yaml_no_alias_safe_dump(config, text, indent=4, sort_keys=False)
    write_atomically(folder / CONFIG, text.getvalue())


def begin_epoch(folder: Path) -> None:
    """Move the previous epoch's files to the folder, and let ESPnet write new ones."""
    publish(folder)
    # after resuming it is the folder's own file, which ESPnet would overwrite
    (work_folder(folder) / CHECKPOINT).unlink(missing_ok=True)


def finish(folder: Path) -> None:
    """Move the last files of a training to the folder, and remove the working folder."""
    publish(folder)
    discard(folder)


def discard(folder: Path) -> None:
    """Remove the working folder that a stopped training left."""
    shutil.rmtree(work_folder(folder), ignore_errors=True)


def publish(folder: Path) -> None:
    """Move the files that ESPnet has written since the last call to the folder.

    Weights come before the links to them and the checkpoint that needs them; obsolete files are
    removed last.
    """
    work = work_folder(folder)
    links = [path for path in work.glob("*.pth") if path.is_symlink()]
    files = [path for path in work.glob("*.pth") if not path.is_symlink()]
    new = sorted(path for path in files if not _is_same(path, folder / path.name))
    if not new and not links:
        return
    for path in new:
        to_disk(path)
    record_checksums(folder, new)
    for path in new:
        if EPOCH.fullmatch(path.name):  # ESPnet averages it
            _link(path, folder / path.name)
        elif path.name != CHECKPOINT:
            path.replace(folder / path.name)
    for path in links:
        _point(folder / path.name, os.readlink(path))
    if (work / CHECKPOINT) in new:  # after this, the epoch counts as done
        if (folder / CHECKPOINT).exists():
            _link(folder / CHECKPOINT, folder / BACKUP)
        (work / CHECKPOINT).replace(folder / CHECKPOINT)
    to_disk(folder)
    present = _epochs(work)
    _remove_epochs(folder, _epochs(folder, last=max(present, default=0)).keys() - present)


def repair(folder: Path, best: Sequence[Sequence[str]], keep: int) -> int:
    """Restore a training's folder to the state of its last intact checkpoint.

    A damaged checkpoint is renamed to ``BROKEN`` and replaced by the backup, if there is one. If
    the weights of the checkpoint's epoch are missing or damaged, they are written from it. The
    links to the latest and the best weights are set, and superseded weights are removed.

    Args:
        folder: folder of the training.
        best: ESPnet's ``best_model_criterion``.
        keep: as for :func:`begin`.

    Returns:
        The checkpoint's epoch; 0: there is none.

    Raises:
        TisdissError: other weights are damaged, or hold numbers that are not finite.
    """
    checkpoint = folder / CHECKPOINT
    settle_checksums(folder)
    _replace_damaged(checkpoint)
    if not checkpoint.exists():
        return 0
    states = torch.load(checkpoint, map_location="cpu", weights_only=True)
    reporter = Reporter()
    reporter.load_state_dict(states["reporter"])
    epoch = reporter.get_epoch()
    latest = folder / f"{epoch}epoch.pth"
    if not latest.exists() or damage(latest):
        log.warning("%s was missing or damaged: written from %s", latest, checkpoint)
        with replacing(latest) as temporary:
            torch.save(states["model"], temporary)
            record_checksums(folder, [temporary])
        settle_checksums(folder)
    for path in _epochs(folder, last=epoch).values():
        check_weights(path)
    _point(folder / LATEST, latest.name)
    needed = {epoch}
    for phase, key, mode in best:
        if reporter.has(phase, key):
            ranking = reporter.sort_epochs(phase, key, mode)
            needed.update(ranking[:keep])
            name = f"{ranking[0]}epoch.pth"
            if (folder / name).exists():
                _point(folder / f"{phase}.{key}.best.pth", name)
    _remove_epochs(folder, _epochs(folder, last=epoch).keys() - needed)
    return epoch


def check_weights(path: Path) -> None:
    """Check that a training's weights are intact and finite.

    Raises:
        TisdissError: they are not.
    """
    if reason := damage(path):
        raise TisdissError(f"{path}: {reason}; restore a copy of it, or start again")
    weights = torch.load(path, map_location="cpu", weights_only=True)
    if name := not_finite(weights):
        raise TisdissError(f"{path}: {name} is not finite; start again in another folder")


def _replace_damaged(checkpoint: Path) -> None:
    """Replace a damaged checkpoint by the backup, if that is intact."""
    reason = damage(checkpoint) if checkpoint.exists() else ""
    if not reason:
        return
    checkpoint.replace(checkpoint.with_name(BROKEN))
    backup = checkpoint.with_name(BACKUP)
    if backup.exists() and not damage(backup):
        settle_checksums(checkpoint.parent)
        _link(backup, checkpoint)
        action = "resuming from the previous epoch"
    else:
        action = "starting from scratch"
    log.warning("%s was damaged (renamed to %s): %s", checkpoint, BROKEN, action)


def _remove_epochs(folder: Path, epochs: Collection[int]) -> None:
    """Remove the weights of epochs, and the checksums of missing files."""
    for epoch in epochs:
        (folder / f"{epoch}epoch.pth").unlink()
    settle_checksums(folder)


def _epochs(folder: Path, last: int | None = None) -> dict[int, Path]:
    """Return epoch -> its weights in a folder, up to the epoch ``last``."""
    matches = ((EPOCH.fullmatch(path.name), path) for path in folder.glob("*epoch.pth"))
    found = {int(match[1]): path for match, path in matches if match}
    return {epoch: path for epoch, path in found.items() if last is None or epoch <= last}


def _link(source: Path, target: Path) -> None:
    """Give a file a second name, replacing a file of that name; if impossible, copy it."""
    with replacing(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)


def _point(link: Path, target: str) -> None:
    """Make a symbolic link point to ``target``, atomically."""
    if not link.is_symlink() or os.readlink(link) != target:
        with replacing(link) as temporary:
            temporary.symlink_to(target)


def _is_same(path: Path, other: Path) -> bool:
    return other.exists() and path.samefile(other)
