"""Packed models and weights files, both zip files, which may come from unknown sources."""

import zipfile
from pathlib import Path

from espnet2_tisdiss.atomic import replacing_folder
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.locks import waiting
from espnet2_tisdiss.pretrained.layouts import CALIBRATION

# An archive may unpack to this many times its own size, plus this number of bytes. Weights hardly
# shrink when they are packed, texts to a tenth; a zip bomb grows a thousand times.
MOST_GROWTH = 20
MOST_MORE = 16 * 2**20
BLOCK = 2**20


def unpack_model(archive: Path, folder: Path, config: str) -> None:
    """Unpack the weights of a packed model, and the configuration in the same folder, atomically.

    Other files are not unpacked, and names in the archive are not used for paths.

    Args:
        archive: a zip file, as ESPnet's ``pack`` writes it.
        folder: new folder for the two files.
        config: name of the configuration.

    Raises:
        TisdissError: the archive is damaged, holds no such model, or grows too large.
        OSError: the folder cannot be written.
    """
    with waiting(folder.parent):
        if folder.is_dir():  # another process has unpacked the same content in the meantime
            return
        try:
            with zipfile.ZipFile(archive) as packed, replacing_folder(folder) as temporary:
                _unpack(packed, archive, temporary, config)
        except (OSError, TisdissError):
            raise
        except Exception as error:  # which exceptions a faulty archive raises is not documented
            raise TisdissError(f"{archive}: not a packed ESPnet model ({error})") from None


def _unpack(packed: zipfile.ZipFile, archive: Path, folder: Path, config: str) -> None:
    """Unpack weights and configuration into a folder."""
    names = packed.namelist()
    weights = [name for name in names if name.endswith(".pth")]
    if len(weights) != 1:
        raise TisdissError(
            f"{archive}: not a packed ESPnet model: holds {len(weights)} files of weights, not one"
        )
    folder_name = weights[0].rpartition("/")[0]
    parent = f"{folder_name}/" if folder_name else ""
    beside = f"{parent}{config}"
    if beside not in names:
        raise TisdissError(f"{archive}: not a packed ESPnet model: holds no {beside}")
    left = MOST_GROWTH * archive.stat().st_size + MOST_MORE
    wanted = {beside: config, weights[0]: "model.pth"}
    if f"{parent}{CALIBRATION}" in names:
        wanted[f"{parent}{CALIBRATION}"] = CALIBRATION
    for name, target in wanted.items():
        with packed.open(name) as source, (folder / target).open("wb") as file:
            while block := source.read(BLOCK):
                left -= len(block)
                if left < 0:
                    raise TisdissError(
                        f"{archive}: unpacks to more than {MOST_GROWTH} times its size, which no "
                        "model does; get it again from where it comes from"
                    )
                file.write(block)


def check_stored(weights: Path | str) -> None:
    """Check that a weights file contains all of its bytes, and nothing compressed.

    PyTorch packs without compression, but unpacks compressed entries of any size.

    Raises:
        TisdissError: it does not.
    """
    try:
        with zipfile.ZipFile(weights) as file:
            entries = file.infolist()
    except Exception:  # the format of PyTorch before 1.6, or not weights, which PyTorch refuses
        return
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise TisdissError(f"{weights}: is compressed, which PyTorch's weights are not; replace it")
