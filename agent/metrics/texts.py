"""Pieces of the kernel's files under /proc that become metrics: parsing alone, and nothing that can fail.

A line that is not what it should be is left out; that it is damaged, the collector that read the file says.
"""

from __future__ import annotations

import re

_WORD = re.compile(r"[A-Za-z0-9_]+")


def number(word: bytes) -> float | None:
    """A whole number, which may be negative; None: it is none."""
    return float(word) if word.removeprefix(b"-").isdigit() and len(word) <= 20 else None


def numbers(words: list[bytes]) -> list[float] | None:
    """All of them; None: one is none."""
    found = [number(word) for word in words]
    return None if None in found else [value for value in found if value is not None]


def rows(raw: bytes) -> list[list[bytes]]:
    """Lines as words, without empty ones."""
    return [words for line in raw.splitlines() if (words := line.split())]


def meminfo(raw: bytes) -> dict[str, float]:
    """/proc/meminfo by node_exporter's names: "MemTotal_bytes", "Active_anon_bytes", "HugePages_Total"."""
    found = {}
    for words in rows(raw):
        value = number(words[1]) if len(words) in (2, 3) else None
        if value is None:
            continue
        name = words[0].decode("utf-8", "replace").removesuffix(":").replace("(", "_").replace(")", "")
        in_kb = len(words) == 3
        if _WORD.fullmatch(name):
            found[f"{name}_bytes" if in_kb else name] = value * 1024 if in_kb else value
    return found


def pairs(raw: bytes) -> dict[str, float]:
    """/proc/net/snmp and netstat, lines of names and of values in turn: "Ip_InReceives" and so on."""
    found = {}
    header: list[bytes] = []
    for words in rows(raw):
        if not header:
            header = words
            continue
        if words[0] == header[0] and len(words) == len(header):
            block = words[0].decode("ascii", "replace").removesuffix(":")
            for name, word in zip(header[1:], words[1:], strict=True):
                if (value := number(word)) is not None:
                    found[f"{block}_{name.decode('ascii', 'replace')}"] = value
            header = []
        else:
            header = words
    return found


def snmp6(raw: bytes) -> dict[str, float]:
    """/proc/net/snmp6, a name and a value in each line: "Ip6_InReceives" and so on."""
    found = {}
    for words in rows(raw):
        value = number(words[1]) if len(words) == 2 else None
        block, six, name = words[0].decode("ascii", "replace").partition("6")
        if value is not None and six and name:
            found[f"{block}6_{name}"] = value
    return found


def softnet(raw: bytes) -> list[tuple[str, int, int, int]]:
    """/proc/net/softnet_stat: CPU, and packets processed, packets dropped, times squeezed."""
    found = []
    for line, words in enumerate(rows(raw)):
        try:
            values = [int(word, 16) for word in words]
        except ValueError:
            continue
        if len(values) >= 3:
            found.append((str(values[12] if len(values) > 12 else line), *values[:3]))
    return found  # type: ignore[return-value]  # three of them


def pressure(raw: bytes) -> dict[str, float]:
    """/proc/pressure/RESOURCE: seconds of "some" and "full"."""
    found = {}
    for words in rows(raw):
        name, _, total = words[-1].partition(b"=")
        if name == b"total" and (value := number(total)) is not None:
            found[words[0].decode("ascii", "replace")] = value / 1e6
    return found
