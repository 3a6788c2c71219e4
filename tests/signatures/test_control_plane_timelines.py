"""Incident 5 as timelines: positive, near miss and recovery of each code, and its look-alikes in both directions."""

from __future__ import annotations

import pytest

from aggregator.signatures.control_plane.codes import CODES
from tests.lab.cluster import Lab
from tests.lab.control_plane import ControlPlane, Syncs, Work
from tests.lab.scenario import Scenario, Want, judge, lacking, of_module, scenario

FSYNC, SLOW, NOISY = "cp.etcd_slow_fsync", "disk.slow_fsync", "disk.noisy_neighbour"
SATURATION, LATENCY, SURGE, WEBHOOK = (
    "cp.saturation",
    "cp.apiserver_latency",
    "cp.api_traffic_surge",
    "cp.webhook_timeout",
)
THROTTLED, TIMEOUT = "cp.apf_throttled", "cp.apiserver_timeout"
RENEW, LEADER, SPACE = "cp.lease_renew_failed", "cp.leader_lost", "cp.no_space"
ALL = tuple(CODES)
SLOW_ETCD = {"etcd": Syncs(15, 220)}
HOOK = "validate.policy.example.com"
_OF = 'flow_schema="global-default",priority_level="global-default",reason="queue-full"'
REJECTED = f"apiserver_flowcontrol_rejected_requests_total{{{_OF}}}"


def others(*codes: str) -> tuple[str, ...]:
    """All codes of this incident but these."""
    return tuple(code for code in ALL if code not in codes)


def plane(host: str = "cp-1", **fields: object) -> ControlPlane:
    lab = Lab("cp")
    for number in range(1, 4):
        lab.node(f"n{number}")
        lab.host(f"n{number}")
    return ControlPlane(lab, host, **fields)  # type: ignore[arg-type]


# -- cp.etcd_slow_fsync ------------------------------------------------------------------------------------------------


@scenario
def cp_etcd_slow_fsync__positive() -> Scenario:
    cp = plane()
    cp.go()
    cp.go(syncs={"etcd": Syncs(15, 30)})
    return Scenario(
        cp.lab,
        why="etcd's fsyncs take 30 ms while the API server is as fast as ever: the warning window",
        expect=[Want(FSYNC, nodes=["cp-1"], objects=["Device/cp-1/259:1"], stage="risk", count=1)],
        forbid=others(FSYNC),
    )


@scenario
def cp_etcd_slow_fsync__positive_without_anything_of_the_api_server() -> Scenario:
    cp = plane(metrics=False)
    cp.go()
    cp.go(syncs=SLOW_ETCD)
    return Scenario(
        cp.lab,
        why="over 100 ms heartbeats are missed; whether the API server suffers is not known",
        expect=[Want(FSYNC, nodes=["cp-1"], stage="risk", severity="critical")],
        forbid=others(FSYNC),
    )


@scenario
def cp_etcd_slow_fsync__positive_by_its_own_account() -> Scenario:
    cp = plane(etcd_text=True)
    cp.go()
    cp.go(syncs={"etcd": Syncs(15, 50)})
    return Scenario(
        cp.lab,
        why="nobody has timed etcd: its own metrics say it",
        expect=[Want(FSYNC, nodes=["cp-1"], stage="risk", says=["etcd.metrics"])],
        forbid=others(FSYNC),
    )


@scenario
def cp_etcd_slow_fsync__near_miss() -> Scenario:
    cp = plane()
    cp.go(syncs=SLOW_ETCD)
    cp.go()
    return Scenario(cp.lab, why="they were slow five minutes ago, and are not now", forbid=ALL)


@scenario
def cp_etcd_slow_fsync__near_miss_commits() -> Scenario:
    cp = plane()
    name = "etcd_disk_backend_commit_duration_seconds"
    for count in (1000, 3000):
        cp.etcd_levels |= {f'{name}_bucket{{le="0.016"}}': 5, f'{name}_bucket{{le="0.064"}}': count}
        cp.etcd_levels[f'{name}_bucket{{le="+Inf"}}'] = count
        cp.go()
    return Scenario(cp.lab, why="commits take up to 64 ms, which is several syncs; the log is fast", forbid=ALL)


@scenario
def cp_etcd_slow_fsync__recovery() -> Scenario:
    cp = plane()
    cp.go()
    cp.go(syncs={"etcd": Syncs(15, 30)})
    cp.go()
    return Scenario(cp.lab, why="a burst of a cloud's throttling", at_each=[[], [], [FSYNC], []], watched=[FSYNC])


# -- disk.slow_fsync ---------------------------------------------------------------------------------------------------


@scenario
def disk_slow_fsync__positive() -> Scenario:
    cp = plane(usual_syncs={"etcd": Syncs(15, 6), "postgres": Syncs(30, 5, "259:9")})
    cp.go()
    cp.go(syncs={"etcd": Syncs(15, 6), "postgres": Syncs(30, 60, "259:9")})
    return Scenario(
        cp.lab,
        why="a database on a disk of its own",
        expect=[Want(SLOW, nodes=["cp-1"], objects=["Device/cp-1/259:9"], stage="risk", says=["postgres"])],
        forbid=others(SLOW),
    )


@scenario
def disk_slow_fsync__near_miss() -> Scenario:
    cp = plane(usual_syncs={"etcd": Syncs(15, 6), "postgres": Syncs(30, 5, "259:9")})
    cp.go()
    cp.go(syncs={"etcd": Syncs(15, 6), "postgres": Syncs(0.05, 300, "259:9")})
    return Scenario(cp.lab, why="15 slow calls in five minutes are too few for a tail", forbid=ALL)


@scenario
def disk_slow_fsync__recovery() -> Scenario:
    usual = {"etcd": Syncs(15, 6), "postgres": Syncs(30, 5, "259:9")}
    cp = plane(usual_syncs=usual)
    cp.go()
    cp.go(syncs=usual | {"postgres": Syncs(30, 60, "259:9")})
    cp.go()
    return Scenario(cp.lab, why="the disk is fast again", at_each=[[], [], [SLOW], []], watched=[SLOW])


# -- disk.noisy_neighbour ----------------------------------------------------------------------------------------------

BACKUP = Syncs(40, 200)


@scenario
def disk_noisy_neighbour__positive() -> Scenario:
    cp = plane(usual_syncs={"etcd": Syncs(15, 6), "backup": Syncs(0.5, 8)})
    cp.go()
    cp.go(syncs={"etcd": Syncs(14, 40), "backup": BACKUP}, disk=Work(900, 12, 0.97))
    return Scenario(
        cp.lab,
        why="a backup on etcd's disk syncs eighty times as often as before; etcd does what it did",
        expect=[
            Want(NOISY, nodes=["cp-1"], objects=["Device/cp-1/259:0"], stage="risk", says=["backup"], count=1),
            Want(FSYNC, nodes=["cp-1"], stage="risk", caused_by=NOISY),
        ],
        forbid=others(NOISY, FSYNC),
    )


@scenario
def disk_noisy_neighbour__positive_one_that_is_new() -> Scenario:
    cp = plane()
    cp.go()
    cp.go(syncs={"etcd": Syncs(14, 40), "rsync": BACKUP}, disk=Work(900, 12, 0.97))
    return Scenario(
        cp.lab,
        why="it was not there before at all",
        expect=[Want(NOISY, says=["rsync"], stage="risk"), Want(FSYNC, stage="risk", caused_by=NOISY)],
        forbid=others(NOISY, FSYNC),
    )


@scenario
def disk_noisy_neighbour__positive_one_that_does_not_sync() -> Scenario:
    cp = plane()
    cp.go()
    cp.go(syncs={"etcd": Syncs(14, 40)}, disk=Work(900, 12, 0.97))
    return Scenario(
        cp.lab,
        why="the disk writes twenty times as much, of which etcd's syncs are a small part; who it is, is not told",
        expect=[
            Want(NOISY, stage="risk", says=["who else writes is not told"]),
            Want(FSYNC, stage="risk", caused_by=NOISY),
        ],
        forbid=others(NOISY, FSYNC),
    )


@scenario
def disk_noisy_neighbour__positive_the_whole_chain() -> Scenario:
    cp = plane(usual_syncs={"etcd": Syncs(15, 6), "backup": Syncs(0.5, 8)})
    cp.go()
    cp.go(slower=8, syncs={"etcd": Syncs(14, 220), "backup": BACKUP}, disk=Work(900, 12, 0.97))
    cp.lab.lease("kube-system/kube-controller-manager", "cp-1_a", renewed=-40, renews=False, seconds=15)
    return Scenario(
        cp.lab,
        why="backup, etcd's disk, API server, a leader that cannot renew its lease: one story",
        expect=[
            Want(NOISY, stage="active", says=["backup"]),
            Want(FSYNC, stage="active", severity="critical", caused_by=NOISY),
            Want(SATURATION, nodes=["cp-1"], caused_by=FSYNC),
            Want(RENEW, objects=["Lease/kube-system/kube-controller-manager"], caused_by=SATURATION),
        ],
        forbid=others(NOISY, FSYNC, SATURATION, RENEW),
    )


@scenario
def disk_noisy_neighbour__near_miss_it_was_always_there() -> Scenario:
    cp = plane(usual_syncs={"etcd": Syncs(15, 6), "backup": Syncs(30, 6)})
    cp.go()
    cp.go(syncs={"etcd": Syncs(14, 40), "backup": Syncs(30, 7)}, disk=Work(45, 0.12, 0.06))
    return Scenario(
        cp.lab, why="the neighbour does what it always did", expect=[Want(FSYNC, stage="risk")], forbid=[NOISY]
    )


@scenario
def disk_noisy_neighbour__near_miss_another_disk() -> Scenario:
    cp = plane(usual_syncs={"etcd": Syncs(15, 6), "backup": Syncs(0.5, 6, "8:16")})
    cp.go()
    cp.go(syncs={"etcd": Syncs(14, 40), "backup": Syncs(40, 7, "8:16")})
    return Scenario(cp.lab, why="it grew, elsewhere", expect=[Want(FSYNC, stage="risk")], forbid=[NOISY])


@scenario
def disk_noisy_neighbour__near_miss_the_device_is_throttled() -> Scenario:
    cp = plane()
    cp.go()
    cp.go(syncs={"etcd": Syncs(14, 40)}, disk=Work(38, 9, 0.99))
    return Scenario(
        cp.lab, why="it is busy all the time with no more writes", expect=[Want(FSYNC, stage="risk")], forbid=[NOISY]
    )


@scenario
def disk_noisy_neighbour__near_miss_etcd_itself() -> Scenario:
    cp = plane(usual_syncs={"etcd": Syncs(15, 6), "backup": Syncs(0.5, 8)})
    cp.go()
    cp.go(syncs={"etcd": Syncs(90, 40), "backup": BACKUP}, disk=Work(900, 12, 0.97))
    return Scenario(
        cp.lab,
        why="etcd's own calls are six times as many",
        expect=[Want(FSYNC, stage="risk")],
        forbid=[NOISY],
        allow=[SLOW],
    )


@scenario
def disk_noisy_neighbour__near_miss_it_came_later() -> Scenario:
    usual = {"etcd": Syncs(15, 6), "backup": Syncs(0.5, 8)}
    cp = plane(usual_syncs=usual)
    cp.go()
    cp.go(syncs=usual | {"etcd": Syncs(15, 40)})
    cp.go(syncs={"etcd": Syncs(15, 40), "backup": BACKUP}, disk=Work(900, 12, 0.97))
    return Scenario(
        cp.lab,
        why="etcd was slow five minutes before the neighbour began",
        expect=[Want(FSYNC, stage="risk")],
        forbid=[NOISY],
        allow=[SLOW],
    )


@scenario
def disk_noisy_neighbour__recovery() -> Scenario:
    cp = plane(usual_syncs={"etcd": Syncs(15, 6), "backup": Syncs(0.5, 8)})
    cp.go()
    cp.go(syncs={"etcd": Syncs(14, 40), "backup": BACKUP}, disk=Work(900, 12, 0.97))
    cp.go()
    return Scenario(cp.lab, why="the backup is done", at_each=[[], [], [NOISY, FSYNC], []], watched=[NOISY, FSYNC])


# -- cp.saturation -----------------------------------------------------------------------------------------------------


@scenario
def cp_saturation__positive() -> Scenario:
    cp = plane()
    cp.go()
    cp.go(slower=6, syncs=SLOW_ETCD, load=0.97)
    return Scenario(
        cp.lab,
        why="etcd's fsyncs, and with them each verb; requests are flat",
        expect=[
            Want(FSYNC, nodes=["cp-1"], stage="active", severity="critical"),
            Want(SATURATION, caused_by=FSYNC, says=["3 % fewer than usual"]),
        ],
        forbid=others(FSYNC, SATURATION),
    )


@scenario
def cp_saturation__positive_managed() -> Scenario:
    cp = plane(host="")
    cp.go()
    cp.go(slower=6, etcd=10)
    return Scenario(
        cp.lab,
        why="no etcd to be seen: the API server's own calls of it tell",
        expect=[Want(SATURATION, says=["etcd itself cannot be seen"])],
        forbid=others(SATURATION),
    )


@scenario
def cp_saturation__positive_of_two_snapshots() -> Scenario:
    cp = plane()
    cp.go(slower=6, syncs=SLOW_ETCD)
    return Scenario(
        cp.lab,
        why="what the counters say of the time before the first snapshot is the past",
        expect=[Want(FSYNC, stage="active", severity="critical"), Want(SATURATION, caused_by=FSYNC)],
        forbid=others(FSYNC, SATURATION),
    )


@scenario
def cp_saturation__near_miss_traffic() -> Scenario:
    cp = plane()
    cp.go()
    cp.go(slower=4, etcd=1, more={("LIST", "secrets"): (85, 600)})
    return Scenario(cp.lab, why="an application lists", expect=[Want(SURGE)], forbid=others(SURGE))


@scenario
def cp_saturation__near_miss_always_slow() -> Scenario:
    cp = plane(pace=30)
    for _ in range(3):
        cp.go()
    return Scenario(cp.lab, why="750 ms, as in the quarter of an hour before", forbid=ALL)


@scenario
def cp_saturation__near_miss_nothing_is_known_of_the_past() -> Scenario:
    cp = plane(past_s=120)
    cp.go(60, slower=6, syncs=SLOW_ETCD)
    return Scenario(
        cp.lab,
        why="the API server began two minutes ago: nothing to compare with",
        expect=[Want(FSYNC, stage="risk", severity="critical")],
        forbid=others(FSYNC),
    )


@scenario
def cp_saturation__near_miss_a_member_that_nobody_waits_for() -> Scenario:
    cp = plane()
    cp.go()
    cp.go(slower=6, etcd=1, syncs={"etcd": Syncs(15, 14)})
    return Scenario(
        cp.lab,
        why="one member's fsyncs take 14 ms, and the API server's own calls of etcd are as fast as ever",
        expect=[Want(LATENCY, says=["without traffic"]), Want(FSYNC, stage="risk")],
        forbid=others(LATENCY, FSYNC),
    )


@scenario
def cp_saturation__recovery() -> Scenario:
    cp = plane()
    cp.go()
    cp.go(slower=6, syncs=SLOW_ETCD)
    cp.go(slower=6, syncs=SLOW_ETCD)
    cp.go()
    both = [FSYNC, SATURATION]
    return Scenario(cp.lab, why="ten minutes of it", at_each=[[], [], both, both, []], watched=both)


# -- cp.apiserver_latency ----------------------------------------------------------------------------------------------


@scenario
def cp_apiserver_latency__positive() -> Scenario:
    cp = plane()
    cp.go()
    cp.go(slower=5, etcd=1)
    return Scenario(
        cp.lab,
        why="slow without traffic, etcd's fsyncs as fast as ever: the API server's own CPU, or the network to etcd",
        expect=[Want(LATENCY, says=["without traffic"])],
        forbid=others(LATENCY),
    )


@scenario
def cp_apiserver_latency__positive_lists_alone() -> Scenario:
    cp = plane()
    cp.levels['apiserver_storage_objects{resource="secrets"}'] = 210_000
    cp.go()
    cp.go(slower=5, etcd=1, only=("LIST",))
    return Scenario(
        cp.lab, why="lists have become long", expect=[Want(LATENCY, says=["210,000 secrets"])], forbid=others(LATENCY)
    )


@scenario
def cp_apiserver_latency__near_miss_long_running() -> Scenario:
    cp = plane()
    cp.go()
    cp.go(more={("CONNECT", "pods"): (2, 30_000), ("WATCH", "nodes"): (5, 60_000)})
    return Scenario(cp.lab, why="shells and watches last as long as somebody listens", forbid=ALL)


@scenario
def cp_apiserver_latency__near_miss_too_small_to_notice() -> Scenario:
    cp = plane(pace=0.1)
    cp.go()
    cp.go(slower=4)
    return Scenario(cp.lab, why="four times as slow is 16 ms", forbid=ALL)


@scenario
def cp_apiserver_latency__near_miss_less_than_doubled() -> Scenario:
    cp = plane()
    cp.go()
    cp.go(slower=1.4)
    return Scenario(cp.lab, why="half as slow again is an ordinary day", forbid=ALL)


@scenario
def cp_apiserver_latency__near_miss_too_few_calls() -> Scenario:
    cp = plane()
    cp.go(10)
    cp.go(10, more={("DELETE", "pods"): (1.0, 900)})
    return Scenario(cp.lab, why="ten calls of a verb say nothing of its tail", forbid=ALL)


@scenario
def cp_apiserver_latency__recovery() -> Scenario:
    cp = plane()
    cp.go()
    cp.go(slower=5, etcd=1)
    cp.go()
    return Scenario(cp.lab, why="it is over", at_each=[[], [], [LATENCY], []], watched=[LATENCY])


# -- cp.api_traffic_surge ----------------------------------------------------------------------------------------------

LISTING = {("LIST", "secrets"): (85.0, 600.0)}


@scenario
def cp_api_traffic_surge__positive() -> Scenario:
    cp = plane()
    cp.go()
    cp.go(slower=3, etcd=1, load=1.1, more=LISTING)
    return Scenario(
        cp.lab,
        why="requests have quadrupled, LIST secrets most of all; etcd's disk is as fast as ever",
        expect=[Want(SURGE, says=["LIST secrets"])],
        forbid=others(SURGE),
    )


@scenario
def cp_api_traffic_surge__positive_of_one_verb() -> Scenario:
    cp = plane()
    cp.go()
    cp.go(more={("LIST", "configmaps"): (2.0, 2500.0)})
    return Scenario(
        cp.lab,
        why="two lists a second are a tenth of all requests, and four times the lists there were",
        expect=[Want(SURGE, says=["LIST configmaps"])],
        forbid=others(SURGE),
    )


@scenario
def cp_api_traffic_surge__near_miss_etcd() -> Scenario:
    cp = plane()
    cp.go()
    cp.go(slower=5, load=1.1, syncs=SLOW_ETCD)
    return Scenario(
        cp.lab,
        why="a tenth more requests, for retries, and a disk that is slow",
        expect=[Want(SATURATION, caused_by=FSYNC), Want(FSYNC, severity="critical")],
        forbid=[SURGE],
    )


@scenario
def cp_api_traffic_surge__near_miss_it_copes() -> Scenario:
    cp = plane()
    cp.go()
    cp.go(load=4)
    return Scenario(cp.lab, why="four times the requests, answered as fast as ever", forbid=ALL)


@scenario
def cp_api_traffic_surge__recovery() -> Scenario:
    cp = plane()
    cp.go()
    cp.go(slower=3, etcd=1, more=LISTING)
    cp.go()
    return Scenario(cp.lab, why="the client backs off", at_each=[[], [], [SURGE], []], watched=[SURGE])


# -- cp.webhook_timeout ------------------------------------------------------------------------------------------------

WRITES = ("POST", "PUT", "PATCH")


@scenario
def cp_webhook_timeout__positive() -> Scenario:
    cp = plane()
    cp.go(webhooks={HOOK: (13, 10)})
    cp.go(slower=20, only=WRITES, etcd=1, webhooks={HOOK: (13, 600)})
    return Scenario(
        cp.lab,
        why="writes are slow, reads are not, and a webhook takes as long for as many",
        expect=[Want(WEBHOOK, objects=[f"Webhook/{HOOK}"], says=[HOOK])],
        forbid=others(WEBHOOK),
    )


@scenario
def cp_webhook_timeout__positive_it_does_not_answer() -> Scenario:
    cp = plane()
    failures = f'apiserver_admission_webhook_rejection_count{{error_type="calling_webhook_error",name="{HOOK}"}}'
    cp.go(counters={failures: 0})
    cp.go(counters={failures: 40})
    return Scenario(
        cp.lab,
        why="40 requests were refused for it",
        expect=[Want(WEBHOOK, says=["40 requests"])],
        forbid=others(WEBHOOK),
    )


@scenario
def cp_webhook_timeout__near_miss_etcd() -> Scenario:
    cp = plane()
    cp.go(webhooks={HOOK: (13, 10)})
    cp.go(slower=8, syncs=SLOW_ETCD, webhooks={HOOK: (13, 12)})
    return Scenario(
        cp.lab,
        why="reads are slow too, and the webhook is not",
        expect=[Want(SATURATION, caused_by=FSYNC), Want(FSYNC, severity="critical")],
        forbid=[WEBHOOK],
    )


@scenario
def cp_webhook_timeout__near_miss_a_slow_one_that_is_hardly_called() -> Scenario:
    cp = plane()
    cp.go(webhooks={HOOK: (0.1, 10)})
    cp.go(slower=20, only=WRITES, etcd=1, webhooks={HOOK: (0.1, 900)})
    return Scenario(
        cp.lab,
        why="30 calls do not make 4,000 writes slow",
        expect=[Want(LATENCY)],
        forbid=[WEBHOOK, SATURATION, SURGE],
    )


@scenario
def cp_webhook_timeout__near_miss_it_refuses() -> Scenario:
    cp = plane()
    refusals = f'apiserver_admission_webhook_rejection_count{{error_type="no_error",name="{HOOK}"}}'
    cp.go(counters={refusals: 0})
    cp.go(counters={refusals: 400})
    return Scenario(cp.lab, why="to refuse is its work", forbid=ALL)


@scenario
def cp_webhook_timeout__recovery() -> Scenario:
    cp = plane()
    cp.go(webhooks={HOOK: (13, 10)})
    cp.go(slower=20, only=WRITES, etcd=1, webhooks={HOOK: (13, 600)})
    cp.go(webhooks={HOOK: (13, 10)})
    return Scenario(cp.lab, why="it was scaled up", at_each=[[], [], [WEBHOOK], []], watched=[WEBHOOK])


# -- cp.apf_throttled --------------------------------------------------------------------------------------------------


@scenario
def cp_apf_throttled__positive() -> Scenario:
    cp = plane()
    cp.go(counters={REJECTED: 3})
    cp.go(counters={REJECTED: 900})
    return Scenario(
        cp.lab,
        why="900 requests were turned away",
        expect=[Want(THROTTLED, says=["global-default", "queue-full", "900 requests"])],
        forbid=others(THROTTLED),
    )


@scenario
def cp_apf_throttled__positive_with_the_traffic_that_fills_it() -> Scenario:
    cp = plane()
    cp.go(counters={REJECTED: 3}, queues={"global-default": (20, 1)})
    cp.go(counters={REJECTED: 3}, queues={"global-default": (20, 1)})
    cp.go(slower=3, etcd=1, more=LISTING, counters={REJECTED: 900}, queues={"global-default": (90, 3000)})
    return Scenario(
        cp.lab,
        why="the surge explains the queue",
        expect=[Want(SURGE), Want(THROTTLED, caused_by=SURGE, says=["lets requests wait"])],
        forbid=others(SURGE, THROTTLED),
    )


@scenario
def cp_apf_throttled__near_miss() -> Scenario:
    cp = plane()
    cp.levels['apiserver_flowcontrol_current_executing_seats{flow_schema="a",priority_level="workload-low"}'] = 245
    cp.levels['apiserver_flowcontrol_current_limit_seats{priority_level="workload-low"}'] = 245
    cp.go(counters={REJECTED: 3000}, queues={"workload-low": (20, 1)})
    cp.go(counters={REJECTED: 2}, queues={"workload-low": (20, 40)})
    return Scenario(cp.lab, why="seats in use are not requests that wait; 3,000 rejections were before", forbid=ALL)


@scenario
def cp_apf_throttled__recovery() -> Scenario:
    cp = plane()
    cp.go(counters={REJECTED: 3})
    cp.go(counters={REJECTED: 900})
    cp.go()
    return Scenario(cp.lab, why="nobody is turned away", at_each=[[], [], [THROTTLED], []], watched=[THROTTLED])


# -- cp.apiserver_timeout ----------------------------------------------------------------------------------------------


@scenario
def cp_apiserver_timeout__positive() -> Scenario:
    cp = plane()
    cp.go()
    cp.go(failed={("GET", "pods", "504"): 1.5, ("PUT", "leases", "500"): 0.4})
    return Scenario(
        cp.lab, why="7 % fail", expect=[Want(TIMEOUT, says=["GET pods (504: 450)"])], forbid=others(TIMEOUT)
    )


@scenario
def cp_apiserver_timeout__near_miss() -> Scenario:
    cp = plane()
    cp.go()
    cp.go(failed={("GET", "pods", "404"): 9, ("POST", "pods", "429"): 3, ("GET", "leases", "500"): 0.1})
    return Scenario(cp.lab, why="4xx are the clients' own; 0.3 % of 5xx", forbid=ALL)


@scenario
def cp_apiserver_timeout__near_miss_another_server_behind_it() -> Scenario:
    cp = plane()
    name = 'apiserver_request_total{code="503",group="metrics.k8s.io",resource="pods",verb="LIST"}'
    cp.go(counters={name: 10})
    cp.go(counters={name: 600})
    return Scenario(cp.lab, why="the metrics server is down, not the API server", forbid=ALL)


@scenario
def cp_apiserver_timeout__near_miss_shells_into_pods_that_are_gone() -> Scenario:
    cp = plane()
    cp.go()
    cp.go(failed={("CONNECT", "pods", "500"): 2})
    return Scenario(cp.lab, why="exec fails where there is nothing to execute in", forbid=ALL)


@scenario
def cp_apiserver_timeout__recovery() -> Scenario:
    cp = plane()
    cp.go()
    cp.go(failed={("GET", "pods", "504"): 1.5})
    cp.go()
    return Scenario(cp.lab, why="it answers again", at_each=[[], [], [TIMEOUT], []], watched=[TIMEOUT])


# -- cp.lease_renew_failed ---------------------------------------------------------------------------------------------

MANAGER = "kube-system/kube-controller-manager"


@scenario
def cp_lease_renew_failed__positive() -> Scenario:
    cp = plane()
    cp.go()
    cp.lab.lease(MANAGER, "cp-1_a", renewed=-42, renews=False, seconds=15)
    return Scenario(
        cp.lab,
        why="the controller manager's lease of 15 s is 42 s old; nothing looks broken yet",
        expect=[Want(RENEW, objects=[f"Lease/{MANAGER}"], says=["cp-1_a", "42 s ago"], count=1)],
        forbid=others(RENEW),
    )


@scenario
def cp_lease_renew_failed__positive_nodes() -> Scenario:
    cp = plane()
    cp.go()
    for name in ("n1", "n2"):
        cp.lab.lease(f"kube-node-lease/{name}", name, renewed=-27, renews=False, seconds=40)
    return Scenario(
        cp.lab,
        why="two of four kubelets have missed a renewal or two, and their nodes' agents are alive",
        expect=[Want(RENEW, objects=["Lease/kube-node-lease/n1", "Lease/kube-node-lease/n2"], says=["2 of 4"])],
        forbid=others(RENEW),
    )


@scenario
def cp_lease_renew_failed__near_miss_one_kubelet() -> Scenario:
    cp = plane()
    cp.go()
    cp.lab.lease("kube-node-lease/n1", "n1", renewed=-27, renews=False, seconds=40)
    return Scenario(cp.lab, why="a single kubelet is its own matter", forbid=ALL)


@scenario
def cp_lease_renew_failed__near_miss_nodes_that_are_cut_off() -> Scenario:
    cp = plane()
    cp.go()
    for name in ("n1", "n2"):
        cp.lab.lease(f"kube-node-lease/{name}", name, renewed=-200, renews=False, seconds=40)
        cp.lab.hosts[name].silent = True
    return Scenario(cp.lab, why="their agents are silent too", forbid=ALL)


@scenario
def cp_lease_renew_failed__near_miss_what_is_gone_or_leads_nothing() -> Scenario:
    cp = plane()
    cp.go()
    cp.lab.lease("kube-system/old-operator", "old-operator-7d4f_x", renewed=-7200, renews=False, seconds=15)
    cp.lab.lease("kube-system/apiserver-wlv32t", "apiserver-wlv32t_y", renewed=-900, renews=False, seconds=3600)
    cp.lab.lease("kube-system/cloud-controller-manager", "x_y", renewed=-90_000, renews=False, seconds=15)
    return Scenario(
        cp.lab, why="an operator that was removed, an API server's own lease, a component gone for a day", forbid=ALL
    )


@scenario
def cp_lease_renew_failed__recovery() -> Scenario:
    cp = plane()
    cp.go(60)
    cp.lab.lease(MANAGER, "cp-1_a", renewed=-42, renews=False, seconds=15)
    cp.go(60)
    cp.lab.lease(MANAGER, "cp-1_b", renewed=-1, seconds=15, transitions=2)
    return Scenario(cp.lab, why="another leads", at_each=[[], [RENEW], []], watched=[RENEW])


# -- cp.leader_lost ----------------------------------------------------------------------------------------------------


@scenario
def cp_leader_lost__positive() -> Scenario:
    cp = plane()
    for transitions in (4, 5, 6, 7):
        cp.lab.lease(MANAGER, f"cp-{transitions % 3}_a", renewed=-1, seconds=15, transitions=transitions)
        cp.go(200)
    return Scenario(
        cp.lab,
        why="three changes in ten minutes",
        expect=[Want(LEADER, objects=[f"Lease/{MANAGER}"], says=["3 times"])],
        forbid=others(LEADER),
    )


@scenario
def cp_leader_lost__positive_etcd() -> Scenario:
    cp = plane()
    cp.go()
    cp.etcd_levels["etcd_server_leader_changes_seen_total"] += 5
    cp.go()
    return Scenario(
        cp.lab, why="etcd's own", expect=[Want(LEADER, nodes=["cp-1"], says=["5 times"])], forbid=others(LEADER)
    )


@scenario
def cp_leader_lost__positive_etcd_has_none() -> Scenario:
    cp = plane()
    cp.go()
    cp.etcd_levels["etcd_server_has_leader"] = 0
    cp.go()
    return Scenario(
        cp.lab, why="no writes", expect=[Want(LEADER, nodes=["cp-1"], severity="critical")], forbid=others(LEADER)
    )


@scenario
def cp_leader_lost__near_miss() -> Scenario:
    cp = plane()
    for transitions in (400, 401, 401, 402):
        cp.lab.lease(MANAGER, f"cp-{transitions % 3}_a", renewed=-1, seconds=15, transitions=transitions)
        cp.go(200)
    return Scenario(cp.lab, why="400 in all, two of late: a roll-out", forbid=ALL)


@scenario
def cp_leader_lost__recovery() -> Scenario:
    cp = plane()
    cp.go()
    cp.etcd_levels["etcd_server_has_leader"] = 0
    cp.go()
    cp.etcd_levels["etcd_server_has_leader"] = 1
    cp.etcd_levels["etcd_server_leader_changes_seen_total"] += 1
    cp.go()
    return Scenario(cp.lab, why="one was elected", at_each=[[], [], [LEADER], []], watched=[LEADER])


# -- cp.no_space -------------------------------------------------------------------------------------------------------

SIZE, IN_USE = "etcd_mvcc_db_total_size_in_bytes", "etcd_mvcc_db_total_size_in_use_in_bytes"


@scenario
def cp_no_space__positive() -> Scenario:
    cp = plane()
    cp.go()
    cp.etcd_levels |= {SIZE: 1.8e9, IN_USE: 0.3e9}
    cp.go()
    return Scenario(
        cp.lab,
        why="84 % of 2 GiB, most of it empty inside",
        expect=[Want(SPACE, nodes=["cp-1"], stage="risk", says=["84 %", "efragment"])],
        forbid=others(SPACE),
    )


@scenario
def cp_no_space__positive_full() -> Scenario:
    cp = plane()
    cp.go()
    cp.etcd_levels |= {SIZE: 2.2e9, IN_USE: 2.1e9}
    cp.go()
    return Scenario(
        cp.lab, why="over the quota", expect=[Want(SPACE, stage="active", severity="critical")], forbid=others(SPACE)
    )


@scenario
def cp_no_space__positive_by_the_api_server() -> Scenario:
    cp = plane(host="")
    for size in (5.0e9, 7.0e9, 7.4e9):
        cp.levels["apiserver_storage_size_bytes"] = size
        cp.go()
    return Scenario(
        cp.lab,
        why="near what any etcd takes",
        expect=[Want(SPACE, stage="risk", says=["cannot be seen"])],
        forbid=others(SPACE),
    )


@scenario
def cp_no_space__near_miss() -> Scenario:
    cp = plane()
    cp.etcd_levels |= {SIZE: 3.0e9, IN_USE: 0.2e9, "etcd_server_quota_backend_bytes": 8 << 30}
    cp.levels["apiserver_storage_size_bytes"] = 3.0e9
    cp.go()
    return Scenario(cp.lab, why="large, empty inside, and far from its quota of 8 GiB", forbid=ALL)


@scenario
def cp_no_space__recovery() -> Scenario:
    cp = plane()
    cp.go()
    cp.etcd_levels |= {SIZE: 2.2e9, IN_USE: 0.4e9}
    cp.go()
    cp.etcd_levels |= {SIZE: 0.4e9}
    cp.go()
    return Scenario(cp.lab, why="it was defragmented", at_each=[[], [], [SPACE], []], watched=[SPACE])


SCENARIOS = of_module(__name__)


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str) -> None:
    judge(SCENARIOS[name](), by_word=True)


def test_each_code_has_all_three() -> None:
    assert not lacking(CODES, SCENARIOS)
