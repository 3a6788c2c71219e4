"""What a finding about an attachment that is not done says: word, number, object and piece of evidence."""

from __future__ import annotations

import pytest

from aggregator.model import Finding, Severity
from aggregator.signatures.thresholds import Thresholds
from tests.lab.cluster import Lab
from tests.signatures.storage_worlds import CLAIM, MINUTE, NEW, VOLUME, cluster, database, refused, waits

TIMEOUT = "storage.attach_timeout"
GAVE_UP = (
    "Unable to attach or mount volumes: unmounted volumes=[data], unattached volumes=[], failed to process "
    "volumes=[]: context deadline exceeded"
)
ERROR = "rpc error: code = DeadlineExceeded desc = context deadline exceeded"
SLOW_S = Thresholds().attach_slow_s


def wanted(*, created: float = 6 * MINUTE, minutes: float = 5, error: str = "") -> Lab:
    """A pod on n2 waits for a volume whose attachment was asked for `created` seconds ago."""
    lab = cluster()
    lab.disk(CLAIM, VOLUME)
    lab.attachment(VOLUME, "n2", attached=False, created=-created, attach_error=error)
    waits(lab, minutes=minutes)
    return lab


def not_begun() -> Lab:
    lab = cluster()
    database(lab, "n1")
    lab.disk("db/other", "pv-2")
    lab.pod(NEW, node="n2", claims={"data": "other"}, pending_since=-600, waiting="ContainerCreating")
    return lab


def timeouts(lab: Lab) -> list[Finding]:
    return [each for each in lab.findings() if each.code == TIMEOUT]


def timeout(lab: Lab) -> Finding:
    (finding,) = timeouts(lab)
    return finding


def evidence(finding: Finding) -> dict[str, tuple[str, object, str]]:
    return {fact.signal: (fact.subject, fact.value, fact.source) for fact in finding.evidence}


def test_an_attacher_that_says_nothing() -> None:
    lab = wanted()
    finding = timeout(lab)
    assert finding.summary == (
        "the attachment of pv-1 to n2 began 6 min ago and is not done: the attacher says nothing; "
        "its host has no such device; db/pg-1 on n2 waits for it."
    )
    name = next(each for each in finding.objects if each.startswith("VolumeAttachment/")).partition("/")[2]
    assert finding.objects[:3] == (f"Pod/{NEW}", f"PersistentVolumeClaim/{CLAIM}", f"PersistentVolume/{VOLUME}")
    assert finding.nodes == ("n2",)
    assert finding.severity is Severity.WARNING
    assert finding.since == lab.now - 6 * MINUTE
    told = evidence(finding)
    assert told["volumeattachment.attached"] == (name, False, "kube/volumeattachments")
    assert told["volumeattachment.age"][1] == 360
    assert told["device.present"][1:] == (False, "sys/block")
    assert told["device.present"][0].startswith("vol-")
    assert told["pod.waiting"] == (NEW, 300, "kube/pods")
    (rule,) = finding.ruled_out
    assert (rule.code, rule.because) == (
        "storage.multi_attach",
        "no other VolumeAttachment has it, and no host that reports",
    )
    assert "kube-controller-manager" not in finding.remediation[0]


def test_an_attacher_with_an_error_after_a_quarter_of_an_hour() -> None:
    finding = timeout(wanted(created=20 * MINUTE, minutes=16, error=ERROR))
    assert f'began 20 min ago and is not done: the attacher says "{ERROR}"; its host' in finding.summary
    assert finding.severity is Severity.CRITICAL
    assert evidence(finding)["volumeattachment.attach_error"][1] == ERROR


def test_a_host_that_has_the_device_already() -> None:
    lab = wanted()
    lab.host("n2").attach_volume(VOLUME)
    finding = timeout(lab)
    assert "; its host has the device (" in finding.summary
    assert "no such device" not in finding.summary
    assert evidence(finding)["device.present"][1] is True


def test_a_host_that_nothing_is_known_of() -> None:
    lab = Lab("storage")
    for number in (1, 2):
        lab.node(f"n{number}", zone="eu-1a")
    lab.host("n1", thorough=True)
    lab.disk(CLAIM, VOLUME)
    lab.attachment(VOLUME, "n2", attached=False, created=-6 * MINUTE)
    waits(lab, minutes=5)
    finding = timeout(lab)
    assert "the attacher says nothing; db/pg-1 on n2 waits for it" in finding.summary
    assert "device.present" not in evidence(finding)


def test_another_host_that_still_shows_the_device_is_told_beside_what_is_ruled_out() -> None:
    lab = wanted()
    lab.host("n3").attach_volume(VOLUME)
    (rule,) = timeout(lab).ruled_out
    assert rule.because == "no other VolumeAttachment has it, though the host of n3 still shows it"


def test_that_nobody_has_begun_is_the_controllers_doing() -> None:
    lab = not_begun()
    refused(lab, GAVE_UP, reason="FailedMount")
    finding = timeout(lab)
    assert finding.summary.startswith(
        "nobody has begun to attach pv-2 to n2 in 10 min: there is no VolumeAttachment for it; its host has no such"
    )
    remedy = "See whether the attach-detach controller (kube-controller-manager) is up, and its log."
    assert finding.remediation[0] == remedy
    assert finding.objects == (f"Pod/{NEW}", "PersistentVolumeClaim/db/other", "PersistentVolume/pv-2")
    assert finding.since == lab.now - 600
    assert "volumeattachment.age" not in evidence(finding)


def test_that_nobody_has_begun_needs_somebody_who_says_that_the_pod_waits_for_it() -> None:
    assert not timeouts(not_begun())
    mounts = not_begun()
    refused(mounts, GAVE_UP, reason="FailedMount")
    refused(mounts, 'MountVolume.SetUp failed for volume "pv-2" : permission denied', reason="FailedMount")
    assert not timeouts(mounts)


def test_that_nobody_has_begun_says_nothing_of_a_driver_that_never_attaches() -> None:
    lab = cluster()
    lab.disk("db/other", "pv-2")
    lab.pod(NEW, node="n2", claims={"data": "other"}, pending_since=-600, waiting="ContainerCreating")
    refused(lab, GAVE_UP, reason="FailedMount")
    assert not timeouts(lab)


@pytest.mark.parametrize(
    ("created", "waited", "found"),
    [(SLOW_S, SLOW_S, True), (SLOW_S - 1, SLOW_S, False), (SLOW_S, SLOW_S - 1, False)],
)
def test_it_has_to_take_so_long_and_somebody_has_to_wait_so_long(created: float, waited: float, found: bool) -> None:
    assert bool(timeouts(wanted(created=created, minutes=waited / 60))) is found


def test_pods_that_wait_are_looked_at_each_for_itself() -> None:
    """One that waits for a moment only, one that the kubelet has a better reason for, and then one that it is about."""
    lab = wanted(created=20 * MINUTE, minutes=1)
    why = 'MountVolume.SetUp failed for volume "pv-1" : permission denied'
    waits(lab, "db/pg-2", minutes=8)
    refused(lab, why, "db/pg-2", reason="FailedMount")
    waits(lab, "db/pg-3", minutes=8)
    assert f"Pod/{NEW}" not in timeout(lab).objects
    assert "Pod/db/pg-3" in timeout(lab).objects
    assert "Pod/db/pg-2" not in timeout(lab).objects


def test_attachers_errors_are_told_by_node_and_silence_by_attacher() -> None:
    def two(error: str) -> list[Finding]:
        lab = cluster()
        for number in (1, 2):
            lab.disk(f"db/data-{number}", f"pv-{number}")
            lab.attachment(f"pv-{number}", f"n{number}", attached=False, created=-6 * MINUTE, attach_error=error)
            claims = {"data": f"data-{number}"}
            lab.pod(f"db/p-{number}", node=f"n{number}", claims=claims, pending_since=-300, waiting="ContainerCreating")
        return timeouts(lab)

    assert [each.nodes for each in two("")] == [("n1", "n2")]
    assert sorted(each.nodes for each in two(ERROR)) == [("n1",), ("n2",)]
