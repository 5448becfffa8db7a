"""Audit entries of reads that wait to be stored: bounded, counted, and never twice."""

from __future__ import annotations

import threading
from contextlib import suppress

import pytest

from openmem.adapters.kit import audit
from openmem.adapters.kit.audit import ReadLog, with_kept
from openmem.adapters.kit.store import Logged
from support.clocks import START, Clock
from support.interrupts import Countdown, at_calls


def entry(clock: Clock, action: str) -> Logged:
    return Logged(clock.tick(), None, action, None, None, None)


def test_entries_are_handed_over_in_order_and_can_be_put_back() -> None:
    clock, log = Clock(), ReadLog()
    first, second, third = (entry(clock, action) for action in ("get", "list", "search"))
    log.keep("u", first)
    log.keep("v", second)
    taken = log.take()
    assert taken == [("u", first), ("v", second)]
    assert len(log) == 0
    log.keep("u", third)
    log.put_back(taken)
    assert log.take() == [("u", first), ("v", second), ("u", third)]


def test_it_is_time_to_store_them_again_only_after_as_many_again() -> None:
    clock, log = Clock(), ReadLog()
    for _ in range(2):
        for number in range(audit.OFTEN):
            assert log.full is (number == audit.OFTEN)
            log.keep("u", entry(clock, "get"))
        assert log.full
        log.put_back(log.take())
        assert not log.full


def test_the_oldest_are_dropped_counted_for_each_user_and_warned_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(audit, "MOST", 3)
    clock, log = Clock(), ReadLog()
    entries = [entry(clock, str(number)) for number in range(8)]
    for number, each in enumerate(entries):
        log.keep("uv"[number % 2], each)
    assert log.dropped == {"u": 3, "v": 2}
    taken = log.take()
    assert [each for _, each in taken] == entries[5:]
    log.keep("u", entry(clock, "newer"))
    log.put_back(taken)
    assert [each.action for each in log.of("u")] == ["newer", "6"]
    assert log.dropped == {"u": 3, "v": 3}
    assert len(caplog.records) == 1


def test_entries_being_stored_are_still_told_of_and_kept_where_that_fails() -> None:
    clock, log = Clock(), ReadLog()
    kept = entry(clock, "get")
    log.keep("u", kept)
    with pytest.raises(KeyboardInterrupt), log.storing() as entries:
        assert entries == [("u", kept)]
        assert log.of("u") == [kept]
        later = entry(clock, "list")
        log.keep("u", later)
        assert log.of("u") == [later, kept]
        raise KeyboardInterrupt
    assert log.of("u") == [later, kept]
    with log.storing():
        pass
    assert log.of("u") == []


def test_what_is_stored_meanwhile_appears_once() -> None:
    clock = Clock()
    first, second, third = (entry(clock, action) for action in ("get", "list", "search"))
    assert list(with_kept(iter([second, first]), [third, second])) == [third, second, first]
    assert list(with_kept(iter([]), [])) == []
    tie = Logged(START, None, "add", "m", None, "1")
    read = Logged(START, None, "get", "m", None, "2")
    assert list(with_kept(iter([tie]), [read])) == [read, tie]


def test_many_threads_lose_nothing() -> None:
    clock, log = Clock(), ReadLog()
    one, stored = entry(clock, "get"), []
    barrier = threading.Barrier(4)

    def work() -> None:
        barrier.wait()
        for number in range(500):
            log.keep("u", one)
            if number % 50 == 0:
                with log.storing() as entries:
                    stored.extend(entries)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stored) + len(log) == 2000


def storing_interrupted(at: int | None, *, fails: bool) -> tuple[int, list[str], ReadLog]:
    """Store three entries, interrupted at the at-th moment; return the moments seen, what was stored, and the log."""
    clock, log, stored = Clock(), ReadLog(), []
    for action in "abc":
        log.keep("u", entry(clock, action))
    done: list[object] = []
    counts: list[Countdown] = []
    with suppress(KeyboardInterrupt, KeyError), at_calls(at) as count:
        counts.append(count)
        with log.storing(done) as entries:
            if fails:
                raise KeyError
            done += map(stored.extend, [entries])
    return counts[0].seen if counts else 0, [each.action for _, each in stored], log


@pytest.mark.parametrize("fails", [False, True])
def test_an_interrupt_neither_loses_nor_doubles_entries(fails: bool) -> None:
    seen, _, _ = storing_interrupted(None, fails=fails)
    for at in range(1, seen + 1):
        _, stored, log = storing_interrupted(at, fails=fails)
        with log.storing() as rest:
            assert stored + [each.action for _, each in rest] == list("abc"), at
