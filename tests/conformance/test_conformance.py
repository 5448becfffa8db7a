"""The suite judged itself: clauses and checks fit, it is not vacuous, liars are caught, reports and exit codes hold."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock
from xml.etree import ElementTree as ET

import pytest
from pydantic import SecretStr

from openmem import Adapter, CapabilityFeatures, Memory, NotFoundError, OMPError, ProviderUnavailableError, ScoreKinds
from openmem._generated.clauses import CLAUSES as TEXTS
from openmem._generated.models import CapabilityLimits
from openmem.adapters.memory import MemoryAdapter, MemorySettings
from openmem.conformance import (
    CHECKS,
    LEVELS,
    Check,
    Failure,
    Harness,
    Header,
    Inconclusive,
    Report,
    check,
    judge,
    matrix,
    run,
    runner,
)
from openmem.conformance.backend import Backend
from openmem.conformance.probes import PROBES, UNASKED
from openmem.embedding.testing import WordEmbedder
from saboteurs import base as bent
from saboteurs import concurrency

SEMANTICS = (Path(__file__).parents[2] / "spec" / "semantics.md").read_text("utf-8")
CLAUSES = re.findall(r"^- \*\*([A-Z]{3,4}-\d+)\*\*", SEMANTICS, re.MULTILINE)
BARE = re.findall(r"^- \*\*([A-Z]{3,4}-\d+)\*\* (?!\[)", SEMANTICS, re.MULTILINE)
"""Clauses that name no verb and no feature in brackets."""
GROUPS = re.findall(r"^## ([A-Z]{3,4}): (.*)$", SEMANTICS, re.MULTILINE)
GOOD = {"pass", "verified-unsupported"}


def conform(target: Any, *only: str, **options: Any) -> Report:
    return asyncio.run(run(target, only=only, **options))


def outcomes(report: Report) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for result in report.results:
        found.setdefault(result.check, set()).add(result.outcome)
    return found


# --- clauses and checks -----------------------------------------------------------------------------------------


def test_every_clause_has_a_check_and_every_check_a_clause() -> None:
    cited = {check.clause for check in CHECKS}
    assert set(CLAUSES) - cited == set(), "clauses without a check"
    assert cited - set(CLAUSES) == set(), "checks without a clause"
    assert len(CLAUSES) == len(set(CLAUSES))


def test_checks_are_many_and_their_ids_are_unique_and_tell_the_clause() -> None:
    assert len(CHECKS) >= 80
    assert len({check.id for check in CHECKS}) == len(CHECKS)
    assert all(re.fullmatch(rf"{check.clause}\.[a-z0-9-]+", check.id) for check in CHECKS)
    assert len({(check.clause, check.title) for check in CHECKS}) == len(CHECKS)


def test_checks_are_in_the_order_of_the_groups() -> None:
    groups = list(dict.fromkeys(check.group for check in CHECKS))
    assert groups == [group for group, _ in GROUPS]


def test_every_need_of_a_check_can_be_probed() -> None:
    assert {need for check in CHECKS for need in check.requires} <= PROBES.keys() | UNASKED


def test_the_text_of_every_clause_is_at_hand() -> None:
    assert list(TEXTS) == CLAUSES
    assert all(" ".join(text.split()) in " ".join(SEMANTICS.split()) for text in TEXTS.values())


def test_core_is_what_the_spec_marks_as_core() -> None:
    core = {group for group, title in GROUPS if "(core)" in title} | {"SYN"}
    assert LEVELS["core"] == {clause for clause in BARE if clause.split("-")[0] in core} | {"CON-7"}


def test_each_level_takes_in_the_one_below_and_the_last_all() -> None:
    assert LEVELS["core"] < LEVELS["standard"] < LEVELS["full"] == set(CLAUSES)


def test_no_clause_of_core_can_be_declined() -> None:
    needless = {check.clause for check in CHECKS if not check.requires}
    assert needless == LEVELS["core"]


def test_two_checks_of_one_id_are_refused() -> None:
    async def lists_own_records_only(h: Harness) -> None: ...

    with pytest.raises(ValueError, match=r"OWN-2\.lists-own-records-only"):
        check("OWN-2", "again")(lists_own_records_only)


# --- the backends in this process conform ------------------------------------------------------------------------


@pytest.mark.parametrize("embedder", ["test", "none"])
@pytest.mark.parametrize("scheme", ["memory", "sqlite"])
def test_embedded_backends_conform(scheme: str, embedder: str, tmp_path: Path) -> None:
    url = "memory://" if scheme == "memory" else f"sqlite:///{tmp_path / 'conformance.db'}?synchronous=normal"
    report = conform(url, options={"embedder": embedder})
    assert report.exit_code == 0, report.summary()
    assert report.level == ("full" if (scheme, embedder) == ("sqlite", "test") else "standard")
    assert set(report.counts) >= GOOD
    colours = Counter(result.colour for result in report.results)
    assert colours == {"async": len(CHECKS), "sync": len(CHECKS)}
    lacking = {"vector_search", "hybrid_search", "supports_vectors"} if embedder == "none" else set()
    lacking |= {"durable"} if scheme == "memory" else set()
    told = {r.message.removeprefix("without ") for r in report.results if r.outcome != "pass"}
    assert {need for message in told for need in message.split(", ")} == lacking


# --- not vacuous ------------------------------------------------------------------------------------------------

WITHOUT_RECORDS = {"CON-2", "CON-3", "CON-8", "SEA-10", "BAT-1", "BAT-2", "AUD-1", "AUD-3"}
WITHOUT_RECORDS |= {"HEA-1", "CAP-1", "CAP-3", "CAP-4", "ERR-1", "ERR-3", "ERR-4"}
"""Clauses of which a check can pass where nothing is stored: refusals, capabilities, and a log of what was done."""


class DropsWrites(bent.MemoryAdapter):
    def apply_add(self, request: Any, store: Any) -> Any:
        memory = super().apply_add(request, store)
        store.remove(memory)
        return memory


class SeesNothing(MemoryAdapter):
    stats, scopes = Adapter.stats, Adapter.scopes

    async def list(self, request: Any) -> Any:
        return (await super().list(request)).model_copy(update={"items": [], "next_cursor": None})

    async def search(self, request: Any) -> Any:
        return (await super().search(request)).model_copy(update={"results": []})


def test_a_backend_that_drops_writes_is_never_passed_over() -> None:
    report = conform(DropsWrites)
    assert report.exit_code == 1
    assert {r.clause for r in report.results if r.outcome == "pass"} <= WITHOUT_RECORDS
    assert sum("a seed does not read back" in r.message for r in report.results if r.outcome == "inconclusive") > 100
    assert report.level == "none"


def test_a_backend_whose_reads_are_empty_passes_no_check_of_reads() -> None:
    report = conform(SeesNothing, "OWN-2", "OWN-4", "SCO", "LST", "SEA", "FIL", "REL", "STA", "DEL")
    passed = {r.check for r in report.results if r.outcome == "pass"}
    assert passed == {"SCO-4.bad-paths-are-not-updated-to", "SEA-10.nothing-is-refused", "REL-1.related-to-nothing"}


def harness(adapter: type[Adapter] = MemoryAdapter) -> Harness:
    backend = Backend(adapter, "async", {}, seed=1)
    asyncio.run(backend.open())
    return backend.harness("a test")


@pytest.mark.parametrize(
    ("actual", "expected", "flags", "error"),
    [
        ("ab", "", {}, Inconclusive),
        ("ab", "abc", {}, Inconclusive),
        ("abc", "abc", {}, Inconclusive),
        ("abc", "abc", {"all_expected": True}, None),
        ("ab", "abc", {"all_expected": True}, Failure),
        ("", "", {"none_expected": True}, None),
        ("a", "", {"none_expected": True}, Failure),
        ("ba", "ab", {}, None),
        ("ba", "ab", {"ordered": True}, Failure),
        ("abb", "ab", {}, Failure),
        ("a", "ab", {}, Failure),
        ("abz", "ab", {}, Failure),
    ],
)
def test_expectations_are_neither_empty_nor_everything(
    actual: str, expected: str, flags: dict[str, bool], error: type[Exception] | None
) -> None:
    h = harness()
    if error is None:
        h.expect(actual, expected, among="abc", what="it", **flags)
        return
    with pytest.raises(error, match=r"^it: "):
        h.expect(actual, expected, among="abc", what="it", **flags)


def test_a_refusal_must_be_of_the_right_kind_and_signed() -> None:
    async def fails(error: Exception | None) -> None:
        if error is not None:
            raise error

    h = harness()
    with pytest.raises(Failure, match="answered None where NotFoundError is due"):
        asyncio.run(h.refused(fails(None), NotFoundError))
    with pytest.raises(Failure, match="raised OMPError, not NotFoundError"):
        asyncio.run(h.refused(fails(OMPError("x")), NotFoundError))
    with pytest.raises(Failure, match="lacks"):
        asyncio.run(h.refused(fails(NotFoundError("x")), NotFoundError))
    signed = NotFoundError("x", provider="memory", request_id="1")
    assert asyncio.run(h.refused(fails(signed), NotFoundError)) is signed


# --- what a provider may be without being wrong -----------------------------------------------------------------


class Numbered(MemoryAdapter):
    """Ids are numbers, and everything is small."""

    numbers = count(10**6)

    def new_id(self) -> str:
        return str(next(self.numbers))

    def features(self) -> Any:
        return super().features().model_copy(update={"max_content_length": 2000})

    async def capabilities(self, request: Any) -> Any:
        native = await super().capabilities(request)
        small = {"max_batch_size": 10, "max_search_results": 20, "max_list_results": 100}
        limits = (native.limits or CapabilityLimits()).model_copy(update=small)
        return native.model_copy(update={"limits": limits})


def test_declared_limits_and_ids_of_digits_are_no_fault() -> None:
    report = conform(Numbered)
    assert (report.exit_code, report.level, report.left) == (0, "standard", []), report.summary()


def test_a_seed_passes_again_beside_its_own_log(tmp_path: Path) -> None:
    for _ in range(2):
        report = conform(f"sqlite:///{tmp_path / 's.db'}?synchronous=normal", "AUD", seed=5)
        assert report.exit_code == 0, report.summary()


def test_a_store_of_another_embedder_could_not_be_run(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    with Memory(url, embedder=WordEmbedder(dimension=8)) as memory:
        memory.add("Drinks tea", "alice")
    report = conform(url, "LST")
    assert (report.exit_code, report.results) == (2, [])
    assert "test-words" in report.could_not_run


# --- the truth in both directions -------------------------------------------------------------------------------

FEATURES = [name for name in PROBES if name in CapabilityFeatures.model_fields]


def undeclaring(need: str) -> type[MemoryAdapter]:
    class UnderClaims(MemoryAdapter):
        def features(self) -> Any:
            features = super().features()
            return features.model_copy(update={need: None}) if need in FEATURES else features

        async def capabilities(self, request: Any) -> Any:
            native = await super().capabilities(request)
            return native.model_copy(update={"verbs": [verb for verb in native.verbs if verb != need]})

    return UnderClaims


SUPPLIED = {"supports_chain_delete"}
"""Features that the SDK supplies over others, where a provider has those."""


@pytest.mark.parametrize("need", [*(name for name in FEATURES if name not in SUPPLIED), "update", "history", "audit"])
def test_an_adapter_that_claims_too_little_is_caught(need: str) -> None:
    report = conform(undeclaring(need), *(check.id for check in CHECKS if need in check.requires))
    assert report.exit_code == 1
    known = f"({need}|{need.removeprefix('supports_')})"  # the feature, or the verb that needs it
    said = re.compile(f"{known} (works, though it is not declared|is not declared, yet the client let it through)")
    told = [r for r in report.results if r.outcome == "fail" and said.match(r.message)]
    assert {r.colour for r in told} == {"async", "sync"}, report.summary()


class Plain(MemoryAdapter):
    """Five verbs, keyword search, and nothing else: what it does not know of a request it does not see."""

    update = Adapter.update
    history = Adapter.history
    audit = Adapter.audit
    add_many = Adapter.add_many
    delete_many = Adapter.delete_many
    unknown = ("scope", "filter", "include", "as_of", "since", "until", "supersedes", "external_id", "if_version")
    unknown += ("session",)

    def features(self) -> Any:
        return CapabilityFeatures(keyword_search=True, scores=ScoreKinds(keyword="relative"))

    async def handle(self, request: Any) -> Any:
        dropped = {**dict.fromkeys(self.unknown), "archived": None, "pinned": None, "metadata": None, "vector": None}
        given = {name: value for name, value in dropped.items() if name in type(request).model_fields}
        for name, usual in (("mode", "keyword"), ("order", "newest"), ("include_vectors", False), ("chain", False)):
            if hasattr(request, name):
                given[name] = usual
        return await super().handle(request.model_copy(update=given))


def test_a_plain_honest_adapter_conforms() -> None:
    report = conform(Plain, options={"embedder": "none"})
    assert report.exit_code == 0, report.summary()
    assert report.level == "core", "what is declined is not proven"
    assert report.counts["verified-unsupported"] > 100
    found = outcomes(report)
    assert found["UPD-1.absent-fields-stay"] == {"verified-unsupported"}
    assert all(found[check.id] == {"pass"} for check in CHECKS if check.group in ("OWN", "DEL") and not check.requires)


NEVER_MORE = {*SUPPLIED, "keyword_search", "supports_audit"}


@pytest.mark.parametrize("claim", [name for name in FEATURES if name not in NEVER_MORE])
def test_an_adapter_that_claims_too_much_is_caught(claim: str) -> None:
    class OverClaims(Plain):
        def features(self) -> Any:
            value = "native" if claim in ("scopes", "filters") else True
            return super().features().model_copy(update={claim: value})

    needing = (check.id for check in CHECKS if claim in check.requires)
    report = conform(OverClaims, "CON-6", "CAP-4", *needing, options={"embedder": "none"})
    assert report.exit_code == 1
    assert {r.colour for r in report.results if r.outcome == "fail"} == {"async", "sync"}, report.summary()


class ClaimsToLast(MemoryAdapter):
    durable = True


class LastsAndDoesNotSay(concurrency.Durable):
    durable = False


def test_durability_is_held_to_the_truth_in_both_directions() -> None:
    report = conform(ClaimsToLast, "DUR")
    assert not report.counts["pass"], report.summary()
    assert {r.outcome for r in report.results} == {"fail"}, report.summary()
    report = conform(LastsAndDoesNotSay, "DUR")
    assert {r.message for r in report.results} == {"durable works, though it is not declared"}
    report = conform(concurrency.Durable)
    assert (report.exit_code, report.level) == (0, "full"), report.summary()
    assert report.counts["verified-unsupported"] == 0


class ScoresOfItsOwn(MemoryAdapter):
    def scores(self) -> ScoreKinds:
        return super().scores().model_copy(update={"keyword": "bm25"})


class OtherScores(ScoresOfItsOwn):
    async def search(self, request: Any) -> Any:
        found = await super().search(request)
        results = [each.model_copy(update={"score": each.score**2}) for each in found.results]
        return found.model_copy(update={"results": results})


def test_keyword_scores_of_another_kind_are_declined_and_not_proven() -> None:
    report = conform(OtherScores, "SEA-14", "SEA-4", options={"embedder": "none"})
    assert report.exit_code == 0, report.summary()
    told = {r.message for r in report.results if r.clause == "SEA-14"}
    assert told == {"without relative_keyword_scores"}
    assert report.reaches[-1].clauses["declined"] == ["SEA-14"]
    assert report.as_json()["undeclared"] == ["relative_keyword_scores"]
    assert "\n  not declared: relative_keyword_scores" in report.summary()


def test_keyword_scores_are_held_to_what_is_declared_in_both_directions() -> None:
    class ClaimsThem(OtherScores):
        def scores(self) -> ScoreKinds:
            return MemoryAdapter.scores(self)

    assert {r.outcome for r in conform(ClaimsThem, "SEA-14").results} == {"fail"}
    messages = {r.message for r in conform(ScoresOfItsOwn, "SEA-14").results}
    assert messages == {"relative_keyword_scores works, though it is not declared"}


def test_calls_that_let_others_in_conform() -> None:
    report = conform(concurrency.Slow, "CONC")
    assert report.exit_code == 0, report.summary()


@pytest.mark.parametrize("verb", ["update", "history", "audit", "remember"])
def test_a_verb_that_is_declared_and_missing_is_caught(verb: str) -> None:
    class Declares(Plain):
        async def capabilities(self, request: Any) -> Any:
            native = await super().capabilities(request)
            return native.model_copy(update={"verbs": [*native.verbs, verb]})

    report = conform(Declares, "CAP-2", options={"embedder": "none"})
    assert outcomes(report)["CAP-2.declared-verbs-answer"] == {"fail"}


def test_a_guard_that_asks_the_backend_first_is_caught() -> None:
    with mock.patch("openmem.protocol.admission.Admission.admit", lambda self, request: None):
        report = conform(Plain, "UPD-1", "CAP-3", options={"embedder": "none"})
    assert outcomes(report)["CAP-3.undeclared-is-refused"] == {"fail"}
    messages = {r.message for r in report.results if r.clause == "UPD-1" and r.outcome == "fail"}
    assert "update is refused only after the backend was asked" in messages


# --- outcomes ---------------------------------------------------------------------------------------------------


def attempt(work: Any) -> judge.Verdict:
    async def tried() -> judge.Verdict:
        backend = Backend(MemoryAdapter, "async", {}, seed=1)
        await backend.open()
        return await judge.attempt(Check("X-1.x", "X-1", "x", (), work), backend.harness("a test"))

    return asyncio.run(tried())


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Failure("no"), "fail"),
        (NotFoundError("no"), "fail"),
        (Inconclusive("who knows"), "inconclusive"),
        (ProviderUnavailableError("down"), "error"),
        (ZeroDivisionError("in the check"), "error"),
        (AssertionError("in the check"), "error"),
    ],
)
def test_a_failure_is_kept_apart_from_an_error(error: Exception, outcome: str) -> None:
    async def work(h: Harness) -> None:
        raise error

    assert attempt(work).outcome == outcome


def test_a_check_that_hangs_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "SECONDS", 0.01)
    assert attempt(lambda h: asyncio.sleep(5)) == judge.Verdict("error", "no end after 0.01 s")


# --- deviations -------------------------------------------------------------------------------------------------

KNOWN = "LST-2.nothing-caps-a-list"


class Capped(MemoryAdapter):
    stats = Adapter.stats

    async def list(self, request: Any) -> Any:
        page = await super().list(request.model_copy(update={"limit": min(request.limit, 20)}))
        return page.model_copy(update={"next_cursor": None}) if request.limit > 20 else page


def test_a_listed_deviation_is_told_with_its_reason_and_ends_the_level() -> None:
    also = ("BAT-1.adds-in-order", "BAT-1.large-batch", "BAT-2.bad-items-fail-alone", "STA-1.counts-follow-changes")
    report = conform(Capped, deviations=dict.fromkeys((KNOWN, *also), "it lists 20"))
    assert outcomes(report)[KNOWN] == {"deviation"}, report.summary()
    assert report.exit_code == 0, report.summary()
    assert all(r.message.startswith("it lists 20 (") for r in report.results if r.check == KNOWN)
    assert report.level == "none", "a deviation of a core check"


def test_a_listed_deviation_that_passes_is_a_failure() -> None:
    report = conform(MemoryAdapter, "LST-2", deviations={KNOWN: "it lists 20"})
    assert report.exit_code == 1
    assert {r.message for r in report.results if r.check == KNOWN} == {
        "a listed deviation passes now: take it off the list"
    }


@pytest.mark.parametrize("clause", ["OWN-2", "CON-1", "IDN-2", "DEL-1"])
def test_isolation_fidelity_identity_and_deletion_cannot_be_waived(clause: str) -> None:
    waived = next(check.id for check in CHECKS if check.clause == clause)
    report = conform("memory://", deviations={waived: "we would rather not"})
    assert (report.exit_code, report.results) == (2, [])
    assert "cannot be waived" in report.could_not_run


def test_a_deviation_of_no_check_is_refused() -> None:
    report = conform("memory://", deviations={"LST-2.gone": "once"})
    assert report.exit_code == 2
    assert "LST-2.gone, which is no check" in report.could_not_run


def test_deviations_are_read_from_the_file_of_the_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deviations").mkdir()
    (tmp_path / "deviations" / "memory.toml").write_text(f'"{KNOWN}" = "it lists 20"\n')
    monkeypatch.setattr(runner, "files", lambda package: tmp_path)
    assert outcomes(conform(Capped, "LST-2"))[KNOWN] == {"deviation"}


def test_the_files_of_deviations_name_checks() -> None:
    folder = Path(runner.__file__).parent / "deviations"
    for file in folder.glob("*.toml"):
        runner.deviations_of(file.stem, None)


# --- reports and exit codes -------------------------------------------------------------------------------------


class CannotOpen(MemoryAdapter):
    async def open(self) -> None:
        raise OSError("no such host")


class CannotBeMade(MemoryAdapter):
    def __init__(self, **options: Any) -> None:
        raise RuntimeError("no licence")


@pytest.mark.parametrize(
    ("target", "options", "said"),
    [
        ("nowhere://", {}, "no adapter for 'nowhere'"),
        ("memory://", {"only": ("LST-99",)}, "no check is called LST-99"),
        ("memory://", {"options": {"embeder": "none"}}, "embeder"),
        ("memory://", {"options": {"embedder": "tset"}}, "tset"),
        (CannotOpen, {}, "OSError"),
        (CannotBeMade, {}, "no licence"),
    ],
)
def test_what_cannot_run_is_neither_a_pass_nor_a_failure(target: Any, options: Any, said: str, tmp_path: Path) -> None:
    report = asyncio.run(run(target, **options))
    assert report.exit_code == 2
    assert said in report.summary()
    report.write(tmp_path)
    assert json.loads((tmp_path / "report.json").read_text())["complete"] is False
    assert ET.parse(tmp_path / "junit.xml").getroot().attrib["errors"] == "1"
    assert "could not run" in (tmp_path / "matrix.md").read_text()


def test_a_report_without_its_end_is_no_proof() -> None:
    report = conform("memory://", "LST-8")
    assert report.exit_code == 0
    report.complete = False
    assert (report.exit_code, report.level) == (2, "none")
    assert Report("memory://", Header(1), complete=True).exit_code == 2


def test_some_checks_only_reach_no_level() -> None:
    report = conform("memory://", "LST-8", "DEL")
    assert {result.clause for result in report.results} == {"LST-8", *(f"DEL-{number}" for number in range(1, 6))}
    assert (report.exit_code, report.level) == (0, "none")
    assert "only LST-8, DEL" in report.summary()
    assert {reach.level: len(reach.clauses["not run"]) for reach in report.reaches}["core"] == len(LEVELS["core"]) - 4


def test_a_level_that_is_run_whole_is_reached() -> None:
    report = conform("memory://", "core", "LST-8")
    assert {result.clause for result in report.results} == LEVELS["core"]
    assert (report.exit_code, report.level) == (0, "core")


def test_a_report_is_written_whole(tmp_path: Path) -> None:
    report = conform(Capped, "LST", deviations={KNOWN: "it lists 20"}, options={"embedder": "none"})
    report.results[0] = type(report.results[0])(**{**vars(report.results[0]), "message": "odd \x00 \ud800 | <&> é"})
    report.write(tmp_path / "out")
    document = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert (document["complete"], document["exit_code"], document["provider"]) == (True, report.exit_code, "memory")
    assert document["counts"] == dict(report.counts)
    assert [r["check"] for r in document["results"]] == [r.check for r in report.results]
    assert document["results"][0]["message"] == "odd \x00 \ud800 | <&> é"
    assert document["capabilities"]["provider"] == "memory"
    suite = ET.parse(tmp_path / "out" / "junit.xml").getroot()
    assert suite.attrib["tests"] == str(len(report.results)) == str(len(suite.findall("testcase")))
    assert suite.attrib["failures"] == str(len(suite.findall("testcase/failure"))) == str(report.counts["fail"])
    skipped = report.counts["deviation"] + report.counts["verified-unsupported"]
    assert suite.attrib["skipped"] == str(len(suite.findall("testcase/skipped"))) == str(skipped)


def test_the_matrix_has_a_column_for_each_backend() -> None:
    good, bad = conform("memory://", "LST-2"), conform(Capped, "LST-2")
    text = matrix([good, bad])
    table = text.partition("| clause |")[2].splitlines()[2:]
    assert len(table) == len({result.check for result in good.results})
    assert "| LST-2 | nothing-caps-a-list | ✓ | ✗ |" in table
    assert all(line.count("|") == 5 for line in table)


class ChattySettings(MemorySettings):
    api_key: SecretStr | None = None
    llm_api_key: SecretStr | None = None
    replica_url: SecretStr | None = None


class Chatty(MemoryAdapter):
    """Fails as drivers do, quoting all they were given."""

    settings_type = ChattySettings
    fails_at = ""

    @classmethod
    def options_from_url(cls, url: Any) -> dict[str, Any]:
        return {}

    def tell(self, place: str) -> None:
        if place == self.fails_at:
            raise OSError("no answer from chatty://me:hunt%40r2@host?api_key=s3cr3t as me:hunt@r2 with 0p+n")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.tell("making")

    async def open(self) -> None:
        self.tell("opening")

    async def search(self, request: Any) -> Any:
        self.tell("searching")
        return await super().search(request)


@pytest.mark.parametrize(("fails_at", "code"), [("", 0), ("making", 2), ("opening", 2), ("searching", 1)])
@pytest.mark.parametrize(
    ("url", "options", "secret"),
    [
        ("chatty://me:hunt%40r2@host", {}, "hunt"),
        ("chatty://host?api_key=s3cr3t", {}, "s3cr3t"),
        ("chatty://host?api_key=0p%2Bn", {}, "0p+n"),
        ("chatty://host", {"api_key": "s3cr3t"}, "s3cr3t"),
    ],
)
def test_secrets_are_not_reported(
    url: str,
    options: dict[str, str],
    secret: str,
    fails_at: str,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("openmem.config.adapter_class", lambda scheme: Chatty)
    monkeypatch.setattr(Chatty, "fails_at", fails_at)
    report = conform(url, "SEA-8", options=options)
    assert report.exit_code == code, report.summary()
    report.write(tmp_path)
    written = "".join(file.read_text() for file in tmp_path.iterdir())
    assert secret not in report.summary() + written
    assert ("***" in report.summary()) == (fails_at != "" or "***" in report.target)


@pytest.mark.parametrize("place", ["variable", "profile", "password in an option"])
def test_secrets_that_no_argument_names_are_not_reported(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openmem.config.adapter_class", lambda scheme: Chatty)
    monkeypatch.setattr(Chatty, "fails_at", "searching")
    target, options = "chatty://host", {}
    if place == "variable":
        monkeypatch.setenv("OPENMEM_API_KEY", "s3cr3t")
    elif place == "profile":
        (tmp_path / "openmem.toml").write_text('[profiles.mine]\nllm_api_key = "s3cr3t"\n')
        monkeypatch.chdir(tmp_path)
        options = {"profile": "mine"}
    else:
        options = {"replica_url": "chatty://me:s3cr3t@other"}
    report = conform(target, "SEA-8", options=options)
    assert report.exit_code == 1, report.summary()
    assert "***" in report.summary()
    assert "s3cr3t" not in report.summary() + json.dumps(report.as_json())


def test_a_url_that_cannot_be_read_is_not_quoted() -> None:
    report = conform("memory://me:hunter2@[host?token=hunter2", "LST-8")
    assert report.exit_code == 2
    assert "hunter2" not in report.summary()


def test_a_report_of_a_whole_run_names_every_check(tmp_path: Path) -> None:
    report = conform("memory://")
    report.write(tmp_path)
    document = json.loads((tmp_path / "report.json").read_text("utf-8"))
    ids = {check.id for check in CHECKS}
    assert (document["complete"], document["exit_code"]) == (True, 0)
    assert {(r["check"], r["colour"]) for r in document["results"]} == {(i, c) for i in ids for c in ("async", "sync")}
    cases = ET.parse(tmp_path / "junit.xml").getroot().findall("testcase")
    assert Counter(case.attrib["name"] for case in cases) == dict.fromkeys(ids, 2)
    rows = (tmp_path / "matrix.md").read_text("utf-8").partition("| clause |")[2].splitlines()[2:]
    marks = ["–" if "durable" in check.requires else "✓" for check in CHECKS]
    names = [f"| {check.clause} | {check.id.partition('.')[2]} |" for check in CHECKS]
    assert rows == [f"{name} {mark} |" for name, mark in zip(names, marks, strict=True)]
