"""Set the depth of a single call without changing the separator."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from espnet2_tisdiss.checks import check_n_re

# a context variable, because threads may use different depths
n_re_of_call: ContextVar[int | None] = ContextVar("n_re_of_call", default=None)


@contextmanager
def depth_of_call(n_re: int | None) -> Iterator[None]:
    """Set the depth of all separators that this thread runs within the block.

    Args:
        n_re: repetitions, >= 0; None: each separator's own ``reconstructor_repeat_times``.

    Raises:
        ValueError: ``n_re`` is not an integer >= 0.
    """
    if n_re is not None:
        check_n_re("n_re", n_re, 0)
    token = n_re_of_call.set(n_re)
    try:
        yield
    finally:
        n_re_of_call.reset(token)
