"""One exchange with an embedding endpoint, bounded in time and in what is read."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import httpx

from ..calls import deadline

OVERHEAD = 65_536
"""Bytes read of any answer, and of one that is an error."""
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
_PLAIN, _PACKED = ("", "identity"), ("gzip", "x-gzip", "deflate")


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
    async with client.stream("POST", url, content=content) as response:
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
    packed = zlib.decompressobj(_GZIP_OR_ZLIB) if encoding in _PACKED else None
    body = bytearray()
    async for piece in response.aiter_raw():
        try:
            body += packed.decompress(piece, most + 1 - len(body)) if packed else piece
        except zlib.error:
            raise Unreadable from None
        if len(body) > most:
            raise TooLarge
    return bytes(body)
