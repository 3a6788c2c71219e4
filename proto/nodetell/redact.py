"""What looks like a secret is taken out of what others wrote before it is quoted: a mount's source, a message.

By form alone, so it is a second line only: what is not read in the first place leaves nowhere (docs/data.md). Every
repetition is bounded, so a text costs time in proportion to its length.
"""

from __future__ import annotations

import re
from functools import lru_cache

MASK = "***"
_WORDS = (
    "password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|account[_-]?key|private[_-]?key|credentials?"
)

_RULES = (
    # What a URL or a share has before its host ("https://user:word@host/"), or another address ("user:word@host:").
    (re.compile(r"(?<![\w/])((?:[A-Za-z][A-Za-z0-9+.-]{0,20}:)?//)[^/@\s\"'?#]{1,300}@"), rf"\1{MASK}@"),
    (re.compile(r"(?<![\w/@:])([\w.-]{1,64}):[^\s/@:]{1,300}@(?=[\w\[])"), rf"\1:{MASK}@"),
    # Its query, where it is signed.
    (
        re.compile(r"([?&](?:sig|signature|x-amz-[a-z-]{1,40}|x-goog-[a-z-]{1,40})=)[^&\s\"']{1,2000}", re.IGNORECASE),
        rf"\1{MASK}",
    ),
    (
        re.compile(
            rf"\b([\w.-]{{0,40}}(?:{_WORDS})[\w.-]{{0,20}}[\"']?\s?=\s?)(?:\"[^\"]{{0,2000}}\"|'[^']{{0,2000}}'|[^\s,;&\"']{{1,2000}})",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
    # After a colon only what looks like no word of a sentence ("token: expired").
    (
        re.compile(
            rf"\b([\w.-]{{0,40}}(?:{_WORDS})[\"']?:\s?)(?:\"[^\"]{{0,2000}}\"|'[^']{{0,2000}}'|(?=[^\s,;]{{0,200}}\d)[^\s,;&\"']{{6,2000}})",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
    (re.compile(rf"(--?[\w-]{{0,40}}(?:{_WORDS})[\w-]{{0,20}}\s)(?!-)[^\s]{{1,2000}}", re.IGNORECASE), rf"\1{MASK}"),
    (re.compile(r"\b((?:bearer|basic)\s)[A-Za-z0-9._~+/=-]{8,4000}", re.IGNORECASE), rf"\1{MASK}"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]{8,4000}(?:\.[A-Za-z0-9_-]{0,4000})?"), MASK),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), MASK),
    (re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.{0,8000}", re.DOTALL), MASK),
)


@lru_cache(maxsize=2048)
def without_secrets(text: str) -> str:
    """The text with MASK in place of passwords, tokens and keys."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text
