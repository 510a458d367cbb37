"""Work done ahead of its consumer by threads, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def ahead(make: Callable[[ItemT], ResultT], items: Iterable[ItemT], workers: int) -> Iterator[ResultT]:
    """`make(item)` in order; with workers, that many threads stay up to two items each ahead of the consumer.

    Threads and not processes: PIL and torch release the interpreter while they work, the picture cache is shared,
    and nothing is forked beside a running CUDA or OpenMP.
    """
    if workers == 0:
        yield from map(make, items)
        return
    queue: deque[Future[ResultT]] = deque()
    remaining = iter(items)
    with ThreadPoolExecutor(workers, thread_name_prefix="amlrepro-loader") as pool:
        try:
            queue.extend(pool.submit(make, item) for item in islice(remaining, 2 * workers))
            while queue:
                result = queue.popleft().result()
                queue.extend(pool.submit(make, item) for item in islice(remaining, 1))
                yield result
        finally:
            for future in queue:
                future.cancel()
