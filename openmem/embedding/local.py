"""Embeddings from the weights that travel in the wordllama wheel: no download, no service, no key."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError
from ..runtime.bridge import offload
from ..runtime.fork import Lock, importing
from . import INSTALL, installed
from .vectors import batches, to_unit_length

if TYPE_CHECKING:
    from tokenizers import Tokenizer

WEIGHTS = Path("weights", "l2_supercat_256.safetensors")
TOKENIZER = Path("tokenizers", "l2_supercat_tokenizer_config.json")
IN_PLACE_TEXTS, IN_PLACE_CHARACTERS = 8, 4_000
PIECE = 4_096
"""Characters tokenized, and tokens gathered, at once: they bound memory and the time the GIL is held."""

# No token of the vocabulary goes on from a word into a space, so a text cut between two words has the
# tokens of the whole; the tokenizer itself puts the space back in front of a piece. Beside "<s>" this fails: hence \w.
_BETWEEN_WORDS = re.compile(r"(?<=\w) (?=\w)")


class LocalEmbedder:
    """Embeds in this process with WordLlama's 256-dimensional token vectors, averaged (English foremost).

    The numbers are those of wordllama's own `embed(texts, norm=True)`; a text with no tokens is all zeros.
    The weights are loaded on first use (0.15 s, 60 MB). Raises ConfigurationError where the wheel is missing.
    Source: https://github.com/dleemiller/WordLlama
    """

    model = "wordllama-256"
    dimension = 256
    inline = True

    def __init__(self) -> None:
        self._folder = _folder()
        self._loading = Lock()
        self._loaded: _Model | None = None

    def __repr__(self) -> str:
        return f"LocalEmbedder({self.model!r}, dimension={self.dimension})"

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return a float32 array with one row a text; more than a few short texts leave the event loop free."""
        rows = np.zeros((len(texts), self.dimension), dtype=np.float32)
        if self._loaded and len(texts) <= IN_PLACE_TEXTS and sum(map(len, texts)) <= IN_PLACE_CHARACTERS:
            self.fill(rows, texts)  # shorter than the way to a thread and back
        else:
            for batch in batches(texts):  # a cancelled call ends with the batch at hand
                await offload(self.fill, rows[batch], texts[batch])
        return cast("Sequence[Sequence[float]]", rows)

    async def close(self) -> None:
        """Release the weights; the next embed would load them again."""
        self._loaded = None

    def fill(self, rows: NDArray[np.float32], texts: Sequence[str]) -> None:
        """Write the vectors of texts into rows, which hold zeros."""
        model = self._load()
        for row, text in zip(rows, texts, strict=True):
            model.average(text, row)
        to_unit_length(rows)

    def _load(self) -> _Model:
        if self._loaded is not None:
            return self._loaded
        with importing, self._loading:
            model = self._loaded = self._loaded or _read(self._folder)
        return model


class _Model(NamedTuple):
    tokenizer: Tokenizer
    weights: NDArray[np.float32]

    def average(self, text: str, row: NDArray[np.float32]) -> None:
        """Write the mean of the text's token vectors into row, which holds zeros."""
        tokens = 0
        for ids in self._tokens(text):
            vectors = self.weights[ids]
            vectors[0] += row  # adding in the order of the text gives wordllama's sum to the last bit
            np.add.reduce(vectors, axis=0, out=row)
            tokens += len(ids)
        row /= max(tokens, 1)

    def _tokens(self, text: str) -> Iterator[list[int]]:
        for piece in _pieces(text):
            # One text at a time: the batch call starts a thread pool, which does not survive a fork.
            ids = self.tokenizer.encode(piece, add_special_tokens=False).ids
            for start in range(0, len(ids), PIECE):
                yield ids[start : start + PIECE]


def _pieces(text: str) -> Iterator[str]:
    start = 0
    while len(text) - start > PIECE and (cut := _BETWEEN_WORDS.search(text, start + PIECE)):
        yield text[start : cut.start()]
        start = cut.end()
    yield text[start:]


def _folder() -> Path:
    # Found, not imported: importing wordllama takes 0.6 s and configures the root logger.
    missing = [name for name in ("wordllama", "tokenizers", "safetensors") if not installed(name)]
    if missing:
        raise ConfigurationError(
            f"the local embedder needs what is not installed: {', '.join(missing)}.", remedy=f"Run {INSTALL}."
        )
    spec = importlib.util.find_spec("wordllama")
    for folder in map(Path, (spec and spec.submodule_search_locations) or ()):
        if (folder / WEIGHTS).is_file() and (folder / TOKENIZER).is_file():
            return folder
    raise ConfigurationError(
        "wordllama is installed without the weights of the local embedder.",
        remedy="Run pip install --force-reinstall --no-deps 'wordllama>=0.4,<0.5'.",
    )


def _read(folder: Path) -> _Model:
    # Imported here, since both come with the wheel that _folder has found.
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    weights = load_file(folder / WEIGHTS)["embedding.weight"].astype(np.float32)  # stored as float16
    return _Model(Tokenizer.from_file(str(folder / TOKENIZER)), weights)
