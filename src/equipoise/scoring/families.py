"""Which family a language model belongs to: a judge may prefer answers of its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

__all__ = ["family_of", "sharing"]

_FAMILIES: Mapping[str, str] = {
    "eleutherai": r"gpt-?(?:neo|j)|pythia",  # before the other GPTs
    "openai": r"(?:chat)?gpt|o[134](?!\d)|(?:text-|code-)?davinci",
    "anthropic": r"claude",
    "google": r"gemini|gemma|palm|(?:text|chat)-bison",
    "meta": r"(?:meta-)?llama|codellama",
    "mistral": r"mistral|mixtral|codestral|ministral|pixtral|magistral|devstral",
    "qwen": r"qwen|qwq",
    "deepseek": r"deepseek",
    "cohere": r"command|aya|c4ai",
    "xai": r"grok",
    "microsoft": r"phi|wizardlm",
    "amazon": r"nova|titan",
    "zhipu": r"(?:chat)?glm",
    "moonshot": r"kimi|moonshot",
    "01.ai": r"yi",
    "tii": r"falcon",
    "ibm": r"granite",
    "ai21": r"jamba|j2",
    "nvidia": r"nemotron",
}
_KNOWN = tuple(
    # A name goes on with a number or a sign, not with more letters: `novak-bot` is nobody's.
    (re.compile(rf"(?:{pattern})(?![a-z])", re.IGNORECASE), family)
    for family, pattern in _FAMILIES.items()
)


def family_of(model: str) -> str | None:
    """The family by the model's name, whatever provider serves it; None where the name says nothing.

    >>> family_of("gpt-4.1-mini"), family_of("openrouter/meta-llama/Llama-3.1-8B"), family_of("my-bot")
    ('openai', 'meta', None)
    >>> family_of("us.anthropic.claude-3-5-haiku-20241022-v1:0"), family_of("ft:gpt-4o-mini:acme::7p")
    ('anthropic', 'openai')
    """
    for part in re.split(r"[.:]", model.rsplit("/", 1)[-1]):
        for pattern, family in _KNOWN:
            if pattern.match(part):
                return family
    return None


def sharing(judges: Iterable[str], variants: Mapping[str, str | None]) -> str | None:
    """The variant that alone is of a judge's family, or None: no variant is, or several are.

    >>> sharing(["gpt-4.1"], {"control": "claude-3-5-haiku", "treatment": "gpt-4.1-mini"})
    'treatment'
    """
    families = {family for judge in judges if (family := family_of(judge)) is not None}
    of_it = [name for name, model in variants.items() if model is not None and family_of(model) in families]
    return of_it[0] if len(of_it) == 1 and len(variants) > 1 else None
