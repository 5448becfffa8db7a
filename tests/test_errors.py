"""Errors as Python has them: what else they are, and that they are copied whole."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import pytest

import openmem
from openmem import ConfigurationError, InvalidRequestError, Memory, NotFoundError, OMPError
from openmem._generated.verbs import VERBS
from openmem.protocol.envelopes import decode_response, encode_error

ERRORS = [getattr(openmem, name) for name in openmem.__all__ if name.endswith("Error")]


def test_what_is_not_there_is_a_lookup_error_and_what_is_no_request_a_value_error() -> None:
    with Memory("memory://", embedder="none") as memory:
        with pytest.raises(LookupError) as lost:
            memory.get("nobody")
        with pytest.raises(ValueError, match="limit") as bad:
            memory.list("u", limit=0)
    assert (type(lost.value), type(bad.value)) == (NotFoundError, InvalidRequestError)
    assert str(lost.value).endswith(lost.value.remedy)


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_is_first_of_all_ours_and_comes_out_of_a_pickle_as_it_went_in(kind: type[OMPError]) -> None:
    ours = [each for each in kind.__mro__ if issubclass(each, OMPError)]
    assert kind.__mro__[: len(ours) - 1] == tuple(ours[:-1])
    assert kind.__str__ is OMPError.__str__
    error = kind("it is so.", remedy="Do so.", request_id="r", retry_after=1.5, written="part")
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert (type(twin), str(twin), repr(twin), vars(twin)) == (kind, str(error), repr(error), vars(error))


def test_a_refusal_told_by_a_server_is_that_refusal() -> None:
    refusal = encode_error(InvalidRequestError("no such scope.", request_id="r"))
    with pytest.raises(InvalidRequestError, match="no such scope"):
        decode_response(VERBS["list"], replace(refusal, status=200))


def test_what_settings_refuse_keeps_its_own_words() -> None:
    with pytest.raises(ConfigurationError) as refused:
        Memory("postgres://localhost/db?ssl=true&sslmode=require")
    assert refused.value.message == "ssl and sslmode are given."
    with pytest.raises(ConfigurationError, match="one host"):
        Memory("qdrant://a:1,b:2/memories")
