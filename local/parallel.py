"""Apply a function to many items in worker processes, with progress and a prompt stop."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from datadir import DataError
from progress import Progress


def map_in_processes[Item, Result](
    function: Callable[[Item], Result], items: Sequence[Item], nj: int, label: str
) -> Generator[Result, None, None]:
    """Yield ``function(item)`` in the order of ``items``.

    Args:
        function: a picklable function (module level, or a partial of one).
        items: picklable arguments.
        nj: number of worker processes; 1 works in this process.
        label: shown with the progress.

    Raises:
        DataError: a worker process was killed.

    Closing the generator early drops the items that were not begun.
    """
    with Progress(len(items), label) as progress:
        if nj == 1 or len(items) < 2:
            for done, item in enumerate(items, start=1):
                yield function(item)
                progress.reach(done)
            return
        # Spawned, not forked: the progress bar has a thread, which a fork would not survive.
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(min(nj, len(items)), mp_context=context)
        try:
            chunk = max(1, min(32, len(items) // (4 * nj)))
            for done, result in enumerate(pool.map(function, items, chunksize=chunk), start=1):
                yield result
                progress.reach(done)
        except BrokenProcessPool:
            raise DataError(
                f"{label}: a process was killed; is memory short? Try fewer (--nj)"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)
