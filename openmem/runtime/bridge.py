"""The one way from sync to async, and from async to blocking code."""

from __future__ import annotations

import asyncio
import atexit
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import Executor
from contextlib import suppress
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar

from .fork import Lock, in_child, leave_to_parent

A = TypeVar("A")
T = TypeVar("T")
LOOK = 0.005
"""Seconds between looks whether another caller is done with a set-up."""
_stepping: ContextVar[bool] = ContextVar("openmem_stepping", default=False)


def step(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends, in the calling thread, with no event loop."""
    context = copy_context()  # an interrupt may leave in it what it likes
    context.run(_stepping.set, True)
    try:
        context.run(coroutine.send, None)
    except StopIteration as finished:
        result: T = finished.value
        return result
    context.run(coroutine.close)
    raise RuntimeError("a coroutine declared inline suspended; declare its adapter or embedder inline=False")


async def offload(work: Callable[..., T], *args: Any, within: Executor | None = None) -> T:
    """Run blocking work: in place when a sync caller steps us, else in a thread so that the loop goes on.

    within: whose threads, where those of the event loop, which are the application's too, might all be kept waiting.
    """
    if _stepping.get():
        return work(*args)
    context = copy_context()
    try:
        future = asyncio.get_running_loop().run_in_executor(within, lambda: context.run(work, *args))
    except RuntimeError:  # at exit there are no more threads, and nobody whom it would hold up
        return context.run(work, *args)
    return await future


def stepping() -> bool:
    """Tell whether a sync caller steps us, in whose thread no event loop need run."""
    return _stepping.get()


def cancelling() -> bool:
    """Tell whether the task under way was asked to end; a sync caller who steps us, or has no loop, has none."""
    try:
        task = None if stepping() else asyncio.current_task()
    except RuntimeError:
        return False
    return task is not None and task.cancelling() > 0


async def breathe() -> None:
    """Let the event loop go on in the midst of long work; a sync caller's work goes on at once."""
    if not _stepping.get():
        await asyncio.sleep(0)


async def finished(work: Coroutine[Any, Any, T]) -> T:
    """Run work to its end even where the caller is cancelled meanwhile, who then waits for it."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


async def side_by_side(work: Callable[[A], Awaitable[T]], items: Iterable[A], most: int) -> list[T]:
    """Do work on items, so many at once; where one fails, or the caller is cancelled, none goes on."""
    turn = asyncio.Semaphore(most)

    async def in_turn(item: A) -> T:
        async with turn:
            return await work(item)

    tasks = [asyncio.ensure_future(in_turn(item)) for item in items]
    try:
        return [await task for task in tasks]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Once:
    """A set-up that runs once in a process, whichever threads, and tasks of whichever loops, ask for it together."""

    def __init__(self) -> None:
        self.done = False
        self._lock = Lock()
        self._waited_for: int | None = None
        in_child(self, Once.__init__)

    @property
    def is_under_way_here(self) -> bool:
        """Whether this thread, or its event loop, is in the midst of it."""
        return self._waited_for == threading.get_ident()

    async def run(self, set_up: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Await set_up unless an earlier call finished it; a failed one is tried again by the next caller."""
        if self.done:
            return
        if _stepping.get():
            if self.is_under_way_here:  # which could not go on while we wait
                raise RuntimeError("this thread, or its event loop, is in the midst of the set-up")
            with self._lock:  # stepping never suspends, so holding it across await is safe
                await self._set_up(set_up)
            return
        while not self._lock.acquire(blocking=False):  # noqa: ASYNC110  the lock belongs to no loop that could wake us
            await asyncio.sleep(LOOK)
        try:
            await self._set_up(set_up)
        finally:
            self._lock.release()

    async def _set_up(self, set_up: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if self.done:
            return
        self._waited_for = threading.get_ident()
        try:
            await set_up()
            self.done = True
        finally:
            self._waited_for = None


class LoopThread:
    """An event loop in a thread of its own, started on first use and closed when the process ends."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        in_child(self, LoopThread._forget)

    def _forget(self) -> None:
        """Begin anew in a child of fork, where the thread does not exist and the loop would never answer."""
        leave_to_parent(self._loop)
        self.__init__()  # type: ignore[misc]

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and wait for it; an interrupt of the wait cancels it."""
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError("Memory was called from openmem's own event loop; use AsyncMemory there")
        if sys.is_finalizing():  # no thread would run any more, and to wait for one would be for ever
            coroutine.close()
            raise RuntimeError("Python is ending: nothing is called any more")
        loop, context = self._started(), copy_context()
        context.run(_stepping.set, False)  # whoever steps this call does not step what runs on the loop
        future = context.run(asyncio.run_coroutine_threadsafe, coroutine, loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                thread = threading.Thread(target=self._serve, args=(loop,), name="openmem", daemon=True)
                try:
                    thread.start()
                except BaseException:  # there may be no room for another thread
                    loop.close()
                    raise
                self._loop, self._thread = loop, thread
            return self._loop

    @staticmethod
    def _serve(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        while True:
            try:
                loop.run_forever()
            except (KeyboardInterrupt, SystemExit):
                continue  # the call that raised it ends with it; the loop is there for the others
            return

    def close(self) -> None:
        """Cancel what still runs, stop the loop and join the thread."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result(timeout=5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=5)
        if not thread.is_alive():
            loop.close()


async def _cancel_all() -> None:
    """End every task; again and again, for some take one cancellation for something else and go on."""
    this = {asyncio.current_task()}
    while tasks := asyncio.all_tasks() - this:
        for task in tasks:
            task.cancel()
        done, _ = await asyncio.wait(tasks, timeout=0.1)
        for task in done:
            if not task.cancelled():
                task.exception()  # nobody is left to be told
    # Not shutdown_default_executor: it starts a thread, which Python 3.12 refuses at exit; loop.close() lets it go.
    await asyncio.get_running_loop().shutdown_asyncgens()


_loop_thread = LoopThread()


def run(coroutine: Coroutine[Any, Any, T], *, inline: bool) -> T:
    """Run a coroutine for a sync caller: stepped in place when inline, else on the private loop."""
    return step(coroutine) if inline else _loop_thread.run(coroutine)


at_exit: list[Callable[[], None]] = []
"""What is done at exit, after what the application registered since it imported us."""


@atexit.register
def _close() -> None:
    _loop_thread.close()  # a loop thread left running would keep the interpreter from ending
    for work in at_exit:
        work()
