"""Where a client's configuration comes from: arguments over OPENMEM_* variables over an openmem.toml profile."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from .adapter import Adapter, Settings
from .errors import ConfigurationError
from .registry import adapter_class

if TYPE_CHECKING:
    from . import embedding

FILE = "openmem.toml"
PREFIX = "OPENMEM_"
_NOT_OPTIONS = {"profile", "config", "user"}  # these choose a profile, its file, and the command's user
_BACKEND = {"url", "provider"}
_SECRET = re.compile(r"key|token|secret|pass|pwd|auth|credential|signature", re.IGNORECASE)


class ClientOptions(BaseModel):
    """Options that every backend takes."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    embedder: Any = "auto"
    """'auto', 'local', 'none', 'test', 'openai:MODEL' or an Embedder."""
    embedder_url: str | None = None
    embedder_api_key: SecretStr | None = None
    embedder_dimension: int | None = Field(default=None, ge=1)
    timeout: float = Field(default=30.0, gt=0)
    """Seconds for one attempt at a remote provider."""
    retries: int = Field(default=2, ge=0, le=10)

    def make_embedder(self) -> embedding.Embedder | None:
        """Make the embedder these options name; None where there is to be none. Raises ConfigurationError."""
        from . import embedding  # most commands configure a client without making one

        return embedding.resolve(self.embedder, **{name: getattr(self, name) for name in embedding.OPTIONS})


@dataclass(frozen=True)
class Configuration:
    """What a client is made from. safe_url has its secrets replaced and may be shown."""

    adapter: type[Adapter]
    settings: Settings
    options: ClientOptions
    safe_url: str

    def make_embedder(self) -> embedding.Embedder | None:
        """Make the embedder that these options name; None where the backend has its own. Raises ConfigurationError."""
        if not self.adapter.embeds_itself(self.settings):
            return self.options.make_embedder()
        if self.options.embedder not in ("auto", "none"):
            raise ConfigurationError(f"{self.adapter.name} makes its own vectors.", remedy="Leave embedder out.")
        return None


def resolve(
    url: str | None = None, *, provider: str | None = None, profile: str | None = None, **options: Any
) -> Configuration:
    """Gather and validate the configuration; nothing is opened.

    Raises ConfigurationError for an unknown option, naming the near miss, and where nothing says which backend.
    """
    environment = _environment()
    given = {"url": url, "provider": provider, **options}
    given = {name: value for name, value in given.items() if value is not None}
    named = given.keys() & _BACKEND or environment.keys() & _BACKEND
    profile = profile or (None if named else os.environ.get(f"{PREFIX}PROFILE"))
    stored = read_profile(profile) if profile or not named else {}
    layers = [stored, environment, given]
    # A backend named in one place is not mixed with one named in another.
    nearest: dict[str, Any] = next((layer for layer in reversed(layers) if layer.keys() & _BACKEND), {})
    others = [{name: value for name, value in layer.items() if name not in _BACKEND} for layer in layers]
    backend = {name: value for name, value in nearest.items() if name in _BACKEND}
    return _configure({name: value for layer in (*others, backend) for name, value in layer.items()})


def client_options(options: Mapping[str, Any]) -> ClientOptions:
    """Validate the options that every backend takes, for an adapter that was made by hand."""
    _refuse_unknown(options, [*ClientOptions.model_fields], "a client")
    validated: ClientOptions = _validate(ClientOptions, options)
    return validated


def _configure(merged: dict[str, Any]) -> Configuration:
    for name in _BACKEND & merged.keys():
        if not isinstance(merged[name], str):
            raise ConfigurationError(f"'{name}' is {type(merged[name]).__name__}, not text.")
    url, provider = merged.pop("url", None), merged.pop("provider", None)
    if url is None and provider is None:
        raise ConfigurationError(
            "no backend is named.",
            remedy=f"Give a URL such as 'memory://', set {PREFIX}URL, or write an {FILE} with a profile.",
        )
    url = url if url is not None else f"{provider}://"
    split = _split(url)
    adapter = adapter_class(provider or split.scheme).serving(split)
    from_url = {**adapter.options_from_url(split), **dict(parse_qsl(split.query, keep_blank_values=True))}
    repeated = from_url.keys() & merged.keys()
    if repeated:
        name = sorted(repeated)[0]
        raise ConfigurationError(f"'{name}' is given by the URL and again.", remedy="Give it once.")
    values = from_url | merged
    common = {name: values.pop(name) for name in ClientOptions.model_fields if name in values}
    _refuse_unknown(values, [*adapter.settings_type.model_fields, *ClientOptions.model_fields], adapter.name)
    return Configuration(
        adapter, _validate(adapter.settings_type, values), _validate(ClientOptions, common), redact(url)
    )


def _split(url: str) -> SplitResult:
    try:
        split = urlsplit(url)
        split.port  # noqa: B018  a bad port is noticed only when read
    except ValueError as error:
        raise ConfigurationError("the URL cannot be read.", remedy="Write SCHEME://…, as in 'memory://'.") from error
    if not split.scheme:
        raise ConfigurationError(f"'{redact(url)}' has no scheme.", remedy="Write SCHEME://…, as in 'memory://'.")
    if split.fragment:
        raise ConfigurationError("the URL holds a '#', which would end it.", remedy="Write %23.")
    return split


def _refuse_unknown(values: Mapping[str, Any], known: Sequence[str], whose: str) -> None:
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean '{near[0]}'? " if near else ""
            raise ConfigurationError(
                f"unknown option '{name}' for {whose}.", remedy=f"{hint}Options: {', '.join(sorted(known))}."
            )


def _validate(model: type[Any], values: Mapping[str, Any]) -> Any:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"option '{place}': {first['msg']}.") from None  # the original quotes the value


# --- sources ----------------------------------------------------------------------------------------------------


def _environment() -> dict[str, Any]:
    names = {name: name.removeprefix(PREFIX).lower() for name in os.environ if name.startswith(PREFIX)}
    return {option: os.environ[name] for name, option in names.items() if option not in _NOT_OPTIONS}


def read_profile(profile: str | None, path: str | Path | None = None) -> dict[str, Any]:
    """Read one profile of openmem.toml; None means its `default`. ${NAME} in a value is an environment variable.

    The file is the one OPENMEM_CONFIG names, else openmem.toml in this folder or the nearest above.
    """
    file = Path(path) if path else _find_file()
    if file is None:
        if profile is None:
            return {}
        remedy = f"Write one, or set {PREFIX}CONFIG."
        raise ConfigurationError(f"no {FILE} is found for profile '{profile}'.", remedy=remedy)
    try:
        document = tomllib.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{file.name} cannot be read: {error}.", remedy="Correct the file.") from error
    profiles = document.get("profiles", {})
    name = profile or document.get("default")
    if name is None:
        return {}
    if not isinstance(name, str) or not isinstance(profiles, dict):
        raise ConfigurationError(
            f"{file.name} is not as expected.", remedy="Write default = 'NAME' and a table [profiles.NAME]."
        )
    if name not in profiles:
        near = difflib.get_close_matches(name, list(profiles), n=1)
        hint = f"Did you mean '{near[0]}'? " if near else ""
        remedy = f"{hint}It has: {', '.join(profiles)}."
        raise ConfigurationError(f"{file.name} has no profile '{name}'.", remedy=remedy)
    if not isinstance(profiles[name], dict):
        raise ConfigurationError(f"{file.name}: profile '{name}' is no table.", remedy=f"Write [profiles.{name}].")
    return {key: _expand(value, file) for key, value in profiles[name].items()}


def _find_file() -> Path | None:
    named = os.environ.get(f"{PREFIX}CONFIG")
    if named:
        return Path(named)
    try:
        here = Path.cwd()
    except OSError:  # the folder was deleted under us
        return None
    return next((folder / FILE for folder in (here, *here.parents) if (folder / FILE).is_file()), None)


def _expand(value: Any, file: Path) -> Any:
    if not isinstance(value, str):
        return value

    def variable(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            remedy = "Set the variable."
            raise ConfigurationError(f"{file.name} names ${{{match[1]}}}, which is not set.", remedy=remedy)
        return os.environ[match[1]]

    return re.sub(r"\$\{(\w+)\}", variable, value)


def redact(url: str) -> str:
    """Replace a URL's password and the values of its secret-looking options by ***; the URL may be malformed."""
    hidden = re.sub(r"^([^/]*//[^:/@]*|[^:/@]*):(?!//).*@", r"\1:***@", url, flags=re.DOTALL)
    text, mark, query = hidden.partition("?")
    options = [(name, "***" if _SECRET.search(name) else value) for name, value in parse_qsl(query)]
    return text + mark + urlencode(options, safe="*:/")
