"""Records of /dev/kmsg, and the text of a log that was recorded."""

from __future__ import annotations

from collections.abc import Iterable

from agent.collectors.kernel_log import KernelLogCollector
from agent.events.kmsg import parse_log, parse_record
from agent.events.patterns import Classifier
from fuzz import mutators
from fuzz.hosts import collected
from fuzz.target import Target, sometimes

_GOOD = b"6,1,1000000,-;EXT4-fs error (device sda1): x\n"
_TEXTS = (
    "I/O error, dev sda, sector 5 op 0x0",
    "Buffer I/O error on dev dm-0, logical block 1",
    "nvme nvme0: controller is down",
    "sd 0:0:0:0: [sda] tag#5 FAILED Result: hostbyte=DID_OK",
    "Aborting journal on device sda1-8.",
    "XFS (nvme1n1): Metadata corruption detected",
    "BTRFS error (device sdb: state EA): x",
    "EXT4-fs (sda1): Remounting filesystem read-only",
    "INFO: task a b:123 blocked for more than 120 seconds.",
    "NETDEV WATCHDOG: eth0 (e1000): transmit queue 0",
    "e1000e 0000:00:19.0 eth0: Detected Hardware Unit Hang:",
    (
        "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=x,mems_allowed=0,oom_memcg=/kubepods,tas"
        "k_memcg=/kubepods/burstable/pod0d3ae1c2-7a1b-4c5e-9f10-0123456789ab/x,task=a,pid=77,uid=0"
    ),
    "Memory cgroup out of memory: Killed process 77 (a) total-vm:1kB",
    "a[12]: segfault at 0 ip 0",
    "traps: a[12] general protection fault",
    "nfs: server 10.0.0.1 not responding, still trying",
    "nfs: server 10.0.0.1 OK",
    "md/raid1:md0: Disk failure on sdb1, disabling device.",
    "device-mapper: multipath: 253:1: Failing path 8:16.",
    "device-mapper: thin: 253:2: switching pool to read-only mode",
)


def check(case: bytes) -> None:
    """A line is a record, a record's further line, or counted as strange; subjects are short and printable."""
    records, strange = parse_log(case)
    assert len(records) + strange <= case.count(b"\n") + 1
    parse_record(case)
    classifier = Classifier()
    for record in records:
        assert record.at >= 0
        sighting = classifier.sighting(record)
        assert sighting is None or (record.from_kernel and classifier.concerns(record))
        for told in (sighting, classifier.over(record)):
            if told is not None:
                assert 0 < len(told.subject) <= 64
                assert told.subject.isprintable()
    if not sometimes(case, 8):
        return
    again, _ = parse_log(_GOOD + case)
    assert again[0].text.startswith("EXT4-fs error")
    assert len(again) == len(records) + 1
    collected([KernelLogCollector()], {"kmsg": case, "proc/uptime": b"5000.0 1.0\n"}, {"kmsg": case + _GOOD})


def _seeds() -> Iterable[bytes]:
    for number, text in enumerate(_TEXTS):
        yield f"6,{number},{number * 1000},-;{text}\n SUBSYSTEM=block\n".encode()
        yield f"<4>[ {number:4}.000001] {text}\n".encode()
    yield "\n".join(f"4,{number},{number},-;{text}" for number, text in enumerate(_TEXTS)).encode()


TARGET = Target(check, _seeds, words=tuple(text.encode()[:40] for text in _TEXTS), mutate=mutators.lines, max_bytes=800)
