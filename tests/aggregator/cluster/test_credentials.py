"""Where credentials are found, what of them is refused and how that is said, and that no secret is in what is said."""

from __future__ import annotations

import json
import os
from pathlib import Path

import httpx2
import pytest
import yaml  # type: ignore[import-untyped]  # it has no types

from aggregator.cluster.credentials import Credentials, KubeError, Source, chosen, find, fingerprint, load, one_line
from aggregator.cluster.credentials import tls as tls_context
from aggregator.cluster.proxy import proxy_for
from aggregator.settings import KubernetesSettings

SECRET = "s3cret-t0ken"  # noqa: S105  # what must not be seen


def kubeconfig(path: Path, user: object = None, **cluster: object) -> Path:
    """A kubeconfig with one context."""
    path.parent.mkdir(parents=True, exist_ok=True)
    config = {
        "current-context": "c",
        "clusters": [{"name": "prod-a", "cluster": {"server": "https://10.0.0.1:6443"} | cluster}],
        "contexts": [{"name": "c", "context": {"cluster": "prod-a", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": SECRET} if user is None else user}],
    }
    path.write_text(yaml.safe_dump(config))
    return path


def account(folder: Path, token: str = SECRET) -> Path:
    """The directory of a service account."""
    folder.mkdir(exist_ok=True)
    (folder / "token").write_text(f"{token}\n")
    (folder / "ca.crt").write_text("not looked at here")
    return folder


IN_CLUSTER = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}


def loaded(path: Path, **env: str) -> Credentials:
    """What a kubeconfig gives."""
    return load(Source(path), env)


# -- where they are ------------------------------------------------------------------------------------------------


def test_kubectls_order(tmp_path: Path) -> None:
    home, inside = tmp_path / "home", account(tmp_path / "sa")
    nothing = tmp_path / "nothing"
    assert find(None, {}, home, nothing) is None
    assert find(None, IN_CLUSTER, home, nothing) is None
    assert find(None, {}, home, inside) is None  # not in a pod
    assert find(None, IN_CLUSTER, home, inside) == Source(inside, in_cluster=True)
    at_home = kubeconfig(home / ".kube/config")
    assert find(None, IN_CLUSTER, home, inside) == Source(at_home)
    named = kubeconfig(tmp_path / "named")
    assert find(None, {"KUBECONFIG": f"/nonexistent{os.pathsep}{named}"}, home, inside) == Source(named)
    assert find(str(named), {"KUBECONFIG": str(at_home)}, home, inside) == Source(named)
    assert find("/nonexistent", {}, home, inside) == Source(Path("/nonexistent"))  # an error that is told


def test_an_aggregator_takes_by_itself_only_what_was_meant_for_it(tmp_path: Path) -> None:
    home, inside, nothing = tmp_path / "home", account(tmp_path / "sa"), tmp_path / "nothing"
    at_home = kubeconfig(home / ".kube/config")
    env = {"KUBECONFIG": str(at_home)}
    assert chosen(KubernetesSettings(), env, home, nothing) is None  # of a laptop
    assert chosen(KubernetesSettings(), env | IN_CLUSTER, home, inside) == Source(inside, in_cluster=True)
    named = KubernetesSettings(kubeconfig="/named")
    assert chosen(named, env | IN_CLUSTER, home, inside) == Source(Path("/named"))
    assert chosen(KubernetesSettings(enabled="on"), {}, home, nothing) == Source(at_home)
    assert chosen(KubernetesSettings(enabled="off", kubeconfig="/named"), env, home, inside) is None
    with pytest.raises(KubeError, match=r"kubernetes\.enabled is on, but"):
        chosen(KubernetesSettings(enabled="on"), {}, nothing, nothing)


@pytest.mark.parametrize("host", ["10.96.0.1", "fd00::1"])
def test_a_service_account(tmp_path: Path, host: str) -> None:
    inside = account(tmp_path / "sa")
    credentials = load(Source(inside, in_cluster=True), IN_CLUSTER | {"KUBERNETES_SERVICE_HOST": host})
    assert credentials.server == ("https://10.96.0.1:443" if host == "10.96.0.1" else "https://[fd00::1]:443")
    assert credentials.config.user is not None
    assert credentials.config.user.token == SECRET
    assert credentials.files == (inside / "token", inside / "ca.crt")
    assert credentials.in_cluster


def test_what_lightkube_leaves_out_is_read(tmp_path: Path) -> None:
    (tmp_path / "t").write_text(f" {SECRET}\n")
    user = {"tokenFile": "t", "as": "jane", "as-uid": "7", "as-groups": ["ops", "dev"]}
    more = {"proxy-url": "http://proxy:3128", "tls-server-name": "api.internal"}
    credentials = loaded(kubeconfig(tmp_path / "k", user, **more), NO_PROXY="*")
    assert credentials.proxy == "http://proxy:3128"
    assert credentials.tls_name == "api.internal"
    groups = [("Impersonate-Group", "ops"), ("Impersonate-Group", "dev")]
    assert list(credentials.headers) == [("Impersonate-User", "jane"), ("Impersonate-Uid", "7"), *groups]
    assert credentials.config.user is not None
    assert credentials.config.user.token == SECRET
    assert tmp_path / "t" in credentials.files
    assert credentials.cluster == "prod-a"


# -- what cannot be used -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "clusters: 3",
        "a: b",
        "{clusters: [], contexts: [], current-context: x}",
        "{clusters: [], contexts: []}",
        "\x00",
        "clusters: [1]\ncontexts: [2]\ncurrent-context: x",
    ],
)
def test_a_kubeconfig_that_cannot_be_used_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(KubeError) as caught:
        loaded(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(KubeError, match="absent: not found"):
        loaded(tmp_path / "absent")
    with pytest.raises(KubeError, match="No such file"):
        loaded(kubeconfig(tmp_path / "k", {"tokenFile": "absent"}))
    (tmp_path / "empty").write_text(" \n")
    with pytest.raises(KubeError, match="is empty"):
        loaded(kubeconfig(tmp_path / "k", {"tokenFile": "empty"}))


def test_a_plug_in_of_a_version_that_is_not_understood_is_named(tmp_path: Path) -> None:
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "aws"}
    with pytest.raises(KubeError, match=r"the plug-in aws speaks client\.authentication\.k8s\.io/v1; .*v1beta1"):
        loaded(kubeconfig(tmp_path / "k", {"exec": plugin}))
    older = plugin | {"apiVersion": f"{plugin['apiVersion']}beta1"}
    assert loaded(kubeconfig(tmp_path / "k", {"exec": older})).server == "https://10.0.0.1:6443"


def test_a_certificate_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("no certificate")
    with pytest.raises(KubeError, match=r"https://10\.0\.0\.1:6443: .*ca\.crt"):
        tls_context(loaded(kubeconfig(tmp_path / "k", **{"certificate-authority": str(tmp_path / "ca.crt")})))


def test_no_secret_is_in_what_is_said(tmp_path: Path) -> None:
    path = tmp_path / "k"
    said = [repr(loaded(kubeconfig(path)))]
    for user in ({"token": f"{SECRET}\nX: y"}, {"token": f"{SECRET} é"}, {"token": [SECRET]}):
        with pytest.raises(KubeError) as caught:
            loaded(kubeconfig(path, user))
        said.append(str(caught.value))
    path.write_text(f"users:\n- user: {{token: {SECRET}: [}}\n")
    with pytest.raises(KubeError, match="no YAML at line 2") as caught:
        loaded(path)
    said.append(str(caught.value))
    (tmp_path / "t").write_bytes(SECRET.encode() + b"\x00\n")
    with pytest.raises(KubeError) as caught:
        loaded(kubeconfig(path, {"tokenFile": "t"}))
    said.append(str(caught.value))
    said.append(one_line(httpx2.LocalProtocolError(f"Illegal header value b'Bearer {SECRET}'")))
    assert not [line for line in said if SECRET in line]


# -- changes -------------------------------------------------------------------------------------------------------


def test_a_change_is_seen_however_it_is_made(tmp_path: Path) -> None:
    """By a symbolic link that is turned, as kubelets do; by content with the same size and time; by removal."""
    old, new = tmp_path / "..1", tmp_path / "..2"
    for folder, token in ((old, "a" * 9), (new, "b" * 9)):
        folder.mkdir()
        (folder / "token").write_text(token)
        (folder / "ca.crt").write_text("ca")
    inside = tmp_path / "sa"
    inside.symlink_to(old)
    source = Source(inside, in_cluster=True)
    credentials = load(source, IN_CLUSTER)
    seen = [fingerprint(source, credentials)]
    assert fingerprint(source, credentials) == seen[0]
    (tmp_path / "next").symlink_to(new)
    (tmp_path / "next").rename(inside)
    seen.append(fingerprint(source, credentials))
    before = (new / "ca.crt").stat()
    (new / "ca.crt").write_text("CA")
    os.utime(new / "ca.crt", ns=(before.st_atime_ns, before.st_mtime_ns))
    seen.append(fingerprint(source, credentials))
    (new / "token").unlink()
    seen.append(fingerprint(source, credentials))
    assert len(set(seen)) == 4


# -- proxies -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("server", "env", "proxy"),
    [
        ("https://k:6443", {}, None),
        ("https://k:6443", {"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ("https://k:6443", {"https_proxy": "p:1"}, "http://p:1"),
        ("https://k:6443", {"HTTP_PROXY": "http://p:1", "ALL_PROXY": "http://p:1"}, None),
        ("http://k:6443", {"HTTP_PROXY": "http://p:1"}, "http://p:1"),
        ("https://127.0.0.1:6443", {"HTTPS_PROXY": "http://p:1"}, None),
        ("https://localhost", {"HTTPS_PROXY": "http://p:1"}, None),
        ("https://[::1]:6443", {"HTTPS_PROXY": "http://p:1"}, None),
        ("https://10.96.0.1", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "10.96.0.0/12"}, None),
        ("https://10.120.0.1", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "10.96.0.0/12"}, "http://p:1"),
        ("https://10.0.0.1:6443", {"HTTPS_PROXY": "http://p:1", "no_proxy": "a, 10.0.0.1"}, None),
        ("https://[fd00::1]", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "fd00::/8"}, None),
        ("https://[fd00::1]", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "[fd00::1]"}, None),
        ("https://a.example.com", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "example.com"}, None),
        ("https://example.com", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": ".example.com"}, "http://p:1"),
        ("https://a.example.com", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*.example.com"}, None),
        ("https://notexample.com", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "example.com"}, "http://p:1"),
        ("https://k:6443", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "k:6443"}, None),
        ("https://k:6443", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "k:443"}, "http://p:1"),
        ("https://k:6443", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "x/y,,bad/99"}, "http://p:1"),
        ("https://k:6443", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, None),
    ],
)
def test_proxies_by_gos_rules(server: str, env: dict[str, str], proxy: str | None) -> None:
    assert proxy_for(server, env) == proxy


def test_a_kubeconfig_is_yaml_or_json(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "k")
    path.write_text(json.dumps(yaml.safe_load(path.read_text())))
    assert loaded(path).server == "https://10.0.0.1:6443"
