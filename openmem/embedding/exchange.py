"""One exchange with an embedding endpoint, bounded in time and in what is read."""

from __future__ import annotations

import asyncio
import json
import logging
import zlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple

import httpx

from ..runtime.calls import deadline

OVERHEAD = 65_536
"""Bytes read of any answer, and of one that is an error."""
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
MEMBERS = 10_000
"""Parts, each packed by itself, of which one answer may be made."""
_PLAIN, _PACKED = ("", "identity"), ("gzip", "x-gzip", "deflate")

_under_way: ContextVar[bool] = ContextVar("openmem_exchange", default=False)
"""Whether the request under way is one of ours."""


class TooLarge(Exception):
    """The answer is longer than it can be."""


class Unreadable(Exception):
    """The answer is packed in a way that cannot be undone."""


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: httpx.Headers
    body: bytes


def seconds(most: float) -> float:
    """Return how long an exchange may take: what the caller still has, less a tenth, of a second at the most.

    In that the caller is told what happened, or stores the vectors.
    """
    moment = deadline()
    if moment is None:
        return most
    left = max(0.0, moment - asyncio.get_running_loop().time())
    return min(most, left - min(1.0, left / 10))


async def post(client: httpx.AsyncClient, url: httpx.URL, body: Mapping[str, Any], most: int) -> Answer:
    """Send JSON and read at most so many bytes; of a status that is an error OVERHEAD, and no more is waited for.

    Raises httpx.HTTPError, TooLarge, Unreadable. Its connection is released whichever way it ends.
    """
    content = json.dumps(body, ensure_ascii=False).encode()
    _under_way.set(True)
    try:
        async with client.stream("POST", url, content=content) as response:
            return await _answer(response, most)
    finally:
        _under_way.set(False)


async def _answer(response: httpx.Response, most: int) -> Answer:
    if response.is_success:
        return Answer(response.status_code, response.headers, await _read(response, most))
    try:
        said = await _read(response, OVERHEAD)
    except (httpx.HTTPError, TooLarge, Unreadable):  # the status says enough
        said = b""
    return Answer(response.status_code, response.headers, said)


async def _read(response: httpx.Response, most: int) -> bytes:
    # As it was sent: the library would unpack a piece whole, however large it becomes.
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding not in (*_PLAIN, *_PACKED):
        raise Unreadable
    unpacked = _Unpacked() if encoding in _PACKED else None
    body, read = bytearray(), 0
    async for piece in response.aiter_raw():
        read += len(piece)
        for part in unpacked.parts(piece, most + 1 - len(body)) if unpacked else [piece]:
            body += part
        if len(body) > most or read > most:
            raise TooLarge
    if unpacked and not unpacked.whole:
        raise Unreadable
    return bytes(body)


class _Unpacked:
    """Unpacks gzip, of one member or several, and zlib."""

    def __init__(self) -> None:
        self._member, self._members = zlib.decompressobj(_GZIP_OR_ZLIB), 1

    @property
    def whole(self) -> bool:
        """Whether what was packed has come to its end."""
        return self._member.eof

    def parts(self, piece: bytes, most: int) -> Iterator[bytes]:
        """Unpack a piece, and not much more than so many bytes of it. Raises Unreadable."""
        while piece and most > 0:
            if self._member.eof:
                piece = piece.lstrip(b"\0")  # which may be there to fill a block
                if not piece:
                    return
                self._member, self._members = zlib.decompressobj(_GZIP_OR_ZLIB), self._members + 1
            if self._members > MEMBERS:
                raise Unreadable
            try:
                part = self._member.decompress(piece, most)
            except zlib.error:
                raise Unreadable from None
            piece, most = self._member.unused_data, most - len(part)
            yield part


def _without_what_was_answered(record: logging.LogRecord) -> bool:
    """Keep out of other libraries' logs what an endpoint may repeat: its headers, and the words beside the status."""
    if not _under_way.get():
        return True
    if record.name == "httpx" and isinstance(record.args, tuple) and len(record.args) == 5:
        record.args = (*record.args[:-1], "")
    return not str(record.msg).startswith("receive_response")


for _name in ("httpx", "httpcore.http11"):
    logging.getLogger(_name).addFilter(_without_what_was_answered)
