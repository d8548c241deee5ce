"""Writing audio into a Kaldi archive (``ark``) with its list (``scp``)."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from espnet2_tisdiss.atomic import replacing
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.lists import write_scp


class ArchiveWriter:
    """Writes waveforms into one archive, as 16-bit WAV, and their positions into a list.

    A context manager. Both files get their names, and replace existing ones, when its block ends
    without an exception, so that a list always matches its archive.

    Args:
        ark: the archive; its folder is created.
        scp: the list, with lines ``<key> <archive>:<offset>``, sorted by key.

    Raises:
        TisdissError: in the block: a key was already used.
        OSError: a file cannot be written.

    Example:
        >>> with ArchiveWriter(Path("spk1.ark"), Path("spk1.scp")) as writer:
        ...     writer["talk"] = 8000, samples
    """

    def __init__(self, ark: Path, scp: Path):
        self._ark, self._scp = ark, scp
        self._places: dict[str, str] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            temporary = stack.enter_context(replacing(self._ark))
            self._file = stack.enter_context(temporary.open("wb"))
            self._stack = stack.pop_all()
        return self

    def __setitem__(self, key: str, value: tuple[int, np.ndarray]) -> None:
        import kaldiio  # optional, because only recipes need it

        if key in self._places:
            raise TisdissError(f"{self._scp}: the key {key} was already used; name it otherwise")
        offset = self._file.tell() + len(f"{key} ".encode())
        kaldiio.save_ark(self._file, {key: value}, write_function="soundfile")
        self._places[key] = f"{self._ark}:{offset}"

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._scp.unlink(missing_ok=True)
        self._stack.__exit__(kind, error, trace)
        if kind is None:
            write_scp(self._scp, self._places)
