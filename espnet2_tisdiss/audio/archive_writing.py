"""Writing audio into an archive of Kaldi's (``ark``) with its list (``scp``)."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np


class ArchiveWriter:
    """Writes waveforms into one archive, as 16-bit WAV, and their places into a list.

    Args:
        ark: the archive; its folder is created.
        scp: the list, with lines ``<key> <archive>:<offset>``.

    Example:
        >>> with ArchiveWriter(Path("spk1.ark"), Path("spk1.scp")) as writer:
        ...     writer["talk"] = 8000, samples
    """

    def __init__(self, ark: Path, scp: Path):
        ark.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as files:
            self._ark = files.enter_context(ark.open("wb"))
            self._scp = files.enter_context(scp.open("w", encoding="utf-8"))
            self._files = files.pop_all()

    def __setitem__(self, key: str, value: tuple[int, np.ndarray]) -> None:
        import kaldiio  # optional, as recipes need it alone

        kaldiio.save_ark(self._ark, {key: value}, scp=self._scp, write_function="soundfile")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._files.close()
