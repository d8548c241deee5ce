"""Work on a Dask cluster, started by ESPnet from a parallel configuration, or running already.

ESPnet's configuration is a YAML file with ``env`` (local, slurm, sge, pbs, kube, ...),
``n_workers`` and the ``options`` of that kind of cluster; see ``espnet3.parallel``. The machines
need the same files at the same paths, and this package.
"""

from __future__ import annotations

import atexit
import itertools
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from espnet2_tisdiss.errors import TisdissError

if TYPE_CHECKING:
    from distributed import Client

# environment variable with the path of the configuration, for the programs that enh.sh runs
CONFIGURATION = "TISDISS_PARALLEL_CONFIG"
KEYS = ("env", "n_workers", "options")
POLL_S = 0.5


@dataclass(frozen=True)
class Cluster:
    """A cluster: Dask's client, and the number of workers that run or have been requested."""

    client: Client
    workers: int


@contextmanager
def started(config: Path) -> Iterator[Cluster]:
    """Start a cluster from ESPnet's parallel configuration, and stop it at the end.

    Raises:
        TisdissError: Dask is not installed, or the configuration cannot be used.
    """
    require_dask()
    from espnet3.parallel.parallel import get_client
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        settings = OmegaConf.load(config)
    except (OSError, OmegaConfBaseException, YAMLError) as error:
        raise TisdissError(f"{config}: cannot be read: {error}") from None
    if not OmegaConf.is_dict(settings) or not {"env", "n_workers"} <= set(settings):
        raise TisdissError(
            f"{config}: expected the keys {', '.join(KEYS)}, as in ESPnet's parallel configuration"
        )
    with ExitStack() as stack:
        try:
            client = stack.enter_context(get_client(settings))
        except (RuntimeError, TypeError, ValueError, OSError) as error:
            raise TisdissError(f"{config}: no cluster: {error}") from error
        yield Cluster(client, int(settings.n_workers))


@contextmanager
def joined(address: str, timeout_s: float = 30) -> Iterator[Cluster]:
    """Use the cluster whose scheduler is at an address, such as ``tcp://host:8786``.

    Raises:
        TisdissError: Dask is not installed, or no scheduler answers.
    """
    require_dask()
    from distributed import Client

    try:
        client = Client(address, timeout=timeout_s)
    except (OSError, ValueError) as error:
        raise TisdissError(f"{address}: no scheduler of Dask answers: {error}") from None
    with client:
        yield Cluster(client, max(1, len(client.nthreads())))


@cache
def configured() -> Cluster | None:
    """Start the cluster that the environment names, until this process ends; None without one.

    Raises:
        TisdissError: as for :func:`started`.
    """
    config = os.environ.get(CONFIGURATION)
    if not config:
        return None
    stack = ExitStack()
    cluster = stack.enter_context(started(Path(config)))
    atexit.register(stack.close)
    return cluster


def require_dask() -> None:
    """Check that Dask is installed.

    Raises:
        TisdissError: it is not.
    """
    try:
        import dask_jobqueue  # noqa: F401
        import distributed  # noqa: F401
    except ImportError:
        raise TisdissError(
            "a cluster needs Dask, which is not installed: pip install 'espnet2_tisdiss[cluster]'"
        ) from None


def map_in_order[Item, Result](
    cluster: Cluster,
    function: Callable[[Item], Result],
    items: Sequence[Item],
    size: int,
    label: str,
    on_wait: Callable[[], None] = lambda: None,
) -> Generator[Result, None, None]:
    """Yield ``function(item)`` in the order of ``items``.

    If a worker dies, another one repeats its share; if several die on the same share, that is an
    error.

    Args:
        cluster: where the function runs.
        function: a picklable function.
        items: picklable arguments.
        size: items in a share.
        label: for messages.
        on_wait: called repeatedly while a result is awaited; an exception that it raises ends the
            work.

    Raises:
        TisdissError: several workers died on the same share, or the cluster was lost.
    """
    from distributed import KilledWorker, wait
    from distributed.client import FutureCancelledError

    shares = list(itertools.batched(items, size))
    # pure=False, so that Dask does not cache results: a function may write files
    work = partial(_work_on, str(Path.cwd()), function)
    futures = deque(cluster.client.map(work, shares, pure=False))
    try:
        while futures:
            while not futures[0].done():
                on_wait()
                with suppress(TimeoutError):
                    wait([futures[0]], POLL_S)
            yield from futures[0].result()
            futures.popleft().release()
    except KilledWorker:
        raise TisdissError(
            f"{label}: several workers died on the same work; possibly out of memory"
        ) from None
    except FutureCancelledError as error:
        raise TisdissError(f"{label}: the cluster was lost: {error}") from None
    finally:
        cluster.client.cancel(list(futures))


def _work_on[Item, Result](
    folder: str, function: Callable[[Item], Result], share: Iterable[Item]
) -> list[Result]:
    os.chdir(folder)  # relative paths are relative to the program that submits the work
    return [function(item) for item in share]
