"""What is kept between evaluations says what an evaluation from scratch would say, whatever happened in between."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from nodetell.v1 import agent_pb2
from nodetell.v1 import facts_pb2 as pb

from aggregator.cluster.objects import Attachment, Claim, Condition, NodeObject, Pod, PodClaim, PodSpec, Volume
from aggregator.cluster.state import JOURNAL, RESOURCES, ClusterState
from aggregator.node_state import NodeState
from aggregator.signatures import storage_gravity
from aggregator.signatures.storage.watchlist import Watchlist
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView

NODES, VOLUMES = ("n0", "n1", "n2"), 4
START = 1_790_000_000.0
DRIVER = "ebs.csi.aws.com"
_SPEC = PodSpec()


class Story:
    """Three nodes, four volumes, and what happens to them."""

    def __init__(self) -> None:
        self.now = START
        self.objects = ClusterState()
        for resource in RESOURCES:
            self.objects.set_known(resource, known=True)
        self.hosts = {name: NodeState(name) for name in NODES}
        for name in NODES:
            self.node(name, 0)
            self.host(name, 0)
        for number in range(VOLUMES):
            key, name = f"db/c{number}", f"pv{number}"
            self.objects.keep("persistentvolumeclaims", key, Claim("db", f"c{number}", phase="Bound", volume=name))
            handle = f"vol-0{number:016x}"
            modes = ("ReadWriteOnce",)
            self.objects.keep(
                "persistentvolumes",
                name,
                Volume(name, claim=key, source="csi", driver=DRIVER, handle=handle, access_modes=modes, phase="Bound"),
            )

    def node(self, name: str, seed: int) -> None:
        status = ("True", "Unknown", "False")[seed % 3]
        there = NodeObject(name, conditions=(Condition("Ready", status, since=self.now - 500),))
        self.objects.keep("nodes", name, None if seed % 7 == 6 else there)

    def pod(self, name: str, seed: int) -> None:
        key = f"db/p{seed % 3}"
        phase = ("Running", "Pending")[seed // 3 % 2]
        claims = (PodClaim("data", f"c{seed % VOLUMES}"),)
        made = Pod("db", f"p{seed % 3}", _SPEC, uid=f"u{seed % 3}", node=name, claims=claims, phase=phase)
        waits = self.now - seed % 1200
        there = Pod(**{field: getattr(made, field) for field in made.__struct_fields__} | {"created": waits})
        self.objects.keep("pods", key, None if seed % 5 == 4 else there)

    def attachment(self, name: str, seed: int) -> None:
        volume = f"pv{seed % VOLUMES}"
        key = f"{volume}-{name}"
        made = Attachment(
            key,
            attacher=DRIVER,
            node=name,
            volume=volume,
            attached=seed % 3 > 0,
            created=self.now - 600,
            deleted=self.now - 300 if seed % 4 == 3 else 0.0,
        )
        self.objects.keep("volumeattachments", key, None if seed % 5 == 4 else made)

    def host(self, name: str, seed: int) -> None:
        state = self.hosts[name]
        update = agent_pb2.Update(full=True, at_unix_ms=round(self.now * 1000))
        if seed % 4:
            handle = f"vol-0{seed % VOLUMES:016x}"
            disk = pb.DeviceIdentity(dev="259:8", name="nvme1n1", serial=handle.replace("-", ""))
            use = (pb.DEVICE_USE_MOUNTED, pb.DEVICE_USE_UNUSED)[seed % 2]
            update.items.append(pb.Item(key="device/259:8", attached_device=pb.AttachedDevice(identity=disk, use=use)))
            mounted = pb.Volume(
                pod_uid=f"u{seed % 3}" if seed % 2 else "",
                volume_name=f"pv{seed % VOLUMES}",
                driver=DRIVER,
                volume_handle=handle,
                path=f"/p/{seed}",
                mounted=True,
                dev="259:8",
                attached=seed % 5 > 0,
                fs_read_only=seed % 6 == 0,
                fs_type="ext4",
            )
            update.items.append(pb.Item(key="volume/x", volume=mounted))
        update.items.append(
            pb.Item(key="source/devices", signal_source=pb.SignalSource(signal="devices", source="/sys/block"))
        )
        state.apply(update)

    def findings(self, *, anew: bool) -> list[object]:
        """All of them, with what was kept or without."""
        objects = self.objects
        if anew:
            objects = ClusterState()
            for resource in RESOURCES:
                objects.set_known(resource, known=True)
            for resource, things in (
                ("nodes", self.objects.nodes),
                ("pods", self.objects.pods),
                ("persistentvolumeclaims", self.objects.claims),
                ("persistentvolumes", self.objects.volumes),
                ("volumeattachments", self.objects.attachments),
            ):
                for key, thing in things.items():
                    objects.keep(resource, key, thing)
        view = ClusterView("test", self.hosts, objects, self.now)
        return list(storage_gravity.evaluate(view, Thresholds()).findings)


STEPS = st.lists(
    st.tuples(st.sampled_from(("node", "pod", "attachment", "host")), st.sampled_from(NODES), st.integers(0, 2000)),
    min_size=1,
    max_size=25,
)


@settings(max_examples=60)
@given(STEPS)
def test_kept_is_as_good_as_new(steps: list[tuple[str, str, int]]) -> None:
    story = Story()
    for what, name, seed in steps:
        getattr(story, what)(name, seed)
        story.now += seed % 50
        assert story.findings(anew=False) == story.findings(anew=True)


def test_the_steps_make_findings() -> None:
    """So that the test above compares something."""
    story, chance, codes = Story(), random.Random(4), set()  # noqa: S311  # any sequence will do
    for _ in range(300):
        what = chance.choice(("node", "pod", "attachment", "host"))
        getattr(story, what)(chance.choice(NODES), chance.randrange(2000))
        codes |= {finding.code for finding in story.findings(anew=False)}  # type: ignore[attr-defined]
    assert codes >= {
        "storage.multi_attach",
        "storage.stale_attachment",
        "storage.detach_stuck",
        "storage.attach_timeout",
        "storage.orphaned_device",
        "storage.io_error_readonly",
    }


def test_a_watchlist_begins_anew_where_too_much_has_happened() -> None:
    watched: Watchlist[NodeObject] = Watchlist(
        "test", "nodes", NodeObject, lambda objects: objects.nodes, lambda node: node.unschedulable
    )
    objects = ClusterState()
    objects.keep("nodes", "a", NodeObject("a", unschedulable=True))
    assert set(watched.of(objects)) == {"a"}
    objects.keep("nodes", "b", NodeObject("b", unschedulable=True))
    objects.keep("nodes", "a", NodeObject("a"))
    assert set(watched.of(objects)) == {"b"}
    objects.keep("nodes", "b", None)
    for number in range(JOURNAL + 1):
        objects.keep("nodes", "c", NodeObject("c", unschedulable=True, provider_id=str(number)))
    assert objects.changes(3) is None
    assert set(watched.of(objects)) == {"c"}
