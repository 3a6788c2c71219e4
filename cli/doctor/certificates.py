"""The aggregator's certificate and the authority that agents know it by: dates, names, and whether one has signed the
other. The private key is never read: the certificate is the one that a handshake shows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from aggregator.cluster.certificates import Validity, validity, validity_of_pem
from cli.doctor.model import AGENT, Check, Object, Reading, State, Unread, at, entries, name_of, parts, pod_spec, text
from cli.doctor.model import variable as variable_of
from cli.terminal import span

SOON_S = 21 * 86_400.0
"""A certificate of an aggregator that ends within so long is told; cert-manager renews 30 days before."""
AUTHORITY_SOON_S = 60 * 86_400.0
"""Of the authority: every agent needs the new one first."""
_RENEW = "nodetell certs renew, and replace the Secret (docs/identity.md); processes take it up by themselves"
_REPLACE = "put the new authority beside the old one in the ConfigMap, then renew the certificate (docs/identity.md)"


def check(reading: Reading) -> Iterator[Check]:
    """The authority in the ConfigMap, then what the aggregator shows."""
    pem = b""
    for item in _authorities(reading):
        pem += b"\n" + _pem(item)
        yield _authority(reading, name_of(item), _pem(item))
    shown = reading.certificate
    if isinstance(shown, Unread):
        if shown != reading.aggregator:  # else it is told once for all
            yield shown.check("certificates", "the certificate that the aggregator shows")
        return
    if not shown:
        yield Check("certificates", State.OK, "the aggregator was asked on loopback, without TLS")
        return
    dates = validity(shown)
    if dates is None:
        yield Check("certificates", State.BROKEN, "what the aggregator shows is no certificate that can be read")
        return
    yield _dated("the aggregator's certificate", dates, reading.right_now, SOON_S, _RENEW)
    yield from _names_and_signer(reading, shown, pem)


def _authorities(reading: Reading) -> list[Object]:
    used = {
        text(volume, "configMap", "name")
        for each in parts(reading.of("daemonsets"), AGENT)
        for volume in entries(pod_spec(each), "volumes")
    } - {""}
    items = reading.of("configmaps")
    return [each for each in items if not used or name_of(each) in used]


def _pem(item: Object) -> bytes:
    data = at(item, "data")
    values = data.values() if isinstance(data, dict) else ()
    return "\n".join(each for each in values if isinstance(each, str)).encode()


def _authority(reading: Reading, name: str, pem: bytes) -> Check:
    """The one that ends last counts: an old one may stand beside it."""
    blocks = [part + _END for part in pem.split(_END)[:-1]]
    dates = [each for each in (validity_of_pem(block) for block in blocks) if each is not None]
    if not dates:
        what = f"ConfigMap {name} holds no certificate"
        return Check("certificates", State.BROKEN, what, "agents trust no aggregator", "put the authority's there")
    best = max(dates, key=lambda each: each.until)
    return _dated(f"the authority in ConfigMap {name}", best, reading.right_now, AUTHORITY_SOON_S, _REPLACE)


_END = b"-----END CERTIFICATE-----"


def _dated(what: str, dates: Validity, now: float, soon_s: float, renew: str) -> Check:
    until, since = _day(dates.until), _day(dates.since)
    if now >= dates.until:
        why = f"since {until}; no agent connects"
        return Check("certificates", State.BROKEN, f"{what} has expired", why, renew)
    if now < dates.since:
        why = f"it is from {since} on, by the clock of the API server, or of this host; no agent connects until then"
        return Check("certificates", State.BROKEN, f"{what} is not valid yet", why, "is a clock wrong?")
    left = f"{what} ends in {span(dates.until - now)} ({until})"
    if dates.until - now < soon_s:
        return Check("certificates", State.WRONG, left, "no agent connects after that", renew)
    return Check("certificates", State.OK, left)


def _names_and_signer(reading: Reading, der: bytes, authorities: bytes) -> Iterator[Check]:
    try:
        from cryptography import x509  # noqa: PLC0415  # it may not be there (the extra "cli")

        from cli import authority as known  # noqa: PLC0415
    except ImportError:
        needs = Unread("that needs the package cryptography (pip install 'nodetell[cli]')")
        yield needs.check("certificates", "names and signer of the aggregator's certificate")
        return
    try:
        certificate = x509.load_der_x509_certificate(der)
        names = known.describe(certificate).alternatives
    except (ValueError, known.AuthorityError) as error:
        yield Check("certificates", State.BROKEN, f"the aggregator's certificate cannot be read: {error}")
        return
    for name in sorted(_dialled(reading)):
        if not any(_matches(each, name) for each in names):
            what = f'the aggregator\'s certificate is not for "{name}", which agents dial'
            why = f"it is for {', '.join(names) or 'no name at all'}; no agent connects"
            do = f"nodetell certs issue --role aggregator --name {name} (or tls.server_name of the agents)"
            yield Check("certificates", State.BROKEN, what, why, do)
    try:
        signers = known.certificates_in(authorities) if authorities.strip() else []
    except known.AuthorityError:
        signers = []  # told above
    if not signers:
        return
    if any(known.is_signed_by(certificate, each) for each in signers):
        yield Check("certificates", State.OK, "the authority that agents know has signed the aggregator's certificate")
        return
    # One in between may have: its own certificate comes with the handshake, of which only the first is looked at.
    issuer = certificate.issuer.rfc4514_string()
    what = "the aggregator's certificate is not signed by an authority in the agents' ConfigMap"
    why = f"{issuer} has signed it; unless the aggregator shows that one's certificate, too, no agent connects"
    yield Check("certificates", State.WRONG, what, why, "put the authority that has signed it into the ConfigMap")


def _dialled(reading: Reading) -> set[str]:
    found = set()
    for each in parts(reading.of("daemonsets"), AGENT):
        address = variable_of(each, "NODETELL_AGENT_AGGREGATOR").rpartition(":")[0].strip("[]")
        found.add(variable_of(each, "NODETELL_AGENT_TLS_SERVER_NAME") or address)
    return found - {""}


def _matches(pattern: str, name: str) -> bool:
    """A name of a certificate and a host's: the first label may be a star."""
    pattern, name = pattern.lower().rstrip("."), name.lower().rstrip(".")
    first, _, rest = name.partition(".")
    return pattern == name or (bool(first) and bool(rest) and pattern == f"*.{rest}")


def _day(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
