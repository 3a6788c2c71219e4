"""The cluster's objects in a bundle: from a server that pages, denies, expires and misbehaves as real ones do."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from aggregator.cluster.credentials import Credentials, KubeError, find, load
from cli import kube

Answer = tuple[int, bytes]
Answers = Callable[[str, dict[str, str], str], Answer]


class Server:
    """An API server on loopback; `answers` maps (path, query, Accept) to an answer."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], str]] = []
        self.answers: Answers = lambda _path, _query, _accept: status(404, "not found")
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # the base class calls it so
                url = urlsplit(self.path)
                query = {key: values[0] for key, values in parse_qs(url.query).items()}
                request = (url.path, query, self.headers.get("Accept", ""))
                server.requests.append((*request[:2], self.headers.get("Authorization", "")))
                code, body = server.answers(*request)
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def status(code: int, message: str) -> Answer:
    return code, json.dumps({"kind": "Status", "apiVersion": "v1", "code": code, "message": message}).encode()


def listing(kind: str, names: list[str], version: str = "v1", after: str = "", **more: object) -> Answer:
    metadata = {"resourceVersion": "7"} | ({"continue": after} if after else {})
    items = [{"metadata": {"name": name, "managedFields": [{"manager": "x"}]}, **more} for name in names]
    return 200, json.dumps(
        {"kind": f"{kind}List", "apiVersion": version, "metadata": metadata, "items": items}
    ).encode()


def kubeconfig(tmp_path: Path, url: str) -> Path:
    path = tmp_path / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "prod-a", "cluster": {"server": url}}],
        "contexts": [{"name": "c", "context": {"cluster": "prod-a", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": "t0ken"}}],
    }
    path.write_text(json.dumps(config))
    return path


def credentials(path: Path) -> Credentials:
    """What a kubeconfig gives."""
    source = find(str(path), {}, path.parent)
    assert source is not None
    return load(source, {})


def collected(server: Server, tmp_path: Path) -> tuple[Path, list[str]]:
    """Everything from the server; the folder, and what was said."""
    said: list[str] = []
    target = tmp_path / "kube"
    target.mkdir()
    with kube.connect(credentials(kubeconfig(tmp_path, server.url))) as client:
        kube.collect_metrics(client, target, said.append)
        kube.collect_objects(client, target, said.append)
    return target, said


def read(path: Path) -> dict[str, object]:
    document: dict[str, object] = json.loads(path.read_text())
    return document


def test_pages_become_one_list_as_kubectl_prints_it(server: Server, tmp_path: Path) -> None:
    pages = {"": listing("Pod", ["a", "b"], after="next"), "next": listing("Pod", ["c"])}
    server.answers = lambda path, query, _: (
        pages[query.get("continue", "")]
        if path == "/api/v1/pods"
        else listing("Lease", ["l"], "coordination.k8s.io/v1")
    )
    target, _ = collected(server, tmp_path)
    assert read(target / "pods.json") == {
        "apiVersion": "v1",
        "kind": "List",
        "metadata": {"resourceVersion": ""},
        "items": [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}} for name in "abc"],
    }
    lease = json.loads((target / "leases.json").read_text())["items"][0]
    assert (lease["apiVersion"], lease["kind"]) == ("coordination.k8s.io/v1", "Lease")
    asked = [query for path, query, _ in server.requests if path == "/api/v1/pods"]
    assert asked == [{"limit": "500"}, {"limit": "500", "continue": "next"}]
    assert {authorization for *_, authorization in server.requests} == {"Bearer t0ken"}


def test_a_list_that_expires_is_begun_again_and_nothing_stands_twice(server: Server, tmp_path: Path) -> None:
    def answers(path: str, query: dict[str, str], _: str) -> Answer:
        if path != "/api/v1/pods":
            return status(404, "no")
        if "continue" in query:
            return status(410, "The provided continue parameter is too old")
        return listing("Pod", ["a"], after="old") if "limit" in query else listing("Pod", ["a", "b"])

    server.answers = answers
    target, _ = collected(server, tmp_path)
    items = read(target / "pods.json")["items"]
    assert [item["metadata"]["name"] for item in items] == ["a", "b"]  # type: ignore[attr-defined]  # a list of objects


def test_half_a_list_is_not_left_behind(server: Server, tmp_path: Path) -> None:
    server.answers = lambda _path, query, _: (
        status(500, "etcd is unwell") if "continue" in query else listing("Pod", ["a"], after="x")
    )
    target, said = collected(server, tmp_path)
    assert not (target / "pods.json").exists()
    assert "pods: HTTP 500: etcd is unwell" in said


def test_what_is_denied_is_said_with_the_rule_that_allows_it(server: Server, tmp_path: Path) -> None:
    server.answers = lambda path, _query, _accept: (
        status(403, "nodes is forbidden") if path in ("/api/v1/nodes", "/metrics") else listing("Thing", ["a"])
    )
    target, said = collected(server, tmp_path)
    assert 'nodes: denied; this rule allows it: apiGroups: [""], resources: ["nodes"], verbs: ["list"]' in said
    assert any("nonResourceURLs" in line for line in said)
    assert not (target / "nodes.json").exists()
    assert not (target / "apiserver.metrics").exists()
    assert (target / "pods.json").exists()


def test_an_older_version_of_an_api_is_taken_where_there_is_no_newer(server: Server, tmp_path: Path) -> None:
    server.answers = lambda path, _query, _accept: (
        listing("ResourceClaim", ["c"], "resource.k8s.io/v1beta1") if "/v1beta1/" in path else status(404, "no")
    )
    target, said = collected(server, tmp_path)
    assert (target / "resourceclaims.json").exists()
    assert "pods: this cluster does not have it" in said


SECRET = {
    "metadata": {
        "name": "db",
        "namespace": "prod",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": '{"data":{"password":"aHVudGVyMg=="}}'},
        "managedFields": [
            {"manager": "kubectl", "operation": "Update", "time": "2026-01-02T00:00:00Z", "fieldsV1": {}}
        ],
    }
}


def test_of_secrets_only_names_and_times(server: Server, tmp_path: Path) -> None:
    def answers(path: str, _query: dict[str, str], accept: str) -> Answer:
        if path != "/api/v1/secrets":
            return status(404, "no")
        assert "PartialObjectMetadataList" in accept
        document = {
            "kind": "PartialObjectMetadataList",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": {},
            "items": [SECRET],
        }
        return 200, json.dumps(document).encode()

    server.answers = answers
    target, _ = collected(server, tmp_path)
    text = (target / "secret-metadata.json").read_text()
    assert "aHVudGVyMg" not in text
    document = json.loads(text)
    assert document["kind"] == "PartialObjectMetadataList"
    assert document["items"][0]["metadata"]["managedFields"][0]["time"] == "2026-01-02T00:00:00Z"


def test_secrets_whose_data_came_along_are_not_written(server: Server, tmp_path: Path) -> None:
    server.answers = lambda path, _query, _accept: (
        listing("Secret", ["db"], data={"password": "aHVudGVyMg=="}) if path == "/api/v1/secrets" else status(404, "no")
    )
    target, said = collected(server, tmp_path)
    assert not (target / "secret-metadata.json").exists()
    assert any("does not serve metadata alone" in line for line in said)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>", "the answer is no JSON"),
        (b"[]", "the answer is no JSON object"),
        (b'{"kind":"PodList","items":{"a":1}}', "the answer is no list of objects"),
        (b'{"kind":"PodList","items":[1]}', "the answer is no list of objects"),
    ],
)
def test_an_answer_that_is_no_list(server: Server, tmp_path: Path, body: bytes, reason: str) -> None:
    server.answers = lambda path, _query, _accept: (200, body) if path == "/api/v1/pods" else status(404, "no")
    _, said = collected(server, tmp_path)
    assert any(line.startswith(f"pods: {reason}") for line in said)


def test_metrics_are_kept_as_they_came(server: Server, tmp_path: Path) -> None:
    text = b"# HELP x y\nx 1\n"
    server.answers = lambda path, _query, _accept: (200, text) if path == "/metrics" else status(404, "no")
    target, _ = collected(server, tmp_path)
    assert (target / "apiserver.metrics").read_bytes() == text


def test_credentials_that_are_not_accepted_end_it(server: Server, tmp_path: Path) -> None:
    server.answers = lambda _path, _query, _accept: status(401, "Unauthorized")
    with pytest.raises(KubeError, match="does not accept these credentials"):
        collected(server, tmp_path)
    assert len(server.requests) == 1


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    there = credentials(kubeconfig(tmp_path, "http://127.0.0.1:1"))
    with kube.connect(there) as client, pytest.raises(KubeError, match="refused"):
        kube.collect_metrics(client, tmp_path, print)


# -- a real API server's answers -----------------------------------------------------------------------------------

RECORDED = {
    "/api/v1/nodes": "nodes.json",
    "/api/v1/pods": "pods.json",
    "/apis/coordination.k8s.io/v1/leases": "leases.json",
    "/api/v1/events": "events-core-v1.json",
    "/api/v1/persistentvolumes": "pvs.json",
}


def test_recordings_of_a_real_api_server(server: Server, tmp_path: Path) -> None:
    shared = os.environ.get("NODETELL_SHARED")
    if not shared:
        pytest.skip("NODETELL_SHARED names no directory with recordings of an API server")
    recordings = Path(shared) / "recordings"
    server.answers = lambda path, _query, _accept: (
        (200, (recordings / RECORDED[path]).read_bytes())
        if path in RECORDED
        else (403, (recordings / "403-serviceaccount-list-nodes.json").read_bytes())
    )
    target, said = collected(server, tmp_path)
    for name in ("nodes", "pods", "leases", "events", "persistentvolumes"):
        assert not any(line.startswith(f"{name}:") for line in said)
    nodes = json.loads((target / "nodes.json").read_bytes())["items"]
    assert sorted(node["metadata"]["name"] for node in nodes) == ["node-a", "node-b", "node-c"]
    assert "managedFields" not in (target / "pods.json").read_text()
