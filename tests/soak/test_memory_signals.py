"""memory:// under thousands of interrupts and forks: chosen moments, real signals, and threads at work meanwhile."""

from __future__ import annotations

import os
import random
import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from openmem import NotFoundError
from support.stand import VERBS, WAYS, Stand, check, hold_indexes, interrupt

CHOSEN, SIGNALS, FORKS, THREADS = 250, 3_000, 60, 4
pytestmark = [
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@contextmanager
def threads_at_work(stand: Stand) -> Iterator[None]:
    """Let threads change and read other users of the same store."""
    over = threading.Event()
    failures: list[BaseException] = []

    def work(number: int) -> None:
        own = stand.memory.for_user(f"thread {number}")
        try:
            while not over.is_set():
                added = own.add_many([{"content": f"word{each} tea"} for each in range(20)])
                own.update(added[0].id or "", content="coffee", tags=["t"])
                own.search("tea", limit=30)
                own.delete_many([each.id or "" for each in added])
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert failures == []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("verb", VERBS)
def test_thousands_of_chosen_moments(verb: str, way: str) -> None:
    stand = Stand(f"soak {verb} {way}")
    came = 0
    for _ in range(CHOSEN):
        came += interrupt(stand, verb, WAYS[way])
        hold_indexes(stand.memory)
    assert came > 0.8 * CHOSEN


@pytest.mark.parametrize("beside", [False, True])
def test_thousands_of_signals(beside: bool) -> None:
    stand = Stand("signals")
    chance = random.Random(1)
    came = 0
    before_handler = signal.signal(signal.SIGALRM, signal.default_int_handler)  # what Ctrl-C does
    try:
        for number in range(SIGNALS if not beside else SIGNALS // 10):
            stand.refill()
            verb = VERBS[number % len(VERBS)]
            change, before = getattr(stand, verb)(), stand.state()
            if beside:
                with threads_at_work(stand):
                    came += signalled(stand, change, chance.uniform(2e-5, 2e-3))
            else:
                came += signalled(stand, change, chance.uniform(2e-5, 6e-4))
            if check(stand, before, verb):
                stand.changes += change[1]
            assert stand.logged() == stand.changes
            if number % 10 == 0:
                hold_indexes(stand.memory)
    finally:
        signal.signal(signal.SIGALRM, before_handler)
    hold_indexes(stand.memory)
    assert came > 30


def signalled(stand: Stand, change: tuple, after: float) -> bool:  # type: ignore[type-arg]
    """Make a change while a signal comes; return whether it came within."""
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, after)
            change[0]()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        return True
    return False


def test_forks_while_threads_work() -> None:
    stand = Stand("forks")
    with threads_at_work(stand):
        for number in range(FORKS):
            stand.refill()
            before = stand.state()
            child = os.fork()
            if child == 0:
                os._exit(in_the_child(stand, before, number))
            assert os.waitpid(child, 0)[1] == 0


def in_the_child(stand: Stand, before: dict[str, object], number: int) -> int:
    """Use everything; return what to end with."""
    try:
        assert stand.state() == before
        for verb in VERBS:
            stand.refill()
            stand.do(getattr(stand, verb)())
        for thread in range(THREADS):
            own = stand.memory.for_user(f"thread {thread}")
            for record in own.list(limit=500).items:
                try:
                    own.delete(record.id)
                except NotFoundError:
                    return 2
            assert own.search("tea") == []
            assert own.stats().total == 0
        hold_indexes(stand.memory)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0
