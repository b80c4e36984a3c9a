"""Work that waits for the disk or for a lock, off the event loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractContextManager

_P = ParamSpec("_P")
_T = TypeVar("_T")
_AT_ONCE = 16


class Threads:
    """Two kinds of threads: a `modfile prune` that holds all writers off keeps no reader waiting."""

    def __init__(self) -> None:
        self._reading = ThreadPoolExecutor(_AT_ONCE, "reading")
        self._writing = ThreadPoolExecutor(_AT_ONCE, "writing")

    async def read(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Do what only reads."""
        return await _run(self._reading, lambda: work(*args, **kwargs))

    async def write(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Do what changes the store, and may wait for other commands."""
        return await _run(self._writing, lambda: work(*args, **kwargs))

    @asynccontextmanager
    async def writing(self, context: AbstractContextManager[_T]) -> AsyncIterator[_T]:
        """Enter and leave a context on a thread; it is left whatever happens to the request meanwhile."""
        entered = asyncio.ensure_future(self.write(context.__enter__))
        try:
            value = await asyncio.shield(entered)
        except asyncio.CancelledError:
            entered.add_done_callback(lambda done: self._leave(context, done))
            raise
        try:
            yield value
        finally:
            await asyncio.shield(asyncio.ensure_future(self.write(context.__exit__, None, None, None)))

    def close(self) -> None:
        """Begin nothing more; what is under way may end by itself."""
        for pool in (self._reading, self._writing):
            pool.shutdown(wait=False, cancel_futures=True)

    def _leave(self, context: AbstractContextManager[_T], entered: asyncio.Future[_T]) -> None:
        if not entered.cancelled() and entered.exception() is None:
            self._writing.submit(context.__exit__, None, None, None)


async def _run(pool: ThreadPoolExecutor, work: Callable[[], _T]) -> _T:
    return await asyncio.get_running_loop().run_in_executor(pool, work)
