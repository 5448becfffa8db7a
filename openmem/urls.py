"""URLs of backends: read strictly, and shown without what they keep secret."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, unquote_to_bytes, urlsplit

from pydantic import SecretStr
from pydantic_core import PydanticCustomError

from .errors import ConfigurationError

ENCODE = (
    "Percent-encode what user and password hold of these: '#' %23, '/' %2F, '?' %3F, '@' %40, ':' %3A, '%' %25, "
    "'[' %5B, ']' %5D; or give the password as an option: password=…, api_key=…."
)
_SCHEME = re.compile(r"[A-Za-z][\w+.-]*", re.ASCII)
_START = re.compile(r"((?:jdbc:)?[A-Za-z][\w+.-]*:)?//", re.ASCII | re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]|%00")
_NO_TEXT = re.compile(r"[\x00\ud800-\udfff]")
_NO_HOST = re.compile(r"[\s/@?#\\\[\]]|[\x00-\x1f\x7f]")
_NO_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HOST = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(:[0-9]*)?")
_ACCOUNT_IN_PATH = re.compile(r"/*[^/?]*:.*@", re.DOTALL)
_WORD = re.compile(r"[A-Za-z][A-Za-z_.-]+")
_SECRET = re.compile(r"key|token|secret|pass|pwd|auth|credential|signature", re.IGNORECASE)
_SECRETS = ("api_key", "apikey", "password", "passwd", "token", "secret", "credentials", "signature")
_LONG = 20
"""Characters from which on a user without a password may be a key."""


def split(url: str) -> SplitResult:
    """Take a URL apart; ConfigurationError where it cannot be read or may be meant otherwise, quoting nothing of it.

    Its ports are numbers, its escapes are UTF-8 and its '@' ends the user and password. Surrounding blanks are dropped,
    which a copied URL may have.
    """
    url = url.strip()
    scheme, mark, rest = url.partition("://")
    if scheme.lower().startswith("jdbc:"):
        raise ConfigurationError("a URL of JDBC is not read.", remedy="Leave 'jdbc:' out.")
    if not mark or not _SCHEME.fullmatch(scheme):
        raise ConfigurationError(
            "the URL does not begin with SCHEME://.", remedy="Write it so, as in 'memory://' or 'sqlite:///memory.db'."
        )
    _check_characters(rest)
    try:
        found = urlsplit(f"x://{rest}")._replace(scheme=scheme.lower())
    except ValueError:  # which quotes it, and so is not passed on even as a context
        found = None
    if found is None or not all(map(_is_host, _hosts(found).split(","))):
        raise ConfigurationError("the URL's user, password, host or port cannot be read.", remedy=ENCODE)
    if found.netloc and "@" in found.path + found.query:
        raise ConfigurationError("the URL has an '@' after its host.", remedy=ENCODE)
    if not found.netloc and _ACCOUNT_IN_PATH.match(rest):
        remedy = "Write two slashes before user and host; write an '@' in the name of a file as %40."
        raise ConfigurationError("the URL has three slashes, and a ':' and an '@' after them.", remedy=remedy)
    return found


def _check_characters(rest: str) -> None:
    if "#" in rest:
        raise ConfigurationError("the URL has a '#', which would end it.", remedy=f"Write %23. {ENCODE}")
    if _CONTROL.search(rest):
        raise ConfigurationError("the URL has a line break or another control character.", remedy="Leave it out.")
    if _NO_ESCAPE.search(rest):
        raise ConfigurationError("the URL has a '%' without two hexadecimal digits.", remedy=f"Write %25. {ENCODE}")
    if not _is_utf8(unquote_to_bytes(rest)):
        raise ConfigurationError("the URL has escapes that are not UTF-8.", remedy=f"A '%' itself is %25. {ENCODE}")


def _is_utf8(octets: bytes) -> bool:
    try:
        octets.decode()
    except UnicodeDecodeError:
        return False
    return True


def _hosts(url: SplitResult) -> str:
    return url.netloc.rpartition("@")[2]


def _is_host(text: str) -> bool:
    found = _HOST.fullmatch(text)
    return found is not None and (not (found[2] or "")[1:] or 0 < int(found[2][1:]) < 65536)


def credentials(url: SplitResult) -> dict[str, str]:
    """Read user and password, where they are given."""
    found = {"user": url.username, "password": url.password}
    return {name: unquote(value) for name, value in found.items() if value}


def endpoint(url: SplitResult) -> dict[str, Any]:
    """Read host and port, where they are given; ConfigurationError for several hosts."""
    if "," in _hosts(url):
        raise ConfigurationError(f"a {url.scheme} URL has one host.", remedy="Name one, as in SCHEME://HOST:PORT.")
    found = {"host": url.hostname and unquote(url.hostname), "port": url.port}
    return {name: value for name, value in found.items() if value}


def unfold_host(values: Any) -> Any:
    """Take a host apart that is given as http://HOST:PORT or https://HOST:PORT, into host, port and https."""
    host = values.get("host") if isinstance(values, Mapping) else None
    if not isinstance(host, str) or "://" not in host:
        return values
    url = split(host)
    if url.scheme not in ("http", "https") or url.path.strip("/") or url.query or "@" in url.netloc:
        raise ConfigurationError("option 'host' is a URL of more than a host.", remedy="Write https://HOST:PORT.")
    if values.get("https") is not None or (url.port and values.get("port") is not None):
        raise ConfigurationError("option 'host' is a URL, and says what other options say.", remedy="Give it once.")
    return {**values, **endpoint(url), "https": url.scheme == "https"}


def checked_host(host: Any) -> Any:
    """Refuse a host that is none, without quoting it: it may be a URL with a password. Brackets go off an address."""
    if not isinstance(host, str):
        return host
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not bare or _NO_HOST.search(bare) or (":" in bare and not _is_address(bare)):
        raise PydanticCustomError("host", "it is no host; write HOST, and its port as an option of its own")
    return bare


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def checked_text(value: Any) -> Any:
    """Refuse a NUL, with which texts end in libraries of C, and halves of characters, which no encoding has."""
    if isinstance(value, Mapping):
        for each in value.values():
            checked_text(each)
    elif isinstance(value, list | tuple):
        for each in value:
            checked_text(each)
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if "\0" in str(text) if isinstance(text, Path) else isinstance(text, str) and _NO_TEXT.search(text):
        raise PydanticCustomError("text", "it holds a NUL or what is not Unicode; leave that out")
    return value


def options(url: SplitResult) -> dict[str, str]:
    """Read the options of the query; a '+' is a plus. ConfigurationError for one that is given twice."""
    found: dict[str, str] = {}
    for part in filter(None, url.query.split("&")):
        name, _, value = part.partition("=")
        name = unquote(name)
        if name in found:
            which = f"'{name}'" if is_tellable(url, name) else "an option"
            raise ConfigurationError(f"the URL gives {which} twice.", remedy="Give it once.")
        found[name] = unquote(value)
    return found


def is_tellable(url: SplitResult, name: str) -> bool:
    """Say whether the name of an unknown option is surely none, and no piece of a password that was not encoded."""
    before, found, _ = f"&{url.query}".partition(f"&{name}=")
    plain = bool(found and _WORD.fullmatch(name)) and ("@" in url.netloc or ":" not in url.netloc)
    return plain and not any(is_secret(part.partition("=")[0]) for part in before.split("&"))


def is_secret(name: str) -> bool:
    """Say whether an option of this name holds a secret; also where the name is misspelt."""
    return bool(_SECRET.search(name) or difflib.get_close_matches(name.lower(), _SECRETS, n=1, cutoff=0.75))


def tells_secret(url: str) -> bool:
    """Say whether a text is a URL of HTTP that holds a user, password or key: libraries log such URLs as they are."""
    scheme, _, rest = url.strip().partition("://")
    place, _, query = rest.partition("?")
    return scheme.lower() in ("http", "https") and (
        "@" in place or any(is_secret(unquote(part.partition("=")[0])) for part in query.split("&"))
    )


def redact(url: str) -> str:
    """Replace a URL's password and the values of its secret-looking options by ***; the URL may be malformed.

    What follows a secret that may not have ended there is left out.
    """
    start = _START.match(url)
    scheme = start[0] if start else ""
    rest = url[len(scheme) :]
    account, at, place = rest.rpartition("@")
    if not at or (rest.startswith("/") and ":" not in account):  # an '@' in the name of a file
        account, at, place = "", "", rest
    if "?" in account:  # the '@' may be one of an option
        return f"{scheme}{_account(account)}@***"
    hosts = re.split(r"[/?]", place, maxsplit=1)[0]
    account = _account(account) + at
    if not all(map(_is_host, hosts.split(","))):
        return f"{scheme}{account}{hosts.partition(':')[0]}:***"
    path, mark, query = place.partition("?")
    return scheme + account + path + mark + _query(query)


def _account(account: str) -> str:
    user = re.split(r"[:/?#@]", account.lstrip("/"), maxsplit=1)[0]
    slashes = account[: len(account) - len(account.lstrip("/"))]
    if slashes + user == account:
        return account if len(user) < _LONG else "***"
    return f"{slashes}{user}:***"


def _query(query: str) -> str:
    shown: list[str] = []
    for part in query.split("&") if query else ():
        name, equals, value = part.partition("=")
        if is_secret(name):
            return "&".join([*shown, f"{name}=***"])
        decoded = unquote(value)
        if "://" in decoded or "@" in decoded:
            return "&".join([*shown, f"{name}={redact(decoded)}"])
        shown.append(name + equals + value)
    return "&".join(shown)
