"""Files separated by several processes side by side, each with the model and a share of threads."""

import contextlib
import itertools
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.queues import SimpleQueue
from types import FrameType
from typing import Any

from espnet2_tisdiss.files import Options, Outcome, Task, separate_files

POLL_S = 0.2


def separate_in_jobs(
    model: dict[str, Any],
    tasks: Sequence[Task],
    options: Options,
    jobs: int,
    on_progress: Callable[[float], None],
) -> Iterator[Outcome]:
    """Separate files in several processes; as :func:`~espnet2_tisdiss.files.separate_files`.

    Args:
        model: arguments of :func:`~espnet2_tisdiss.pretrained.load_model`, for every process.
        tasks: the files; as many go to a process at once as a batch has chunks.
        options: how.
        jobs: processes.
        on_progress: called with seconds of audio.

    Yields:
        An outcome for each file; those of a process that died are failed.
    """
    context = multiprocessing.get_context("spawn")
    progress = context.SimpleQueue()
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with ProcessPoolExecutor(
        jobs, context, initializer=_begin, initargs=(model, options, threads, progress)
    ) as pool:
        shares = {
            pool.submit(_separate, share): share
            for share in itertools.batched(tasks, options.batch_size)
        }
        try:
            left = set(shares)
            while left:
                done, left = wait(left, POLL_S, FIRST_COMPLETED)
                while not progress.empty():
                    on_progress(progress.get())
                for future in done:
                    yield from _outcomes(future, shares[future])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def _outcomes(future: Future[list[Outcome]], share: Sequence[Task]) -> list[Outcome]:
    """Return what a process made of its share."""
    try:
        return future.result()
    except BrokenProcessPool:
        reason = "its process was killed, perhaps for memory; use fewer --jobs or shorter chunks"
        return [Outcome(task.source, "failed", f"{task.source}: {reason}") for task in share]


# what a process has once it has begun
_process: dict[str, Any] = {}


def _begin(
    model: dict[str, Any], options: Options, threads: int, progress: SimpleQueue[float]
) -> None:
    """Make a process ready: the model, and an end that leaves nothing half-written."""
    signal.signal(signal.SIGTERM, _interrupt)
    import torch

    from espnet2_tisdiss.pretrained import load_model

    torch.set_num_threads(threads)
    _process.update(model=load_model(**model), options=options, progress=progress)


def _separate(share: Sequence[Task]) -> list[Outcome]:
    """Separate a share in the process that has begun."""
    with contextlib.suppress(KeyboardInterrupt):
        return list(
            separate_files(_process["model"], share, _process["options"], _process["progress"].put)
        )
    return []


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
