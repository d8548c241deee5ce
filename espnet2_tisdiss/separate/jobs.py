"""Separating files in several processes, each with the model and a share of the threads.

Each process has its own pipe to this one, so that the death of a process is noticed at any time and
does not block the others.
"""

import itertools
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from multiprocessing.connection import Connection, wait

from espnet2_tisdiss.processes import Interruption, terminations
from espnet2_tisdiss.separate.budget import TimeBudget
from espnet2_tisdiss.separate.depths import DepthSeparator
from espnet2_tisdiss.separate.file_result import FileResult
from espnet2_tisdiss.separate.files import separate_files
from espnet2_tisdiss.separate.input_files import InputFile
from espnet2_tisdiss.separate.options import FileOptions

# how long a terminated process may take to exit
END_S = 10.0


def separate_in_jobs(
    load: Callable[[], DepthSeparator],
    inputs: Sequence[InputFile],
    options: FileOptions,
    jobs: int,
    budget: TimeBudget | None = None,
    on_progress: Callable[[float], None] = lambda seconds: None,
) -> Generator[FileResult, None, None]:
    """Separate files as :func:`~espnet2_tisdiss.separate.files.separate_files`, in processes.

    Args:
        load: returns the model in the process; picklable.
        inputs: the files; a process gets ``batch_size`` of them at a time.
        options: options of the separation, with the depths for this model.
        jobs: number of processes.
        budget: the time of each process that limits the depth, if any.
        on_progress: called with the seconds of audio done since the last call.

    Yields:
        A result for each file. When a process dies, its current files fail and a new process
        continues with the rest.
    """
    # so that few files are spread over all processes
    size = max(1, min(options.batch_size, len(inputs) // jobs))
    shares = deque(itertools.batched(inputs, size))
    workers: list[_Worker] = []
    try:
        for _ in range(min(jobs, len(shares))):
            workers.append(_Worker(load, options, budget))
        while workers:
            for worker in _ready(workers):
                match worker.message():
                    case FileResult() as result:
                        yield result
                    case float(seconds):
                        on_progress(seconds)
                    case "ready":
                        worker.give(shares)
                    case "ended":
                        workers.remove(worker)
                        yield from worker.lost()
                        if shares and worker.has_begun:
                            workers.append(_Worker(load, options, budget))
        for item in itertools.chain.from_iterable(shares):
            reason = "no process could load the model; use fewer jobs"
            yield FileResult(item.source, "failed", f"{item.source}: {reason}")
    finally:
        for worker in workers:
            worker.interrupt()
        for worker in workers:
            worker.end()


class _Worker:
    """A worker process, from the parent's side.

    Attributes:
        connection: the pipe to it.
        has_begun: whether it has asked for work.
    """

    def __init__(
        self,
        load: Callable[[], DepthSeparator],
        options: FileOptions,
        budget: TimeBudget | None,
    ):
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.has_begun = False
        self._inputs: list[InputFile] = []  # in progress
        arguments = (theirs, load, options, budget)
        self._process = context.Process(target=_work, args=arguments, daemon=True)
        with _signals_blocked():
            self._process.start()
        theirs.close()  # the worker holds the only copy, so that its death closes the pipe

    def message(self) -> FileResult | float | str:
        """Return the next message of the process, or "ended" if it has ended."""
        try:
            message = self.connection.recv()
        except (EOFError, OSError):
            return "ended"
        if isinstance(message, FileResult):
            del self._inputs[0]  # files finish in order
        self.has_begun = True
        return message

    def give(self, shares: deque[tuple[InputFile, ...]]) -> None:
        """Send the first share, or an empty one that ends the process."""
        share = shares.popleft() if shares else ()
        try:
            self.connection.send(share)
            self._inputs = list(share)
        except OSError:  # it has died, which message() will report
            if share:
                shares.appendleft(share)

    def lost(self) -> Iterator[FileResult]:
        """Yield a failed result for each file in progress when the process died."""
        self.end()
        reason = f"its process died ({self._cause()}), possibly out of memory; use fewer jobs"
        for item in self._inputs:
            yield FileResult(item.source, "failed", f"{item.source}: {reason}")

    def interrupt(self) -> None:
        """Ask the process to end; it removes its unfinished files."""
        self._process.terminate()

    def end(self) -> None:
        """Wait for the process to end; kill it after ``END_S``."""
        self._process.join(END_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self.connection.close()

    def _cause(self) -> str:
        """Return how the process ended."""
        code = self._process.exitcode
        return signal.Signals(-code).name if code and code < 0 else f"exit code {code}"


def _ready(workers: Sequence[_Worker]) -> list[_Worker]:
    """Wait for workers that have sent a message or ended, and return them."""
    ready = wait([worker.connection for worker in workers])
    return [worker for worker in workers if worker.connection in ready]


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block the signals that interrupt this process; a process started in the block inherits this.

    A terminal sends Ctrl-C and hangup to all processes, but only this one should end the others.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, *terminations()})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(
    connection: Connection,
    load: Callable[[], DepthSeparator],
    options: FileOptions,
    budget: TimeBudget | None,
) -> None:
    """Separate shares of files until an empty one comes; runs in the worker process."""
    # no traceback if a signal, or the end of the parent process, ends this one
    with (
        suppress(KeyboardInterrupt, EOFError, ConnectionError),
        Interruption.caught(signal.SIGTERM) as interruption,
    ):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

        def send(message: FileResult | float | str) -> None:
            interruption.check()
            connection.send(message)

        model = load()
        send("ready")
        while share := connection.recv():
            with closing(separate_files(model, share, options, budget, send)) as results:
                for result in results:
                    send(result)
            send("ready")
