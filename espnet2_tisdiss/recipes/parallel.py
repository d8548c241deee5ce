"""Apply a function to many items in worker processes, with progress and a prompt interrupt."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager

from espnet2_tisdiss.cluster import configured, map_in_order
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.processes import exit_with_parent
from espnet2_tisdiss.recipes.progress import progress

MAX_SHARE = 32


def map_in_processes[Item, Result](
    function: Callable[[Item], Result], items: Sequence[Item], nj: int, label: str
) -> Generator[Result, None, None]:
    """Yield ``function(item)`` in the order of ``items``.

    The processes are those of this machine, or of the cluster that the environment names; see
    :mod:`espnet2_tisdiss.cluster`.

    Args:
        function: a picklable function (module level, or a partial of one).
        items: picklable arguments.
        nj: number of worker processes; 1 works in this process. A cluster has its own number.
        label: shown with the progress.

    Raises:
        TisdissError: a worker process was killed.

    Closing the generator early drops the items that have not started.
    """
    cluster = configured()
    if cluster is not None:
        size = share_size(len(items), cluster.workers)
        results = map_in_order(cluster, function, items, size, label)
    elif nj == 1 or len(items) < 2:
        results = (function(item) for item in items)
    else:
        results = _map_in_pool(function, items, nj, label)
    with progress(len(items), label) as reach, closing(results):
        for done, result in enumerate(results, start=1):
            yield result
            reach(done)


def _map_in_pool[Item, Result](
    function: Callable[[Item], Result], items: Sequence[Item], nj: int, label: str
) -> Generator[Result, None, None]:
    # Spawned, not forked: the progress bar has a thread, which a fork would not survive.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        min(nj, len(items)), mp_context=context, initializer=exit_with_parent
    )
    try:
        with _interrupts_ignored():
            results = pool.map(function, items, chunksize=share_size(len(items), nj))
        yield from results
    except BrokenProcessPool:
        raise TisdissError(
            f"{label}: a process was killed, possibly out of memory; try fewer (--nj)"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def share_size(items: int, workers: int) -> int:
    """Return how many items a worker gets at a time, few enough that all finish together."""
    return max(1, min(MAX_SHARE, items // (4 * workers)))


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Ignore Ctrl-C; processes started in the block always ignore it: their parent stops them."""
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
