"""Reads whose time should not grow with what is stored: counts, a list by external_id, a chain of 40 links, pages.

Usage: python benchmarks/reads.py [--postgres URL]. Prints the median of 41 calls in milliseconds: stats of a user with
5,000 memories, a list by external_id with 1,000 and with 20,000 memories of the user, and a history of 41 memories;
a page of users and one of a user's scopes, beside 1,000 and beside 100,000 users. Of Postgres stats over a filter too,
which selects half of 100,000 memories, and how many times as long that takes as a count by hand.
Then, as ratios: how long get by external_id takes to get by id, of 20,000 memories, and how many times as quick 1,000
memories are read and changed, in their contents and in one field, by one get_many or update_many as one by one.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import psycopg

from openmem import Memory, UserMemory

CALLS = 41
ROUNDS = 3
CROWD, LARGE, PAGE = (1_000, 100_000), 100_000, 100
COUNT = "SELECT count(*) FROM openmem.memories WHERE user_id = 'large' AND record ->> 'kind' = 'fact'"
COUNTED, FEW, MANY, LINKS, MANY_AT_ONCE = 5_000, 1_000, 20_000, 40, 1_000


def main() -> None:
    """Measure each engine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--postgres", metavar="URL", help="an empty database; without it Postgres is left out")
    asked = parser.parse_args()
    print(f"{'':10} {'stats':>8} {'external_id':>12} {'of 20,000':>10} {'history':>8}   ms")
    ratios: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        urls = ["memory://", f"sqlite:///{Path(folder) / 'reads.db'}", *([asked.postgres] if asked.postgres else [])]
        for url in urls:
            with Memory(url, embedder="none", timeout=600) as memory:
                name = url.partition(":")[0]
                print(f"{name:10} " + "{:8.2f} {:12.3f} {:10.3f} {:8.2f}".format(*measured(memory)))
                ratios.append(f"{name:10} " + "{:10.2f} {:10.1f} {:10.1f} {:10.1f}".format(*compared(memory)))
        print(f"\n{'':10} {'by key':>10} {'get_many':>10} {'contents':>10} {'kinds':>10}   times", *ratios, sep="\n")
        print(f"{'':10} {'users':>8} {'100,000':>12} {'scopes':>10} {'100,000':>8}   ms a page")
        for url in urls:
            with Memory(url, embedder="none", timeout=600) as memory:
                (users, scopes), (among_many, beside_many) = [crowded(memory, count) for count in CROWD]
            print(f"{url.partition(':')[0]:10} {users:8.2f} {among_many:12.2f} {scopes:10.2f} {beside_many:8.2f}")
    if asked.postgres:
        took, ratio = large(asked.postgres)
        print(f"stats over a filter at {LARGE:,} memories: {took:.0f} ms, {ratio:.1f} times a count")


def measured(memory: Memory) -> tuple[float, float, float, float]:
    """Fill a store step by step and time each read."""
    fill(memory, "counted", COUNTED)
    stats = timed(lambda: memory.stats("counted"))
    fill(memory, "grows", FEW)
    few = timed(lambda: memory.list("grows", filter={"external_id": "key 7"}))
    fill(memory, "grows", MANY - FEW, FEW)
    many = timed(lambda: memory.list("grows", filter={"external_id": "key 7"}))
    last = memory.add("link", "chained")
    for _ in range(LINKS):
        last = memory.add("link", "chained", supersedes=[last.id])
    return stats, few, many, timed(lambda: memory.history(last.id))


def compared(memory: Memory) -> tuple[float, float, float, float]:
    """Compare reads by key with reads by id, and batches with calls one by one."""
    mine = memory.for_user("grows")
    known = mine.get(external_id="key 7")
    by_key, by_id = side_by_side(lambda: mine.get(external_id="key 7"), lambda: mine.get(known.id))
    ids = [each.id or "" for each in mine.get_many(external_ids=[f"key {number}" for number in range(MANY_AT_ONCE)])]
    read = [once(lambda: [mine.get(each) for each in ids]) / once(lambda: mine.get_many(ids)) for _ in range(ROUNDS)]
    contents = [changed(mine, [{"id": each, "content": f"{n} {each}"} for each in ids]) for n in range(ROUNDS)]
    kinds = [changed(mine, [{"id": each, "kind": f"{n}"} for each in ids]) for n in range(ROUNDS)]
    return by_key / by_id, median(read), median(contents), median(kinds)


def changed(mine: UserMemory, patches: list[dict[str, Any]]) -> float:
    """Say how many times as quick patches are in a batch as one by one."""
    alone = once(lambda: [mine.update(**patch) for patch in patches])
    again = [{**patch, "content": f"{patch['content']} again"} if "content" in patch else patch for patch in patches]
    return alone / once(lambda: mine.update_many(again))


def side_by_side(first: Callable[[], Any], second: Callable[[], Any]) -> tuple[float, float]:
    """Time two calls in turn, so that what else the machine does falls on both."""
    taken: list[tuple[float, float]] = [(once(first), once(second)) for _ in range(10 * CALLS)]
    return median(pair[0] for pair in taken), median(pair[1] for pair in taken)


def once(call: Callable[[], Any]) -> float:
    """Return the seconds of one call."""
    begun = perf_counter()
    call()
    return perf_counter() - begun


def crowded(memory: Memory, count: int) -> tuple[float, float]:
    """Add users until there are so many, and time a page in their midst, and one of a user's scopes."""
    there = sum(1 for user in memory.users(limit=1000).items if user.user_id.startswith("crowd"))
    for first in range(there, count, 5_000):
        numbers = range(first, min(first + 5_000, count))
        memory.add_many([{"content": "note", "user_id": f"crowd {number:06}"} for number in numbers])
    fill(memory, f"scoped beside {count}", FEW)
    middle = memory.users(limit=PAGE).next_cursor
    users = timed(lambda: memory.users(limit=PAGE, cursor=middle))
    return users, timed(lambda: memory.scopes(f"scoped beside {count}", limit=PAGE))


def large(url: str) -> tuple[float, float]:
    """Time stats over a filter, in milliseconds and as a ratio to a count by hand in the same run."""
    with Memory(url, embedder="none", timeout=600) as memory, psycopg.connect(url, autocommit=True) as connection:
        fill(memory, "large", LARGE)
        connection.execute("VACUUM ANALYZE openmem.memories")
        counted = timed(lambda: connection.execute(COUNT).fetchall())
        took = timed(lambda: memory.stats("large", filter={"kind": "fact"}))
    return took, took / counted


def fill(memory: Memory, user_id: str, count: int, start: int = 0) -> None:
    """Add memories of several scopes, kinds and tags, each with a key."""
    for first in range(start, start + count, 5_000):
        numbers = range(first, min(first + 5_000, start + count))
        items: list[dict[str, Any]] = [
            {
                "content": f"note {number}",
                "external_id": f"key {number}",
                "scope": f"area/{number % 20}",
                "kind": ("fact", "event")[number % 2],
                "tags": [f"t{number % 7}"],
            }
            for number in numbers
        ]
        memory.add_many(items, user_id=user_id)


def timed(call: Callable[[], Any]) -> float:
    """Return the median of many calls in milliseconds."""
    taken = []
    for _ in range(CALLS):
        begun = perf_counter()
        call()
        taken.append(perf_counter() - begun)
    return median(taken) * 1000


if __name__ == "__main__":
    main()
