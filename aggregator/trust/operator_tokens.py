"""The tokens of operators that the aggregator knows by itself: a file of names and digests, read again as it changes.

Whoever reads the file can't use what is in it. A token is long and random (nodetell's documentation has it made by
`openssl rand -hex 32`), so that one round of SHA-256 is enough.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
from dataclasses import dataclass, field
from pathlib import Path

from nodetell.fingerprint import Fingerprint, fingerprint
from nodetell.logs import event

_log = logging.getLogger("nodetell.aggregator")
MAX_FILE_BYTES = 1 << 20
_LINE = re.compile(r"([A-Za-z0-9][-A-Za-z0-9._@]{0,99})\s+([0-9a-fA-F]{64})")


class TokensFileError(Exception):
    """The file can't be used: which line, and why. Never what is in it."""


@dataclass(slots=True)
class OperatorTokens:
    """Those of one file. Raises TokensFileError when it is made of a file that can't be used."""

    path: Path
    _known: tuple[tuple[str, bytes], ...] = ()
    _print: Fingerprint = ()
    _said: str = field(default="")

    def __post_init__(self) -> None:
        self._print = fingerprint(self.path)
        self._known = _read(self.path)

    def name_of(self, token: str) -> str:
        """Whose token it is; empty: nobody's. It takes as long whoever's it is."""
        self._renew()
        digest = hashlib.sha256(token.encode()).digest()
        found = ""
        for name, known in self._known:
            if hmac.compare_digest(known, digest):
                found = name
        return found

    def _renew(self) -> None:
        now = fingerprint(self.path)
        if now == self._print:
            return
        try:
            self._known = _read(self.path)
        except TokensFileError as error:
            if str(error) != self._said:
                self._said = str(error)
                event(_log, logging.ERROR, "operator_tokens_not_renewed", reason=error, used="the ones before")
            return
        self._print, self._said = now, ""
        event(_log, logging.INFO, "operator_tokens", file=self.path, tokens=len(self._known))


def _read(path: Path) -> tuple[tuple[str, bytes], ...]:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise TokensFileError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    if len(raw) > MAX_FILE_BYTES:
        raise TokensFileError(f"{path}: longer than {MAX_FILE_BYTES:,} bytes")
    known = []
    for number, line in enumerate(raw.decode("utf-8", "replace").splitlines(), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        match = _LINE.fullmatch(text)
        if match is None:
            raise TokensFileError(f'{path}:{number}: is not "name sha256", the digest in 64 hexadecimal digits')
        known.append((match[1], bytes.fromhex(match[2])))
    return tuple(known)
