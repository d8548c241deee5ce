"""Processes that work for another one."""

import multiprocessing
import os
import threading


def leave_with_parent() -> None:
    """Make this worker process end when its parent is gone, however that came about."""

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
