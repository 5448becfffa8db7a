"""The golden table of filters: eight records, and for each filter which of them it selects on every backend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

QUERY = "note"
"""A word of every record's content, for reading the table through search."""

RECORDS: dict[str, dict[str, Any]] = {
    "ada": {
        "content": "Ada keeps a note.",
        "scope": "work/mail",
        "kind": "fact",
        "importance": 0.1,
        "confidence": 0.9,
        "external_id": "crm:1",
        "pinned": True,
        "tags": ["urgent", "work"],
        "source": {"app": "mail", "type": "explicit"},
        "valid_from": "2020-01-01T00:00:00Z",
        "valid_to": "2999-01-01T00:00:00Z",
        "x-team": "Core",
        "metadata": {
            "topic": "billing",
            "n": 1,
            "big": 2**53 + 1,
            "flag": True,
            "place": {"city": "Oslo", "zip": 150},
            "marks": ["red", "blue"],
            "when": "2026-01-31",
            "raw": "O'Brien",
            "my key": 1,
        },
    },
    "bob": {
        "content": "Bob keeps a note.",
        "scope": "work",
        "kind": "preference",
        "importance": 0.5,
        "confidence": 0.9,
        "external_id": "crm:10",
        "pinned": False,
        "tags": ["Urgent"],
        "source": {"app": "Mail"},
        "valid_from": "2021-06-01T12:00:00+02:00",
        "x-team": "core",
        "metadata": {
            "topic": "Billing",
            "n": 1.0,
            "big": 2**53,
            "flag": False,
            "place": {"city": "oslo"},
            "marks": "red",
            "when": "2026-02-01T00:00:00Z",
            "raw": "'; DROP TABLE memories; --",
            'q"uote': 1,
        },
    },
    "cat": {
        "content": "Cat keeps a note.",
        "scope": "workshop",
        "kind": "fact",
        "importance": 1.0,
        "tags": ["urgently"],
        "source": {"app": "mailer"},
        "valid_from": "2021-06-01T10:00:00.000001Z",
        "metadata": {
            "topic": "bill",
            "n": "1",
            "big": 2**53 + 2,
            "flag": "true",
            "place": "Oslo",
            "marks": ["reddish"],
            "when": 20260131,
            "raw": 'say "hi"',
            "it's": 1,
        },
    },
    "dan": {
        "content": "Dan keeps a note.",
        "scope": "home",
        "kind": "event",
        "importance": 0.0,
        "tags": ["work", "home"],
        "source": {"app": "mail", "ref": "msg/1"},
        "valid_to": "2998-01-01T00:00:00Z",
        "x-spot": {"row": 3},
        "metadata": {
            "topic": "billing%",
            "n": True,
            "big": "9007199254740993",
            "flag": 1,
            "place": [{"city": "Oslo"}],
            "marks": [1, 2],
            "raw": "100%",
            "größe": 1,
        },
    },
    "eve": {
        "content": "Eve keeps a note.",
        "kind": "Fact",
        "tags": ['say "hi"'],
        "source": {"type": "imported"},
        "metadata": {
            "topic": "bill_ng",
            "n": 2.5,
            "big": 0,
            "flag": 0,
            "place": {"city": None},
            "marks": ["1"],
            "raw": "a_b",
            "%": 1,
            "_": 2,
        },
    },
    "fay": {
        "content": "Fay keeps a note.",
        "importance": 0.75,
        "tags": ["50%"],
        "metadata": {
            "topic": None,
            "n": -3,
            "big": -(2**53) - 1,
            "flag": None,
            "place": {},
            "marks": [],
            "raw": "C:\\temp\\new",
            "back\\slash": 1,
        },
    },
    "gus": {
        "content": "Gus keeps a note.",
        "importance": 0.5,
        "source": {"app": "calendar", "lang": "nb"},
        "metadata": {
            "n": None,
            "big": 0.1,
            "place.city": "Oslo",
            "marks": {"0": "red"},
            "raw": "$.raw[*]",
            "$": 1,
            "[0]": 1,
        },
    },
    "hal": {
        "content": "Hal keeps a note.",
        "kind": "instruction",
        "confidence": 0.3,
        "tags": ["work,home"],
        "metadata": {
            "topic": "",
            "big": 0.30000000000000004,
            "raw": "naïve 東京 🚀",
            "*": 1,
            "a b') OR ('1'='1": 1,
        },
    },
}
"""Name -> the fields to add; nobody else's records and no other records of the user take part."""


@dataclass(frozen=True, slots=True)
class Row:
    """One filter and the names of the records it selects."""

    topic: str
    filter: dict[str, Any]
    expected: tuple[str, ...]


def _rows() -> Iterator[Row]:
    for topic, rows in _TABLE.items():
        for filter_, names in rows:
            yield Row(topic, filter_, _names(names))


def _names(text: str) -> tuple[str, ...]:
    """Read 'ada bob', or '-ada' for all but ada."""
    if text.startswith("-"):
        left_out = text[1:].split()
        return tuple(name for name in RECORDS if name not in left_out)
    return tuple(text.split())


_TABLE: dict[str, list[tuple[dict[str, Any], str]]] = {
    "text": [
        ({"kind": "fact"}, "ada cat"),
        ({"kind": {"eq": "Fact"}}, "eve"),
        ({"kind": {"in": ["fact", "event"]}}, "ada cat dan"),
        ({"kind": {"contains": "act"}}, "ada cat eve"),
        ({"content": "Ada keeps a note."}, "ada"),
        ({"content": {"contains": "Bob"}}, "bob"),
        ({"scope": "work"}, "bob"),
        ({"scope": {"contains": "work/"}}, "ada"),
        ({"scope": {"in": ["work", "home"]}}, "bob dan"),
        ({"external_id": "crm:1"}, "ada"),
        ({"external_id": {"contains": "crm:1"}}, "ada bob"),
        ({"metadata.topic": "billing"}, "ada"),
        ({"metadata.topic": {"eq": ""}}, "hal"),
        ({"metadata.topic": {"ne": ""}}, "-hal"),
        ({"metadata.topic": {"contains": "bill"}}, "ada cat dan eve"),
        ({"metadata.topic": {"gt": "bill"}}, "ada dan eve"),
        ({"metadata.topic": {"gte": "bill", "lt": "billing"}}, "cat eve"),
        ({"metadata.topic": {"lt": "b"}}, "bob hal"),
        ({"metadata.topic": {"lte": "bill"}}, "bob cat hal"),
        ({"metadata.topic": {"in": ["Billing", "bill", "nothing"]}}, "bob cat"),
        ({"metadata.topic": {"nin": ["billing", "bill"]}}, "bob dan eve fay gus hal"),
    ],
    "numbers": [
        ({"importance": 0.1}, "ada"),
        ({"importance": 1}, "cat"),
        ({"importance": 0}, "dan"),
        ({"importance": {"gte": 0.5}}, "bob cat fay gus"),
        ({"importance": {"gt": 0.1, "lt": 0.75}}, "bob gus"),
        ({"importance": {"lte": 0}}, "dan"),
        ({"importance": {"ne": 0.5}}, "-bob gus"),
        ({"confidence": 0.9}, "ada bob"),
        ({"confidence": {"lt": 0.9}}, "hal"),
        ({"metadata.n": 1}, "ada bob"),
        ({"metadata.n": 1.0}, "ada bob"),
        ({"metadata.n": {"gt": 1}}, "eve"),
        ({"metadata.n": {"gte": 1}}, "ada bob eve"),
        ({"metadata.n": {"lt": 1}}, "fay"),
        ({"metadata.n": {"lte": 1}}, "ada bob fay"),
        ({"metadata.n": {"gt": -3, "lte": 2.5}}, "ada bob eve"),
        ({"metadata.n": {"gte": -3, "lt": 1, "ne": 0}}, "fay"),
        ({"metadata.n": {"in": [1, -3]}}, "ada bob fay"),
        ({"metadata.n": {"nin": [1, 2.5]}}, "cat dan fay gus hal"),
        ({"metadata.n": {"lt": 2**62}}, "ada bob eve fay"),
        ({"metadata.big": 2**53 + 1}, "ada"),
        ({"metadata.big": {"gt": 2**53}}, "ada cat"),
        ({"metadata.big": {"lte": 2**53}}, "bob eve fay gus hal"),
        ({"metadata.big": {"lt": -(2**53)}}, "fay"),
        ({"metadata.big": {"in": [2**53, 2**53 + 2]}}, "bob cat"),
        ({"metadata.big": 0.1}, "gus"),
        ({"metadata.big": {"gt": 0.3, "lt": 1}}, "hal"),
        ({"metadata.big": -0.0}, "eve"),
    ],
    "types": [
        ({"metadata.n": "1"}, "cat"),
        ({"metadata.n": True}, "dan"),
        ({"metadata.n": {"ne": 1}}, "-ada bob"),
        ({"metadata.n": {"ne": "1"}}, "-cat"),
        ({"metadata.n": {"ne": True}}, "-dan"),
        ({"metadata.n": {"gt": "0"}}, "cat"),
        ({"metadata.n": {"in": [True, 2.5]}}, "dan eve"),
        ({"metadata.n": {"in": [1, "x"]}}, "ada bob"),
        ({"metadata.n": {"nin": ["1"]}}, "-cat"),
        ({"metadata.big": "9007199254740993"}, "dan"),
        ({"metadata.big": {"in": [False, 0.1]}}, "gus"),
        ({"metadata.flag": True}, "ada"),
        ({"metadata.flag": False}, "bob"),
        ({"metadata.flag": "true"}, "cat"),
        ({"metadata.flag": 1}, "dan"),
        ({"metadata.flag": 0}, "eve"),
        ({"metadata.flag": {"ne": True}}, "-ada"),
        ({"metadata.flag": {"ne": False}}, "-bob"),
        ({"metadata.flag": {"in": [True, False]}}, "ada bob"),
        ({"metadata.flag": {"nin": [0, False]}}, "-bob eve"),
        ({"metadata.flag": {"gte": 0}}, "dan eve"),
        ({"pinned": True}, "ada"),
        ({"pinned": False}, "bob"),
        ({"metadata.when": {"gte": "2026-02-01"}}, "bob"),
        ({"metadata.when": "2026-01-31"}, "ada"),
        ({"metadata.when": {"gt": 20260130}}, "cat"),
    ],
    "moments": [
        ({"valid_from": "2021-06-01T10:00:00Z"}, "bob"),
        ({"valid_from": {"eq": "2020-01-01T01:00:00+01:00"}}, "ada"),
        ({"valid_from": {"gt": "2021-06-01T10:00:00Z"}}, "cat"),
        ({"valid_from": {"gte": "2021-06-01T12:00:00+02:00"}}, "bob cat"),
        ({"valid_from": {"lt": "2021-06-01T10:00:00.000001Z"}}, "ada bob"),
        ({"valid_from": {"lte": "2021-06-01T10:00:00Z"}}, "ada bob"),
        ({"valid_from": {"ne": "2020-01-01T00:00:00Z"}}, "-ada"),
        ({"valid_from": {"in": ["2020-01-01T00:00:00Z", "1999-01-01T00:00:00Z"]}}, "ada"),
        ({"valid_from": {"nin": ["2020-01-01T00:00:00Z", "2021-06-01T10:00:00Z"]}}, "-ada bob"),
        ({"valid_to": {"gt": "2998-01-01T00:00:00Z"}}, "ada"),
        ({"valid_to": {"lt": "2998-06-01T00:00:00Z"}}, "dan"),
        ({"valid_to": {"exists": True}}, "ada dan"),
    ],
    "missing": [
        ({"kind": {"exists": False}}, "fay gus"),
        ({"kind": {"ne": "fact"}}, "-ada cat"),
        ({"importance": {"exists": False}}, "eve hal"),
        ({"importance": {"lt": 0.5}}, "ada dan"),
        ({"scope": {"exists": False}}, "eve fay gus hal"),
        ({"pinned": {"ne": True}}, "-ada"),
        ({"valid_from": {"exists": False}}, "dan eve fay gus hal"),
        ({"source.app": {"exists": False}}, "eve fay hal"),
        ({"tags": {"exists": False}}, "gus"),
        ({"metadata.n": {"exists": False}}, "gus hal"),
        ({"metadata.n": {"exists": True}}, "-gus hal"),
        ({"metadata.topic": {"exists": True}}, "-fay gus"),
        ({"metadata.flag": {"exists": True}}, "ada bob cat dan eve"),
        ({"metadata.flag": {"exists": False}}, "fay gus hal"),
        ({"metadata.marks": {"exists": True}}, "-hal"),
        ({"metadata.topic": {"nin": ["billing"]}}, "-ada"),
        ({"not": {"metadata.n": {"gte": 1}}}, "cat dan fay gus hal"),
    ],
    "tags": [
        ({"tags": {"contains": "urgent"}}, "ada"),
        ({"tags": {"contains": "Urgent"}}, "bob"),
        ({"tags": {"contains": "work"}}, "ada dan"),
        ({"tags": {"contains": "work,home"}}, "hal"),
        ({"tags": {"contains": 'say "hi"'}}, "eve"),
        ({"tags": {"contains": "50%"}}, "fay"),
        ({"not": {"tags": {"contains": "work"}}}, "-ada dan"),
        ({"and": [{"tags": {"contains": "work"}}, {"tags": {"contains": "home"}}]}, "dan"),
    ],
    "nested": [
        ({"metadata.place.city": "Oslo"}, "ada"),
        ({"metadata.place.city": {"in": ["Oslo", "oslo"]}}, "ada bob"),
        ({"metadata.place.city": {"exists": True}}, "ada bob"),
        ({"metadata.place.city": {"exists": False}}, "-ada bob"),
        ({"metadata.place.city": {"ne": "Oslo"}}, "-ada"),
        ({"metadata.place.zip": {"gte": 100}}, "ada"),
        ({"metadata.place": "Oslo"}, "cat"),
        ({"metadata.place": {"exists": True}}, "ada bob cat dan eve fay"),
        ({"metadata.marks": "red"}, "bob"),
        ({"metadata.marks": {"contains": "red"}}, "ada bob"),
        ({"metadata.marks": {"contains": 1}}, "dan"),
        ({"metadata.marks": {"contains": "1"}}, "eve"),
        ({"or": [{"metadata.marks": {"contains": True}}, {"metadata.marks": "red"}]}, "bob"),
        ({"metadata.marks.0": "red"}, "gus"),
        ({"metadata.marks.0": {"exists": True}}, "gus"),
        ({"not": {"metadata.marks": {"contains": "red"}}}, "-ada bob"),
    ],
    "source": [
        ({"source.app": "mail"}, "ada dan"),
        ({"source.app": {"ne": "mail"}}, "-ada dan"),
        ({"source.app": {"contains": "mail"}}, "ada cat dan"),
        ({"source.app": {"in": ["Mail", "calendar"]}}, "bob gus"),
        ({"source.type": "imported"}, "eve"),
        ({"source.ref": {"exists": True}}, "dan"),
        ({"source.lang": "nb"}, "gus"),
    ],
    "extensions": [
        ({"x-team": "core"}, "bob"),
        ({"x-team": {"exists": True}}, "ada bob"),
        ({"x-team": {"ne": "core"}}, "-bob"),
        ({"x-spot.row": 3.0}, "dan"),
        ({"x-spot.row": {"gt": 2}}, "dan"),
        ({"x-spot.row": {"exists": False}}, "-dan"),
    ],
    "values": [
        ({"metadata.raw": "O'Brien"}, "ada"),
        ({"metadata.raw": "'; DROP TABLE memories; --"}, "bob"),
        ({"metadata.raw": 'say "hi"'}, "cat"),
        ({"metadata.raw": "100%"}, "dan"),
        ({"metadata.raw": "a_b"}, "eve"),
        ({"metadata.raw": "C:\\temp\\new"}, "fay"),
        ({"metadata.raw": "$.raw[*]"}, "gus"),
        ({"metadata.raw": "naïve 東京 🚀"}, "hal"),
        ({"metadata.topic": "bill_ng"}, "eve"),
        ({"metadata.topic": "billing%"}, "dan"),
        ({"metadata.topic": {"in": ["bill_ng", "b%"]}}, "eve"),
        ({"metadata.topic": {"nin": ["bill_ng", "b%"]}}, "-eve"),
        ({"metadata.raw": {"contains": "'"}}, "ada bob"),
        ({"metadata.raw": {"contains": '"'}}, "cat"),
        ({"metadata.raw": {"contains": "%"}}, "dan"),
        ({"metadata.raw": {"contains": "_"}}, "eve"),
        ({"metadata.raw": {"contains": "\\"}}, "fay"),
        ({"metadata.raw": {"contains": "[*]"}}, "gus"),
        ({"metadata.raw": {"contains": "東京"}}, "hal"),
        ({"metadata.raw": {"contains": "🚀"}}, "hal"),
        ({"metadata.raw": {"in": ["x' OR '1'='1", "100%"]}}, "dan"),
        ({"metadata.raw": {"nin": ["100%", "a_b"]}}, "-dan eve"),
        ({"or": [{"metadata.raw": "nai\u0308ve 東京 🚀"}, {"metadata.raw": "a_b"}]}, "eve"),
        ({"metadata.topic": {"contains": "%"}}, "dan"),
        ({"metadata.topic": {"contains": "l_n"}}, "eve"),
        ({"metadata.topic": {"contains": "ll"}}, "-fay gus hal"),
    ],
    "keys": [
        ({"metadata.my key": 1}, "ada"),
        ({'metadata.q"uote': 1}, "bob"),
        ({"metadata.it's": 1}, "cat"),
        ({"metadata.größe": 1}, "dan"),
        ({"metadata.%": 1}, "eve"),
        ({"metadata._": 2}, "eve"),
        ({"metadata.back\\slash": 1}, "fay"),
        ({"metadata.$": 1}, "gus"),
        ({"metadata.[0]": 1}, "gus"),
        ({"metadata.*": 1}, "hal"),
        ({"metadata.a b') OR ('1'='1": 1}, "hal"),
        ({"metadata.a b') OR ('1'='1": {"exists": False}}, "-hal"),
        ({"or": [{"metadata.MY KEY": 1}, {"metadata.größe": 1}]}, "dan"),
    ],
    "combinations": [
        ({"kind": "fact", "importance": {"gte": 0.5}}, "cat"),
        ({"or": [{"kind": "fact"}, {"importance": {"gte": 0.75}}]}, "ada cat fay"),
        ({"and": [{"kind": "fact"}, {"not": {"metadata.n": 1}}]}, "cat"),
        ({"not": {"kind": "fact", "importance": 0.1}}, "-ada"),
        ({"not": {"kind": {"ne": "fact"}}}, "ada cat"),
        ({"not": {"not": {"kind": "fact"}}}, "ada cat"),
        ({"not": {"or": [{"kind": "fact"}, {"kind": "Fact"}, {"kind": {"exists": False}}]}}, "bob dan hal"),
        ({"kind": "fact", "or": [{"importance": 1}, {"importance": 0.1, "metadata.topic": "no"}]}, "cat"),
        ({"kind": {"ne": "fact", "exists": True}}, "bob dan eve hal"),
        ({"or": [{"metadata.topic": {"exists": False}}, {"metadata.topic": ""}]}, "fay gus hal"),
        ({"or": [{"and": [{"metadata.n": {"gte": 1}}, {"metadata.n": {"lt": 2}}]}, {"kind": "Fact"}]}, "ada bob eve"),
        (
            {"and": [{"or": [{"kind": "fact"}, {"kind": "event"}]}, {"or": [{"scope": "home"}, {"scope": "work"}]}]},
            "dan",
        ),
    ],
    "empty lists": [
        ({"kind": "fact", "metadata.n": {"nin": []}}, "ada cat"),
        ({"or": [{"kind": {"in": []}}, {"kind": "event"}]}, "dan"),
        ({"not": {"or": [{"kind": {"in": []}}, {"kind": "fact"}]}}, "-ada cat"),
        ({"kind": {"exists": False}, "confidence": {"nin": []}}, "fay gus"),
        ({"or": [{"not": {"importance": {"nin": []}}}, {"importance": {"in": [0.5]}}]}, "bob gus"),
        ({"and": [{"source.app": {"nin": []}}, {"source.app": "mail"}]}, "ada dan"),
        ({"or": [{"valid_to": {"in": []}}, {"valid_to": {"exists": True}}]}, "ada dan"),
    ],
}

ROWS: tuple[Row, ...] = tuple(_rows())

_FEATURES = {
    "metadata": "supports_metadata",
    "x-team": "supports_metadata",
    "x-spot": "supports_metadata",
    "scope": "scopes",
    "external_id": "supports_external_id",
    "pinned": "supports_archive",
    "archived": "supports_archive",
    "session": "supports_sessions",
    "valid_from": "temporal",
    "valid_to": "temporal",
}
"""Field -> the feature that a provider must declare for it."""


def needs(fields: Mapping[str, Any]) -> set[str]:
    """Name the features without which a record's fields, or the fields of a filter, mean nothing."""
    found: set[str] = set()
    for name, value in fields.items():
        if name == "not":
            found |= needs(value)
        elif name in ("and", "or"):
            for part in value:
                found |= needs(part)
        elif (feature := _FEATURES.get(name.split(".")[0])) is not None:
            found.add(feature)
    return found


def supported(fields: Mapping[str, Any], features: set[str]) -> dict[str, Any]:
    """Leave out the fields of a record that need a feature which is not among these."""
    return {name: value for name, value in fields.items() if needs({name: value}) <= features}
