"""The options of mem0://, in this process and hosted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_core import PydanticCustomError

from openmem import urls
from openmem.adapter import Settings
from openmem.errors import ConfigurationError


class HostedMem0Settings(Settings):
    """Options of mem0://HOST."""

    host: str = "api.mem0.ai"
    """Also https://HOST:PORT."""
    port: int | None = Field(default=None, ge=1, le=65535)
    https: bool = True
    api_key: SecretStr | None = None
    page_size: int = Field(default=200, ge=1, le=200)
    """Records that one request lists."""
    wait: float = Field(default=20.0, ge=0, allow_inf_nan=False)
    """Seconds that remember waits for the facts, within the client's timeout; what is not there by then is queued."""

    _unfold = model_validator(mode="before")(urls.unfold_host)
    _is_host = field_validator("host")(urls.checked_host)


class Mem0Settings(Settings):
    """Options of mem0:// in process."""

    path: Path | None = None
    """The folder of the store and of mem0's history; else MEM0_DIR, else .mem0 in the user's home."""
    config: dict[str, Any] | None = Field(default=None, repr=False)
    """What mem0's Memory.from_config takes: vector_store, embedder, llm, history_db_path, …"""
    llm_url: str | None = None
    """An OpenAI-compatible endpoint, for remember."""
    llm_model: str | None = None
    llm_api_key: SecretStr | None = None
    private: bool = True
    """Whether a new folder is for nobody else; false: as the umask says."""

    @field_validator("llm_url", "config")
    @classmethod
    def _tells_nothing(cls, value: Any) -> Any:
        if any(map(urls.tells_secret, _texts(value))):
            message = "it has a URL with a password or key, which would be logged; give the key as an option of its own"
            raise PydanticCustomError("secret", message)
        return value

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.llm_url is None:
            if self.llm_model is not None or self.llm_api_key is not None:
                remedy = "Give the URL of the endpoint, or leave llm_model and llm_api_key out."
                raise ConfigurationError("llm_model or llm_api_key is given without llm_url.", remedy=remedy)
        elif not self.llm_url.startswith(("http://", "https://")):
            raise ConfigurationError("llm_url is not a base URL.", remedy="Write one like http://HOST:PORT/v1.")
        elif "llm" in (self.config or {}):
            raise ConfigurationError("config has an llm, and llm_url names another.", remedy="Give one of the two.")
        elif self.llm_model is None:
            raise ConfigurationError("llm_url lacks its llm_model.", remedy="Name the model.")
        return self

    def moved(self, name: str, move: Callable[[Path], Path]) -> Any:
        """Return the value of an option with its paths moved, those of mem0's configuration too."""
        if name != "config" or self.config is None:
            return super().moved(name, move)
        config = _with_path(self.config, "history_db_path", move)
        store = config.get("vector_store")
        if isinstance(store, Mapping) and isinstance(details := store.get("config"), Mapping):
            config["vector_store"] = {**store, "config": _with_path(details, "path", move)}
        return config


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(each)


def _with_path(config: Mapping[str, Any], name: str, move: Callable[[Path], Path]) -> dict[str, Any]:
    """Move a path; a name that begins with ':' is none, as in ':memory:'."""
    path = config.get(name)
    if not isinstance(path, str | Path) or not str(path) or str(path).startswith(":"):
        return dict(config)
    return {**config, name: str(move(Path(path)))}
