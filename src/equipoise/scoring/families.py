"""Which family a language model belongs to: a judge may prefer answers of its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

__all__ = ["family_of", "sharing"]

_FAMILIES: tuple[tuple[str, str], ...] = (
    (r"(?:chat)?gpt|o[134](?:-|$)|davinci|text-davinci|gpt-oss", "openai"),
    (r"claude", "anthropic"),
    (r"gemini|gemma|palm|text-bison|chat-bison", "google"),
    (r"(?:meta-)?llama|codellama", "meta"),
    (r"mistral|mixtral|codestral|ministral|pixtral|magistral|devstral", "mistral"),
    (r"qwen|qwq", "qwen"),
    (r"deepseek", "deepseek"),
    (r"command|aya|c4ai", "cohere"),
    (r"grok", "xai"),
    (r"phi-?\d|wizardlm", "microsoft"),
    (r"nova|titan", "amazon"),
    (r"glm|chatglm", "zhipu"),
    (r"kimi|moonshot", "moonshot"),
    (r"yi-", "01.ai"),
    (r"falcon", "tii"),
    (r"granite", "ibm"),
    (r"jamba|j2-", "ai21"),
    (r"nemotron", "nvidia"),
)
_KNOWN = tuple((re.compile(pattern, re.IGNORECASE), family) for pattern, family in _FAMILIES)


def family_of(model: str) -> str | None:
    """The family by the model's name, whatever provider serves it; None where the name says nothing.

    >>> family_of("gpt-4.1-mini"), family_of("openrouter/meta-llama/Llama-3.1-8B"), family_of("my-bot")
    ('openai', 'meta', None)
    >>> family_of("us.anthropic.claude-3-5-haiku-20241022-v1:0")
    'anthropic'
    """
    bare = model.rsplit("/", 1)[-1]
    for part in (bare, *bare.split(".")):
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
