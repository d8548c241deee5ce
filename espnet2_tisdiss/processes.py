"""Worker processes."""

import multiprocessing
import os
import threading


def exit_with_parent() -> None:
    """Make this worker process exit when its parent exits, even if the parent was killed."""
    parent = multiprocessing.parent_process()
    if parent is None:
        raise RuntimeError("exit_with_parent must be called in a process of multiprocessing")

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
