"""The classify command, in each format it reads, and with input that is damaged, endless or none."""

from __future__ import annotations

import io
import json
import subprocess
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.messages import Classification, Message
from cli import classify
from cli.messages_describe import read_kubectl_text
from cli.messages_json import Entry, read_document
from cli.terminal import Look
from tests.cli.conftest import COMMAND, Run, environment

FULL = "0/3 nodes are available: 3 Insufficient cpu."
MULTI = 'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) db-0'


def event(reason: str, message: str, kind: str = "Pod", name: str = "web-0") -> dict[str, object]:
    """A core/v1 event as the API server returns it, with what matters here."""
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{name}.1", "namespace": "shop", "managedFields": [{"manager": "kubelet"}]},
        "involvedObject": {"kind": kind, "namespace": "shop", "name": name},
        "reason": reason,
        "message": message,
    }


EVENTS = [event("FailedScheduling", FULL), event("FailedAttachVolume", MULTI, name="db-1"), event("Pulled", "ok")]
LABELS = ["sched.insufficient_resources", "storage.multi_attach", "no fault"]


def answers(run: Run, text: str | bytes, path: Path) -> list[dict[str, object]]:
    """What is printed for a file with this text."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    done = run("classify", path, "--format", "json")
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def read(text: str) -> tuple[list[Entry], list[str]]:
    """The entries of a text, and what was said of it."""
    problems: list[str] = []
    found = list(read_document(io.StringIO(text), lambda line, problem: problems.append(f"{line}: {problem}")))
    return found, problems


LIST = {"apiVersion": "v1", "items": EVENTS, "kind": "List", "metadata": {"resourceVersion": ""}}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(LIST, indent=4),
        json.dumps(LIST),
        json.dumps(LIST, separators=(",", ":")),
        json.dumps(dict(reversed(LIST.items())), indent=2),
        json.dumps(EVENTS, indent=2),
        "\n".join(json.dumps(each) for each in EVENTS),
        "\r\n\r\n".join(json.dumps(each) for each in EVENTS) + "\r\n",
        "".join(json.dumps(each, indent=4) + "\n" for each in EVENTS),
        "\n".join(json.dumps({"type": "ADDED", "object": each}) for each in EVENTS),
        "Warning: v1 ComponentStatus is deprecated\n" + "\n".join(json.dumps(each) for each in EVENTS),
        json.dumps(LIST, indent=4).encode("utf-16"),
        json.dumps(LIST, indent=4).encode("utf-8-sig"),
    ],
)
def test_events_in_each_shape(run: Run, tmp_path: Path, text: str | bytes) -> None:
    path = tmp_path / "events"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    done = run("classify", path, "--format", "json")
    assert done.returncode == 0
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["label"] for each in found] == LABELS
    assert found[1]["object"] == "Pod shop/db-1"
    assert found[1]["reason"] == "FailedAttachVolume"
    assert found[0]["phrase"] == "Insufficient cpu"
    assert found[0]["also"] == []
    assert done.stderr.count("\n") == (isinstance(text, str) and text.startswith("Warning"))


def test_an_event_of_the_newer_group(run: Run, tmp_path: Path) -> None:
    one = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "note": FULL,
        "reason": "FailedScheduling",
        "regarding": {"kind": "Pod", "namespace": "shop", "name": "web-0"},
        "deprecatedSource": {},
    }
    (found,) = answers(run, json.dumps(one, indent=2), tmp_path / "event")
    assert (found["label"], found["object"]) == ("sched.insufficient_resources", "Pod shop/web-0")


def test_json_lines(run: Run, tmp_path: Path) -> None:
    lines = [
        {"object": "Container", "reason": "Error", "exit_code": 139, "message": ""},
        {"object": "Container", "message": 'FATAL: password authentication failed for user "app"'},
        {"object": "PVC", "reason": "WaitForFirstConsumer", "message": "waiting for first consumer to be created"},
        {"object": "Pod", "reason": "Odd", "message": "nobody knows"},
    ]
    found = answers(run, "\n".join(json.dumps(each) for each in lines), tmp_path / "lines")
    assert [each["label"] for each in found] == [
        "crash.segfault",
        "crash.identity",
        "storage.wait_for_first_consumer",
        "unknown",
    ]
    assert [each["no_fault"] for each in found] == [False, False, True, False]


def test_standard_input_and_readable_text() -> None:
    text = json.dumps(LIST, indent=4)
    for arguments in (["classify"], ["classify", "-"]):
        done = subprocess.run(
            [*COMMAND, *arguments], input=text, capture_output=True, text=True, env=environment(), check=False
        )
        assert done.returncode == 0
        assert "storage.multi_attach" in done.stdout
        assert "Pod shop/db-1 FailedAttachVolume" in done.stdout
        assert "3 messages" in done.stdout
        assert "1  sched.insufficient_resources" in done.stdout


def test_a_watch_is_answered_line_by_line() -> None:
    words = [*COMMAND, "classify", "--format", "json"]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for each, label in zip(EVENTS, LABELS, strict=True):
            process.stdin.write(json.dumps({"type": "ADDED", "object": each}) + "\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["label"] == label
        process.stdin.close()
        assert process.wait() == 0


def test_a_bad_line_is_said_and_the_rest_read(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "lines"
    good = json.dumps(EVENTS[0])
    path.write_text(f'{good}\n{good[:40]}\n[1]\n{{"kind": "Pod"}}\n\n{good}\n')
    done = run("classify", path, "--format", "json")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 2
    said = done.stderr.splitlines()
    assert [line.split("lines: ")[1].split(":")[0] for line in said] == ["line 2", "line 3", "line 4"]
    assert "not JSON" in said[0]
    assert "of kind Pod" in said[2]


@pytest.mark.parametrize("indent", [4, 2, None])
def test_a_damaged_item_is_said_and_the_rest_read(indent: int | None) -> None:
    text = json.dumps(LIST, indent=indent).replace('"FailedAttachVolume"', "FailedAttachVolume")
    found, problems = read(text)
    assert [each.message.reason for each in found] == ["FailedScheduling", "Pulled"]
    assert len(problems) == 1
    assert "an item that is not JSON" in problems[0]
    if indent:
        line = next(n for n, each in enumerate(text.splitlines(), 1) if "FailedAttachVolume," in each)
        assert 0 < line - int(problems[0].split(":")[0]) < 30


def test_an_input_that_ends_early() -> None:
    text = json.dumps(LIST, indent=4)
    found, problems = read(text[: text.index("already used")])
    assert [each.message.reason for each in found] == ["FailedScheduling"]
    assert "ends within the item" in problems[0]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 3_000), st.integers(0, 60), st.text(max_size=20))
def test_damage_anywhere_never_ends_it_with_an_error(at: int, cut: int, put: str) -> None:
    text = json.dumps(LIST, indent=1)
    at %= len(text)
    found, problems = read(text[:at] + put + text[at + cut :])
    assert len(found) <= len(EVENTS) + 1
    assert problems or len(found) >= 2


class Endless:
    """A List of so many events, as text that is made when it is read."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._pending = '{"apiVersion": "v1", "items": ['

    def read(self, size: int, /) -> str:
        """At most so many characters."""
        while len(self._pending) < size and self._count:
            self._count -= 1
            tail = "]}" if not self._count else ","
            self._pending += json.dumps(event("FailedScheduling", f"{FULL} {self._count}")) + tail
        piece, self._pending = self._pending[:size], self._pending[size:]
        return piece

    def readline(self, size: int = -1, /) -> str:
        """All of it is one line."""
        return self.read(size if size > 0 else 1 << 30)


def test_a_large_list_is_never_held_at_once() -> None:
    tracemalloc.start()
    count = sum(1 for _ in read_document(Endless(8_000), lambda _line, _problem: None))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 8_000  # 3 MB of text on one line, whose objects would take 20 MB
    assert peak < 6e6


POD = """\
Name:             web-7d4b9c6f5-abcde
Namespace:        shop
Priority:         0
Service Account:  default
Node:             worker-2/192.0.2.12
Start Time:       Mon, 02 Nov 2026 10:00:00 +0000
Labels:           app=web
Annotations:      <none>
Status:           Running
IP:               10.244.2.9
Init Containers:
  wait:
    Container ID:   containerd://1
    Image:          busybox
    State:          Terminated
      Reason:       Completed
      Exit Code:    0
      Started:      Mon, 02 Nov 2026 10:00:01 +0000
      Finished:     Mon, 02 Nov 2026 10:00:02 +0000
    Ready:          True
    Restart Count:  0
Containers:
  app:
    Container ID:   containerd://2
    Image:          registry.example.com/web:1
    Port:           8080/TCP
    Host Port:      0/TCP
    State:          Waiting
      Reason:       CrashLoopBackOff
    Last State:     Terminated
      Reason:       Error
      Exit Code:    1
      Started:      Mon, 02 Nov 2026 10:05:00 +0000
      Finished:     Mon, 02 Nov 2026 10:05:01 +0000
    Ready:          False
    Restart Count:  6
    Limits:
      memory:  64Mi
    Environment:
      STATE:  on
  worker:
    State:          Terminated
      Reason:       Error
      Message:      psycopg2.OperationalError: connection to server at "db" failed:
FATAL:  password authentication failed for user "app"

      Exit Code:    1
    Last State:     Terminated
      Reason:       OOMKilled
      Exit Code:    137
  broken:
    State:          Waiting
      Reason:       CreateContainerConfigError
      Message:      secret "db-credentials" not found
Conditions:
  Type              Status
  Initialized       True
  Ready             False
Volumes:
  data:
    Type:       PersistentVolumeClaim
    ClaimName:  data
Events:
  Type     Reason       Age                   From               Message
  ----     ------       ----                  ----               -------
  Normal   Scheduled    10m                   default-scheduler  Successfully assigned shop/web-1 to worker-2
  Warning  FailedMount  2m13s (x5 over 10m)  kubelet  MountVolume.SetUp failed for volume "nfs" : mount failed
Mounting command: mount
Mounting arguments: -t nfs files.example.com:/export /var/lib/kubelet/pods/1/volumes/kubernetes.io~nfs/nfs
Output: mount.nfs: access denied by server while mounting files.example.com:/export
  Warning  FailedScheduling  5m               0/3 nodes are available: 3 Insufficient cpu.
  Normal   Pulled       1m (x4 over 5m)       kubelet            Container image "registry.example.com/web:1" already
           present on machine


"""
CLAIM = """\
Name:          data
Namespace:     shop
StorageClass:  fast
Status:        Pending
Volume:
Labels:        <none>
Access Modes:
VolumeMode:    Filesystem
Used By:       web-1
Events:
  Type     Reason              Age              From                    Message
  ----     ------              ----             ----                    -------
  Warning  ProvisioningFailed  3s (x2 over 9s)  pv-controller  storageclass.storage.k8s.io "fast" not found
"""
NODE = """\
Name:               worker-2
Roles:              <none>
Taints:             node.kubernetes.io/disk-pressure:NoSchedule
Conditions:
  Type             Status  LastHeart     LastTrans     Reason                   Message
  ----             ------  -----------   -----------   ------                   -------
  MemoryPressure   False   Mon, 10:00    Mon, 09:00    KubeletHasSufficientMem  kubelet has sufficient memory
  DiskPressure     True    Mon, 10:00    Mon, 09:00    KubeletHasDiskPressure   kubelet has disk pressure
  Ready            True    Mon, 10:00    Mon, 09:00    KubeletReady             kubelet is posting ready status
Addresses:
  InternalIP:  192.0.2.12
Allocatable:
  cpu:  4
Events:              <none>
"""


def test_describe_of_several_objects(run: Run, tmp_path: Path) -> None:
    found = answers(run, POD + CLAIM + NODE, tmp_path / "describe")
    shown = [(each["object"], each["reason"], each["label"]) for each in found]
    pod = "Pod shop/web-7d4b9c6f5-abcde"
    assert shown == [
        (f"{pod} app last state", "Error", "crash.app_error"),
        (f"{pod} worker state", "Error", "crash.identity"),
        (f"{pod} worker last state", "OOMKilled", "crash.oom"),
        (f"{pod} broken state", "CreateContainerConfigError", "crash.config_missing"),
        (pod, "Scheduled", "no fault"),
        (pod, "FailedMount", "storage.mount_permission_or_auth"),
        (pod, "FailedScheduling", "sched.insufficient_resources"),
        (pod, "Pulled", "no fault"),
        ("PersistentVolumeClaim shop/data", "ProvisioningFailed", "storage.provision_failed_class_missing"),
        ("Node worker-2 DiskPressure", "KubeletHasDiskPressure", "node.disk_pressure"),
    ]


def test_events_of_old_versions_and_as_a_table() -> None:
    old = (
        "Events:\n  FirstSeen\tLastSeen\tCount\tFrom\t\t\tSubObjectPath\tType\t\tReason\t\tMessage\n"
        "  ---------\t--------\t-----\t----\t\t\t-------------\t--------\t------\t\t-------\n"
        "  5m\t\t1m\t\t7\t{scheduler }\t\t\tWarning\t\tFailedScheduling\tNo nodes are available that match all of "
        "the following predicates:: Insufficient cpu (3).\n"
    )
    table = (
        "NAMESPACE   LAST SEEN   TYPE      REASON               OBJECT                       MESSAGE\n"
        "shop        2m          Warning   ProvisioningFailed   persistentvolumeclaim/data   no storage class is set\n"
        "shop        <unknown>   Warning   FailedScheduling     pod/web-0                    0/1 nodes are available:\n"
        "1 Insufficient cpu.\n"
    )
    (one,) = read_kubectl_text(old.splitlines())
    assert (one.message.reason, one.message.message[:8]) == ("FailedScheduling", "No nodes")
    claim, pod = read_kubectl_text(table.splitlines())
    assert (claim.shown, claim.message.object) == ("PersistentVolumeClaim data", "PersistentVolumeClaim")
    assert pod.message.message == "0/1 nodes are available:\n1 Insufficient cpu."


def test_columns_that_are_left_out() -> None:
    text = (
        'Events:\n  Warning  FailedAttachVolume  Multi-Attach error for volume "pvc-1"\n'
        '  Warning  FailedMount  12s (x3 over 1m)  configmap "x" not found\n'
        '  Warning  FailedMount  kubelet  configmap "y" not found\n'
    )
    assert [each.message.message for each in read_kubectl_text(text.splitlines())] == [
        'Multi-Attach error for volume "pvc-1"',
        'configmap "x" not found',
        'configmap "y" not found',
    ]


def test_a_pod_that_was_put_out() -> None:
    text = "Name:  web-0\nNamespace:  shop\nReason:  Evicted\nMessage:  The node was low on resource: x.\n"
    (one,) = read_kubectl_text(text.splitlines())
    assert (one.message.reason, one.message.message) == ("Evicted", "The node was low on resource: x.")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([*POD.splitlines(), *NODE.splitlines(), "", "\t", "  Warning  x", "{"]), max_size=40))
def test_kubectl_text_in_any_order_can_be_read(lines: list[str]) -> None:
    for entry in read_kubectl_text(lines):
        assert entry.message.reason or entry.message.message or entry.message.exit_code is not None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is empty"),
        ("  \n", "it is empty"),
        ("E1027 15:15:01 leaderelection.go:320] failed to renew lease", "unknown format"),
        ("\x7fELF\x00\x00", "unknown format"),
    ],
)
def test_what_cannot_be_read_at_all(run: Run, tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "x.log"
    path.write_text(text)
    done = run("classify", path)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"nodetell: {path}: {why}")
    assert done.stderr.count("\n") == 1


def test_a_file_that_is_none(run: Run, tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        done = run("classify", path)
        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr.startswith(f"nodetell: {path}: ")


def test_text_on_a_terminal_is_harmless() -> None:
    entry = Entry(Message("Pod", "x\x1b[2J", None, "y"), "Pod \x1b]0;z")
    words = classify._text(entry, Classification("", phrase="\x1b[1m"), Look(80))
    assert "\x1b" not in words
