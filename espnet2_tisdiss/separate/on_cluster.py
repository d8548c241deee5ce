"""Separating files on a running Dask cluster, with the same results in the same order."""

import functools
import itertools
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace

from espnet2_tisdiss.cluster import Cluster, map_in_order
from espnet2_tisdiss.errors import TisdissError
from espnet2_tisdiss.separate.depths import DepthSeparator
from espnet2_tisdiss.separate.file_result import FileResult
from espnet2_tisdiss.separate.files import separate_files
from espnet2_tisdiss.separate.input_files import InputFile, to_separate
from espnet2_tisdiss.separate.options import FileOptions

# shares per worker: with few, a late one delays the end
SHARES = 8
# maximum seconds of audio in a share, so that a worker that dies loses little
MOST_SECONDS = 600.0

# a file, and the seconds of each of its channels
Work = tuple[InputFile, list[float]]


def separate_on_cluster(
    cluster: Cluster,
    model: DepthSeparator,
    load: Callable[[], DepthSeparator],
    durations: Mapping[InputFile, list[float]],
    options: FileOptions,
    on_progress: Callable[[float], None] = lambda seconds: None,
) -> Generator[FileResult, None, None]:
    """Separate files in shares of similar duration, each by one of the cluster's workers.

    If a worker dies, another one repeats its share. Existing outputs are skipped or refused here,
    before the work begins, so that a share may replace the files left by a dead worker.

    Args:
        cluster: the cluster; its workers see the same files at the same paths.
        model: the loaded model.
        load: returns the model in a worker; picklable and hashable.
        durations: the files, with the seconds of each channel to separate.
        options: options of the separation, with the depths for this model; a time limit is an RTF.
        on_progress: called with the seconds of audio done since the last call.

    Yields:
        The result of each file, in order.

    Raises:
        TisdissError: several workers died on the same share, or the cluster was lost.
    """
    if options.seconds is not None:
        raise TisdissError("--seconds cannot be divided among the workers; give --rtf")
    open_files = [
        item for item in durations if to_separate({item: durations[item]}, options, model.num_spk)
    ]
    shares = _shares({item: durations[item] for item in open_files}, SHARES * cluster.workers)
    separate = functools.partial(_separate_share, load, replace(options, existing="overwrite"))
    on_wait = functools.partial(on_progress, 0.0)
    remote = set(open_files)
    with closing(map_in_order(cluster, separate, shares, 1, "separation", on_wait)) as made:
        results = itertools.chain.from_iterable(made)
        for item, channels in durations.items():
            if item in remote:
                result = next(results)
            else:  # refused or skipped: the model is not used
                (result,) = separate_files(model, [item], options)
            on_progress(sum(channels))
            yield result


def _shares(durations: Mapping[InputFile, list[float]], count: int) -> list[tuple[Work, ...]]:
    """Cut files, in order, into about ``count`` shares of similar duration."""
    most = min(MOST_SECONDS, sum(map(sum, durations.values())) / count)
    shares: list[list[Work]] = []
    seconds = 0.0
    for item, channels in durations.items():
        if not shares or seconds >= most:
            shares.append([])
            seconds = 0.0
        shares[-1].append((item, channels))
        seconds += sum(channels)
    return [tuple(share) for share in shares]


def _separate_share(
    load: Callable[[], DepthSeparator],
    options: FileOptions,
    share: Sequence[Work],
) -> list[FileResult]:
    """Separate a share of files; runs in a worker."""
    model = _loaded(load)
    budget = options.budget([channels for _, channels in share], model.sample_rate)
    return list(separate_files(model, [item for item, _ in share], options, budget))


@functools.lru_cache(maxsize=1)  # a worker separates many shares
def _loaded(load: Callable[[], DepthSeparator]) -> DepthSeparator:
    return load()
