"""Files separated by several processes side by side, each with the model and a share of threads.

A process and this one talk over a pipe of their own, so that the death of one, whatever it was
doing, is noticed and cannot hold up the others.
"""

import itertools
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from espnet2_tisdiss.separate.files import Options, Outcome, Task, separate_files

# how long a process may take to end by itself when it is told to
END_S = 10.0


def separate_in_jobs(
    model: dict[str, Any],
    tasks: Sequence[Task],
    options: Options,
    jobs: int,
    threads: int,
    on_progress: Callable[[float], None] = lambda seconds: None,
) -> Iterator[Outcome]:
    """Separate files as :func:`~espnet2_tisdiss.separate.files.separate_files`, in processes.

    Args:
        model: arguments of :func:`~espnet2_tisdiss.pretrained.finding.load_model`.
        tasks: the files; as many go to a process at once as a batch has chunks.
        options: how.
        jobs: processes.
        threads: threads of each.
        on_progress: called with seconds of audio.

    Yields:
        An outcome for each file. When a process dies, what it was at is failed, and another one
        goes on with the rest.
    """
    # with few files, all processes get some
    size = max(1, min(options.batch_size, len(tasks) // jobs))
    shares = deque(itertools.batched(tasks, size))
    workers: list[_Worker] = []
    try:
        for _ in range(min(jobs, len(shares))):
            workers.append(_Worker(model, options, threads))
        while workers:
            for worker in _heard(workers):
                match worker.message():
                    case Outcome() as outcome:
                        yield outcome
                    case float(seconds):
                        on_progress(seconds)
                    case "ready":
                        worker.give(shares)
                    case "ended":
                        workers.remove(worker)
                        yield from worker.lost()
                        if shares and worker.has_begun:
                            workers.append(_Worker(model, options, threads))
        for task in itertools.chain.from_iterable(shares):
            reason = "no process could load the model; use fewer jobs"
            yield Outcome(task.source, "failed", f"{task.source}: {reason}")
    finally:
        for worker in workers:
            worker.interrupt()
        for worker in workers:
            worker.end()


class _Worker:
    """A process at work, seen from here.

    Attributes:
        connection: the pipe to it.
        has_begun: whether it got as far as to ask for work.
    """

    def __init__(self, model: dict[str, Any], options: Options, threads: int):
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.has_begun = False
        self._tasks: list[Task] = []  # those that it is at
        arguments = (theirs, model, options, threads)
        self._process = context.Process(target=_work, args=arguments, daemon=True)
        with _signals_held_back():
            self._process.start()
        theirs.close()  # theirs alone, so that its death is the end of the pipe

    def message(self) -> Outcome | float | str:
        """Return what the process says, or "ended" if it is no more."""
        try:
            message = self.connection.recv()
        except (EOFError, OSError):
            return "ended"
        if isinstance(message, Outcome):
            del self._tasks[0]  # they are finished in their order
        self.has_begun = True
        return message

    def give(self, shares: deque[tuple[Task, ...]]) -> None:
        """Give it the first share; none when there is no more, and it ends."""
        share = shares.popleft() if shares else ()
        try:
            self.connection.send(share)
            self._tasks = list(share)
        except OSError:  # it died meanwhile, which is its next message
            if share:
                shares.appendleft(share)

    def lost(self) -> Iterator[Outcome]:
        """Yield the outcomes of what it was at when it died; none if it was done."""
        self.end()
        reason = f"its process died ({self._cause()}), perhaps for want of memory; use fewer jobs"
        for task in self._tasks:
            yield Outcome(task.source, "failed", f"{task.source}: {reason}")

    def interrupt(self) -> None:
        """Tell it to end, in a way that leaves nothing half-written."""
        self._process.terminate()

    def end(self) -> None:
        """Wait for its end, and see to it that there is one."""
        self._process.join(END_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self.connection.close()

    def _cause(self) -> str:
        """Say how it ended."""
        code = self._process.exitcode
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _heard(workers: Sequence[_Worker]) -> list[_Worker]:
    """Return the workers that have said something, or ended, once there is one."""
    ready = wait([worker.connection for worker in workers])
    return [worker for worker in workers if worker.connection in ready]


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Let signals to end come after the block; a process started in it begins with them blocked.

    A terminal sends Ctrl-C to all processes; it is this one that is to end the others.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(connection: Connection, model: dict[str, Any], options: Options, threads: int) -> None:
    """Separate what is given until there is no more: what the process does."""
    # an end by a signal, or as the other process is no more, is none to speak of
    with suppress(KeyboardInterrupt, EOFError, ConnectionError):
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # KeyboardInterrupt
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        import torch

        from espnet2_tisdiss.pretrained.finding import load_model

        torch.set_num_threads(threads)
        separator = load_model(**model)
        connection.send("ready")
        while share := connection.recv():
            for outcome in separate_files(separator, share, options, connection.send):
                connection.send(outcome)
            connection.send("ready")
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # nothing is half-written any more
