"""Who we are to the API server: a kubeconfig or a pod's service account, read again whenever the files change.

lightkube reads and applies them. What it leaves out and kubectl does not is done here: proxies by Go's rules,
proxy-url, tls-server-name, impersonation. A token appears in no message: neither ours nor one of a library that quotes
what it cannot use.
"""

from __future__ import annotations

import hashlib
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import msgspec
import yaml  # type: ignore[import-untyped]  # it has no types; what is read is checked by lightkube
from lightkube.config.client_adapter import BearerAuth, user_auth, verify_cluster
from lightkube.config.kubeconfig import SERVICE_ACCOUNT, KubeConfig, SingleConfig
from lightkube.config.models import Cluster, Context, User
from lightkube.core.exceptions import ConfigError

from aggregator.cluster.plugin_auth import PluginAuth
from aggregator.cluster.proxy import proxy_for

if TYPE_CHECKING:
    from aggregator.settings import KubernetesSettings

_TOKEN = re.compile(r"[\x21-\x7e]+")
_MAX_FILE = 1 << 20
_EXEC_VERSIONS = ("client.authentication.k8s.io/v1alpha1", "client.authentication.k8s.io/v1beta1")


class KubeError(Exception):
    """The API server cannot be used at all: why, one line."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where credentials are."""

    path: Path
    """A kubeconfig, or the directory of a service account."""
    in_cluster: bool = False
    """It is a service account's directory."""
    context: str = ""
    """Of the kubeconfig; empty: the one that is current when it is read."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to reach the API server, and as whom."""

    config: SingleConfig = field(repr=False)
    """It holds secrets."""
    proxy: str | None = field(repr=False)
    """It may hold a password."""
    tls_name: str
    """The name that the server's certificate has to have; empty: the URL's host."""
    headers: tuple[tuple[str, str], ...]
    """Impersonation."""
    files: tuple[Path, ...]
    """What was read, or will be."""
    in_cluster: bool

    @property
    def server(self) -> str:
        """URL of the API server."""
        return self.config.cluster.server

    @property
    def cluster(self) -> str:
        """What the kubeconfig calls the cluster."""
        return self.config.context.cluster


def find(
    kubeconfig: str | None, env: Mapping[str, str], home: Path, account: Path = Path(SERVICE_ACCOUNT)
) -> Source | None:
    """The credentials that are at hand, in kubectl's order: a file that is named, $KUBECONFIG, ~/.kube/config, then the
    pod's service account. None: there are none."""
    named = [kubeconfig] if kubeconfig else [part for part in env.get("KUBECONFIG", "").split(os.pathsep) if part]
    path = next((Path(each) for each in named if Path(each).is_file()), Path(named[0]) if named else None)
    if path is None and (home / ".kube/config").is_file():
        path = home / ".kube/config"
    return Source(path.expanduser()) if path is not None else _service_account(env, account)


def chosen(
    settings: KubernetesSettings, env: Mapping[str, str], home: Path, account: Path = Path(SERVICE_ACCOUNT)
) -> Source | None:
    """The credentials that an aggregator with these settings uses; None: it does without the API server.

    Raises KubeError where it must not do without, and there are none.
    """
    if settings.enabled == "off":
        return None
    if settings.enabled == "auto":
        # Nobody who starts an aggregator on a laptop expects it to watch whatever cluster kubectl was used for last.
        return Source(Path(settings.kubeconfig).expanduser()) if settings.kubeconfig else _service_account(env, account)
    source = find(settings.kubeconfig or None, env, home, account)
    if source is None:
        raise KubeError("kubernetes.enabled is on, but there is no kubeconfig and no service account at hand")
    return source


def _service_account(env: Mapping[str, str], account: Path) -> Source | None:
    inside = env.get("KUBERNETES_SERVICE_HOST") and (account / "token").is_file()
    return Source(account, in_cluster=True) if inside else None


def load(source: Source, env: Mapping[str, str]) -> Credentials:
    """Read them. Raises KubeError."""
    try:
        return _from_service_account(source.path, env) if source.in_cluster else _from_kubeconfig(source, env)
    except KubeError:
        raise
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)  # the text of the error would quote the file
        place = f" at line {mark.line + 1}" if mark is not None else ""
        raise KubeError(f"{source.path}: cannot be used: no YAML{place}") from None
    except (ConfigError, msgspec.ValidationError, OSError, LookupError, TypeError, ValueError) as error:
        raise KubeError(f"{source.path}: cannot be used: {one_line(error)}") from error
    except AttributeError as error:  # a file that is no mapping
        raise KubeError(f"{source.path}: is no kubeconfig") from error


def _from_service_account(account: Path, env: Mapping[str, str]) -> Credentials:
    host, port = env.get("KUBERNETES_SERVICE_HOST", ""), env.get("KUBERNETES_SERVICE_PORT", "443")
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    token_file, authority = account / "token", account / "ca.crt"
    token = _token(token_file)
    cluster = Cluster(server=server, certificate_auth=str(authority))
    config = SingleConfig("default", Context(cluster="default"), cluster, User(token=token))
    files = (token_file, authority)
    return Credentials(config, proxy_for(server, env), "", (), files, in_cluster=True)


def _from_kubeconfig(source: Source, env: Mapping[str, str]) -> Credentials:
    path = source.path
    if not path.is_file():
        raise KubeError(f"{path}: not found")
    document = yaml.safe_load(path.read_bytes())
    config = KubeConfig.from_dict(document, path).get(source.context or None)
    if config is None:
        raise KubeError(f"{path}: no current context")
    more = _entry(document, "clusters", "cluster", config.context.cluster)
    user = config.user or User()
    files = [path]
    if user.token_file is not None:
        token_file = Path(config.abs_file(user.token_file))
        files.append(token_file)
        user = msgspec.structs.replace(user, token=_token(token_file), token_file=None)
    elif user.token is not None and not _TOKEN.fullmatch(user.token):
        raise KubeError(f"{path}: the token holds what no HTTP header can carry")
    if user.exec is not None and not user.token and user.exec.apiVersion not in _EXEC_VERSIONS:
        spoken = f"speaks {user.exec.apiVersion}; {' and '.join(_EXEC_VERSIONS)} are understood"
        raise KubeError(f"{path}: the plug-in {user.exec.command} {spoken}, so use one of these, or a token")
    named = (config.cluster.certificate_auth, user.client_cert, user.client_key)
    files += [Path(config.abs_file(each)) for each in named if each]
    as_user = _entry(document, "users", "user", config.context.user or "")
    return Credentials(
        config._replace(user=user),
        str(more.get("proxy-url") or "") or proxy_for(config.cluster.server, env),
        str(more.get("tls-server-name") or ""),
        tuple(_impersonation(as_user)),
        tuple(files),
        in_cluster=False,
    )


def _entry(document: Mapping[str, Any], plural: str, kind: str, name: str) -> Mapping[str, Any]:
    """A named entry of a kubeconfig that lightkube has read already, with the keys that it leaves out."""
    found = next((each.get(kind) for each in document.get(plural) or [] if each.get("name") == name), None)
    return found if isinstance(found, Mapping) else {}


def _impersonation(user: Mapping[str, Any]) -> list[tuple[str, str]]:
    single = (("as", "Impersonate-User"), ("as-uid", "Impersonate-Uid"))
    headers = [(header, str(user[key])) for key, header in single if user.get(key)]
    return headers + [("Impersonate-Group", str(group)) for group in user.get("as-groups") or []]


def is_token(text: str) -> bool:
    """It is one that an HTTP header can carry."""
    return _TOKEN.fullmatch(text) is not None


def _token(path: Path) -> str:
    text = path.read_bytes()[:_MAX_FILE].decode("latin-1").strip()
    if not text:
        raise KubeError(f"{path}: is empty")
    if not _TOKEN.fullmatch(text):
        raise KubeError(f"{path}: the token holds what no HTTP header can carry")
    return text


def fingerprint(source: Source, credentials: Credentials | None) -> bytes:
    """Of all files that the credentials come from, by content: what a kubelet renews by turning a symbolic link, and an
    operator by copying over it, is seen either way. A file that is not there counts as such."""
    files = credentials.files if credentials is not None else (source.path,)
    digest = hashlib.sha256()
    for path in files:
        try:
            with path.open("rb") as file:
                digest.update(hashlib.sha256(file.read(_MAX_FILE)).digest())
        except OSError as error:
            digest.update(str(error.errno).encode())
    return digest.digest()


def tls(credentials: Credentials) -> ssl.SSLContext:
    """Whom we trust and what we show. Raises KubeError; of a client certificate it says which files."""
    config = credentials.config
    user = config.user or User()
    try:
        return verify_cluster(config.cluster, user, config.abs_file)
    except (ConfigError, OSError, ValueError, TypeError) as error:
        named = (config.cluster.certificate_auth, user.client_cert, user.client_key)
        files = ", ".join(str(each) for each in named if each) or "its certificates"
        raise KubeError(f"{credentials.server}: {files}: {one_line(error)}") from error


def auth(credentials: Credentials) -> httpx2.Auth | None:
    """How requests say who asks. Raises KubeError."""
    user = credentials.config.user
    try:
        if user is not None and user.token:
            return BearerAuth(user.token)
        return PluginAuth(user.exec) if user is not None and user.exec is not None else user_auth(user)
    except (ConfigError, ValueError, TypeError) as error:
        raise KubeError(f"{credentials.server}: {one_line(error)}") from error


def one_line(error: Exception) -> str:
    """An error in one line."""
    if isinstance(error, httpx2.LocalProtocolError):
        return "the request cannot be sent: a header holds what none can carry"  # its own text quotes it
    return " ".join(str(error).split())[:300] or type(error).__name__
