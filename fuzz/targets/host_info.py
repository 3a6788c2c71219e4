"""/proc/stat, /proc/uptime, the boot id, and clock.json of a bundle."""

from __future__ import annotations

from collections.abc import Iterable

from agent.collectors.clock import ClockCollector
from agent.collectors.host_info import HostInfoCollector, parse_stat, parse_uptime
from fuzz import mutators
from fuzz.hosts import LATER, collected, recorded, times_of
from fuzz.target import Target, sometimes


def check(case: bytes) -> None:
    """Whatever the files say, there is an item of the host, and it can be told."""
    files = mutators.files_of(case)
    boot, cpus = parse_stat(files.get("proc/stat", b""))
    assert boot is None or boot > 0
    assert cpus >= 0
    uptime = parse_uptime(files.get("proc/uptime", b""))
    assert uptime is None or uptime >= 0
    if not sometimes(case, 4):
        return
    for reading in collected([HostInfoCollector(), ClockCollector()], *times_of(files)):
        assert "host" in reading.items
        assert ("clock" in reading.items) != any(key.startswith("coverage/clock") for key in reading.items)


def _seeds() -> Iterable[bytes]:
    random_id = {
        "proc/sys/kernel/random/boot_id": b"0d3ae1c2-7a1b-4c5e-9f10-0123456789ab\n",
        "proc/sys/kernel/osrelease": b"6.1.0\n",
        "proc/sys/kernel/arch": b"x86_64\n",
        "proc/uptime": b"1234.5 99.0\n",
    }
    yield mutators.case_of({**random_id, "proc/stat": b"cpu 1\n"})
    for files in recorded("proc/stat", "proc/uptime", "clock.json"):
        yield mutators.case_of({**files, **random_id, LATER + "proc/stat": files.get("proc/stat", b"")})
    yield mutators.case_of({"clock.json": b'{"synchronized": true, "offset_seconds": -0.25, "max_error_us": 1200}'})


TARGET = Target(check, _seeds, words=(b"btime ", b"cpu0 "), mutate=mutators.files, max_bytes=800)
