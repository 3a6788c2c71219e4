"""An API server's objects that come and go all the time, handed on as lists and watches bring them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from aggregator.cluster.intake import ClusterSink
from bench.cluster_objects import Size, pages

Json = dict[str, Any]
_LEASES = "leases/kube-node-lease"
EVENT_TTL_S = 3_600.0
"""What happened so long ago, an API server forgets."""


class Objects:
    """What the API server has, in the form it sends it."""

    def __init__(self, size: Size, sink: ClusterSink) -> None:
        self._sink = sink
        self.at = 0.0
        self._made = 0
        self._events: dict[str, float] = {}
        """When each was last seen, by key."""
        self.kept: dict[str, dict[str, bytes]] = {}
        """JSON by resource and key."""
        for line in pages(size):
            page = msgspec.json.decode(line)
            for item in page["items"]:
                self._keep(page["resource"], item)
        self.list_all()

    @property
    def nodes(self) -> list[str]:
        """Names, in the order in which they came."""
        return list(self.kept["nodes"])

    def list_all(self) -> None:
        """Every resource is listed anew, as after a watch that was lost."""
        for resource, objects in self.kept.items():
            listing = self._sink.begin(resource)
            items = [msgspec.Raw(text) for text in objects.values()]
            for begin in range(0, len(items), 500):
                listing.page(items[begin : begin + 500])
            listing.done()

    def replace_pods(self, count: int) -> None:
        """The pods that are there longest go; others like them come."""
        for key in list(self.kept["pods"])[:count]:
            pod = self._drop("pods", key)
            self._put("pods", self._another(pod))

    def crash(self, count: int) -> list[str]:
        """The pods that came last are in a crash loop; their keys."""
        keys = list(self.kept["pods"])[-count:]
        for key in keys:
            pod = self._object("pods", key)
            waiting = {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container"}
            ended = {"exitCode": 1, "reason": "Error", "finishedAt": self._stamp(-20), "startedAt": self._stamp(-25)}
            for status in pod["status"]["containerStatuses"]:
                status |= {"restartCount": 9, "ready": False, "state": {"waiting": waiting}}
                status["lastState"] = {"terminated": ended}
            self._put("pods", pod)
        return keys

    def recover(self, keys: list[str]) -> None:
        """Those go, and others come that run."""
        for key in keys:
            if key in self.kept["pods"]:
                pod = self._drop("pods", key)
                for status in pod["status"]["containerStatuses"]:
                    status |= {"restartCount": 0, "ready": True, "lastState": {}}
                    status["state"] = {"running": {"startedAt": self._stamp(0)}}
                self._put("pods", self._another(pod))

    def ready(self, node: str, ready: bool) -> None:
        """Whether the node's kubelet reports."""
        found = self._object("nodes", node)
        for condition in found["status"]["conditions"]:
            if condition["type"] == "Ready":
                condition |= {"status": "True" if ready else "Unknown", "lastTransitionTime": self._stamp(0)}
        self._put("nodes", found)

    def replace_node(self, name: str, by: str) -> None:
        """A node leaves, another joins."""
        for resource, key in (("nodes", name), ("csinodes", name), (_LEASES, f"kube-node-lease/{name}")):
            gone = self._drop(resource, key)
            text = json.dumps(gone).replace(name, by)
            self._put(resource, self._renewed(json.loads(text)))

    def renew_leases(self) -> None:
        """As kubelets and controllers do."""
        for resource in (_LEASES, "leases/kube-system"):
            for key in list(self.kept[resource]):
                lease = self._object(resource, key)
                lease["spec"]["renewTime"] = self._stamp(0)
                self._put(resource, lease)

    def warn(self, count: int) -> None:
        """So many warnings, of which the API server forgets the oldest."""
        template = json.loads(next(iter(self.kept["events"].values())))
        for _ in range(count):
            warning = self._another(template)
            warning |= {"type": "Warning", "reason": "FailedScheduling", "message": "0/20 nodes are available"}
            warning |= {"firstTimestamp": self._stamp(0), "lastTimestamp": self._stamp(0)}
            self._events[self._put("events", warning)] = self.at
        for key in [key for key, at in self._events.items() if at < self.at - EVENT_TTL_S]:
            del self._events[key]
            self._drop("events", key)

    # -- one by one ------------------------------------------------------------------------------------------------

    def _stamp(self, seconds: float) -> str:
        return datetime.fromtimestamp(self.at + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def _object(self, resource: str, key: str) -> Json:
        found: Json = json.loads(self.kept[resource][key])
        return self._renewed(found)

    def _renewed(self, item: Json) -> Json:
        self._made += 1
        item["metadata"]["resourceVersion"] = str(50_000_000 + self._made)
        return item

    def _another(self, like: Json) -> Json:
        """One that differs in name and identity."""
        other = self._renewed(json.loads(json.dumps(like)))
        name = f"soak-{self._made:08x}"
        other["metadata"] |= {"name": name, "uid": f"00000000-0000-4000-8000-{self._made:012x}"}
        return other

    def _keep(self, resource: str, item: Json) -> str:
        namespace = item["metadata"].get("namespace", "")
        key = f"{namespace}/{item['metadata']['name']}" if namespace else item["metadata"]["name"]
        self.kept.setdefault(resource, {})[key] = json.dumps(item).encode()
        return key

    def _put(self, resource: str, item: Json) -> str:
        key = self._keep(resource, item)
        self._sink.put(resource, msgspec.Raw(self.kept[resource][key]))
        return key

    def _drop(self, resource: str, key: str) -> Json:
        text = self.kept[resource].pop(key)
        self._sink.drop(resource, msgspec.Raw(text))
        dropped: Json = json.loads(text)
        return dropped

    def sizes(self) -> Iterator[tuple[str, int]]:
        """How many there are of each resource."""
        for resource, objects in self.kept.items():
            yield resource, len(objects)
