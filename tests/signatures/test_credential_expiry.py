"""Credentials that expire: the warning, what is none, and what they explain. Bundles have no place for such dates: they
are put into the view that a bundle gives."""

from __future__ import annotations

from typing import Any

import pytest

from aggregator.cluster.objects import Expiry, SecretDates
from aggregator.cluster.secret_users import users
from aggregator.model import Finding, Severity, Stage
from aggregator.signatures import crash_loop
from aggregator.signatures.thresholds import Thresholds
from tests.lab.cluster import NOW, Lab
from tests.lab.shapes import Json
from tests.signatures.crash_worlds import OWNER, POD, End, cluster, crashes, pull, pulled, secrets, waits, with_secret

HOUR = 3600.0
REGISTRY = "registry.example.com"
IMAGE = f"{REGISTRY}/app:1"
LOGIN = "Secret/shop/regcred"
WITH_LOGIN: Json = {"spec": {"imagePullSecrets": [{"name": "regcred"}]}}
REFUSED = pull("failed to authorize: 401 Unauthorized")


def login(left: float, life: float | None = None, registry: str = REGISTRY) -> Expiry:
    """A login with so much time left, seconds."""
    return Expiry("login", NOW + left, NOW + left - life if life else 0.0, registry)


def certificate(left: float, life: float | None = None) -> Expiry:
    return Expiry("certificate", NOW + left, NOW + left - life if life else 0.0)


def found(lab: Lab, **dates: Expiry) -> dict[str, Finding]:
    """Findings of crash_loop where these Secrets of namespace shop have these dates."""
    view = lab.view()
    for name, expiry in dates.items():
        view.objects.secret_dates[f"shop/{name}"] = SecretDates("7", (expiry,))
    told = crash_loop.evaluate(view, Thresholds()).findings
    codes = {each.code: each for each in told}
    assert len(codes) == len(told)
    return codes


def healthy(patch: Json, key: str = POD, **fields: Any) -> Lab:
    lab = cluster()
    lab.pod(key, node="n1", owner=OWNER, patch=patch, image=IMAGE, **fields)
    return lab


# -- pull secrets --------------------------------------------------------------------------------------------------


def test_image_unauthorized__positive_a_login_that_will_expire() -> None:
    finding = found(healthy(WITH_LOGIN), regcred=login(5 * HOUR))["image.unauthorized"]
    assert (finding.stage, finding.severity) == (Stage.RISK, Severity.WARNING)
    assert finding.summary == (
        f"the login for {REGISTRY} in Secret shop/regcred expires in 5 h, at 2026-09-21T19:13:20Z; "
        "Deployment/shop/web is pulled with it."
    )
    assert finding.objects == (LOGIN, "Deployment/shop/web", f"Pod/{POD}")
    assert [(each.signal, each.subject, each.value, each.source) for each in finding.evidence] == [
        ("login.expires", "shop/regcred", "2026-09-21T19:13:20Z", "kube/secrets")
    ]
    assert finding.remediation[0].startswith("Renew it")
    assert finding.since == 0.0


@pytest.mark.parametrize(
    "expiry",
    [login(25 * HOUR), login(5 * HOUR, life=12 * HOUR), login(5 * HOUR, registry="ghcr.io")],
    ids=["days-left", "young-for-its-life", "another-registry"],
)
def test_image_unauthorized__near_miss(expiry: Expiry) -> None:
    assert not found(healthy(WITH_LOGIN), regcred=expiry)


def test_image_unauthorized__near_miss_no_pod_uses_it() -> None:
    assert not found(healthy({}), regcred=login(HOUR))
    assert not found(healthy(WITH_LOGIN, phase="Succeeded"), regcred=login(HOUR))


def test_a_short_life_is_renewed_late() -> None:
    assert not found(healthy(WITH_LOGIN), regcred=login(1.3 * HOUR, life=12 * HOUR))
    assert "image.unauthorized" in found(healthy(WITH_LOGIN), regcred=login(1.1 * HOUR, life=12 * HOUR))


def test_image_unauthorized__recovery_when_it_is_renewed() -> None:
    lab = healthy(WITH_LOGIN)
    assert "image.unauthorized" in found(lab, regcred=login(-HOUR))
    assert not found(lab, regcred=login(300 * HOUR))


def test_one_that_has_expired_says_so_until_something_is_pulled_with_it() -> None:
    lab = healthy(WITH_LOGIN)
    finding = found(lab, regcred=login(-HOUR))["image.unauthorized"]
    assert finding.stage is Stage.RISK
    assert "expired 60 min ago" in finding.summary
    assert finding.since == NOW - HOUR
    lab.event("Pod", POD, "Pulled", f'Successfully pulled image "{IMAGE}" in 1.2s', last=-600)
    assert not found(lab, regcred=login(-HOUR))


def test_what_another_pod_pulled_says_nothing_of_it() -> None:
    lab = healthy(WITH_LOGIN)
    pulled(lab, "shop/other", "n1", IMAGE, last=-600)
    assert "image.unauthorized" in found(lab, regcred=login(-HOUR))


def test_copies_of_one_login_are_one_finding() -> None:
    lab = healthy(WITH_LOGIN)
    lab.pod("blog/web-0", node="n1", patch=WITH_LOGIN, image=IMAGE)
    view = lab.view()
    for namespace, left in (("shop", 5), ("blog", 4)):
        view.objects.secret_dates[f"{namespace}/regcred"] = SecretDates("7", (login(left * HOUR),))
    (finding,) = crash_loop.evaluate(view, Thresholds()).findings
    assert finding.summary.startswith("the login for registry.example.com in Secret blog/regcred expires in 4 h")
    assert finding.summary.endswith("(and 1 more for the same cause).")


def test_a_refused_pull_says_that_its_login_had_expired() -> None:
    lab = cluster()
    waits(lab, "ImagePullBackOff", REFUSED, patch=WITH_LOGIN, image=IMAGE)
    lab.event("Pod", POD, "Failed", REFUSED, first=-900, last=-60)
    finding = found(lab, regcred=login(-1500))["image.unauthorized"]
    assert finding.stage is Stage.ACTIVE
    assert f"the login for {REGISTRY} in Secret shop/regcred expired 10 min before it began to fail" in finding.summary
    assert ("login.expires", "shop/regcred") in {(each.signal, each.subject) for each in finding.evidence}
    assert finding.since == NOW - 1500


@pytest.mark.parametrize("expiry", [login(-300), login(-1500, registry="ghcr.io")], ids=["later", "another-registry"])
def test_a_refused_pull_is_not_explained_by_what_was_good_then_or_for_another(expiry: Expiry) -> None:
    lab = cluster()
    waits(lab, "ImagePullBackOff", REFUSED, patch=WITH_LOGIN, image=IMAGE)
    lab.event("Pod", POD, "Failed", REFUSED, first=-900, last=-60)
    finding = found(lab, regcred=expiry)["image.unauthorized"]
    assert "before it began to fail" not in finding.summary


def test_a_login_that_expired_within_the_slack_of_clocks_counts() -> None:
    lab = cluster()
    waits(lab, "ImagePullBackOff", REFUSED, patch=WITH_LOGIN, image=IMAGE)
    lab.event("Pod", POD, "Failed", REFUSED, first=-900, last=-60)
    for left, counts in ((-840, True), (-839, False)):
        said = found(lab, regcred=login(left))["image.unauthorized"].summary
        assert ("expired 0 s before it began to fail" in said) is counts


def test_the_last_second_is_one_before_it_expires() -> None:
    lab = healthy(WITH_LOGIN)
    assert "expires in 1 s" in found(lab, regcred=login(1))["image.unauthorized"].summary
    assert "expired 0 s ago" in found(lab, regcred=login(0))["image.unauthorized"].summary


def test_a_warning_makes_nothing_critical() -> None:
    lab = cluster()
    waits(lab, "ImagePullBackOff", REFUSED, patch=WITH_LOGIN, image=IMAGE)
    lab.pod("shop/api-0", node="n1", owner=("StatefulSet", "api"), patch=WITH_LOGIN, image=IMAGE)
    assert found(lab, regcred=login(-1500))["image.unauthorized"].severity is Severity.WARNING


# -- what containers read --------------------------------------------------------------------------------------------


def test_crash_identity__positive_a_certificate_that_will_expire() -> None:
    finding = found(healthy(with_secret("api-tls")), **{"api-tls": certificate(5 * HOUR)})["crash.identity"]
    assert (finding.stage, finding.severity) == (Stage.RISK, Severity.WARNING)
    assert "the certificate in Secret shop/api-tls expires in 5 h" in finding.summary
    assert "Deployment/shop/web reads it" in finding.summary
    assert finding.objects[:2] == ("Secret/shop/api-tls", "Deployment/shop/web")


def test_crash_identity__near_miss_it_is_only_pulled_with() -> None:
    assert not found(healthy(WITH_LOGIN), regcred=certificate(HOUR))


def test_crash_identity__near_miss_a_certificate_of_a_day_is_renewed_at_two_thirds() -> None:
    lab = healthy(with_secret("api-tls"))
    assert not found(lab, **{"api-tls": certificate(9 * HOUR, life=24 * HOUR)})
    assert "crash.identity" in found(lab, **{"api-tls": certificate(2 * HOUR, life=24 * HOUR)})


def test_crash_identity__recovery_when_it_is_renewed() -> None:
    lab = healthy(with_secret("api-tls"))
    assert "crash.identity" in found(lab, **{"api-tls": certificate(-HOUR)})
    assert not found(lab, **{"api-tls": certificate(90 * 24 * HOUR)})


def test_one_that_has_expired_and_that_pods_start_with_all_the_same_is_not_what_they_are_asked_for() -> None:
    lab = healthy(with_secret("api-tls"), created=-60)
    assert not found(lab, **{"api-tls": certificate(-HOUR)})
    lab = healthy(with_secret("api-tls"), created=-60, ready=False)
    assert "crash.identity" in found(lab, **{"api-tls": certificate(-HOUR)})


def expired_and_crashing(message: str = "", **fields: Any) -> Lab:
    lab = cluster()
    crashes(lab, End(1, message), patch=with_secret("api-tls"), **fields)
    return lab


def test_a_crash_that_began_after_it_expired_is_suspected_of_it() -> None:
    finding = found(expired_and_crashing(), **{"api-tls": certificate(-1500)})["crash.identity"]
    assert (finding.stage, finding.severity) == (Stage.ACTIVE, Severity.WARNING)
    assert "the certificate in Secret shop/api-tls expired 5 min before it began to fail" in finding.summary
    assert "Secret/shop/api-tls" in finding.objects
    assert "identity.expired" in {each.signal for each in finding.evidence}


def test_warning_and_crash_are_one_finding() -> None:
    before = found(healthy(with_secret("api-tls")), **{"api-tls": certificate(HOUR)})["crash.identity"]
    after = found(expired_and_crashing(), **{"api-tls": certificate(-1500)})["crash.identity"]
    assert before.id == after.id


def test_with_words_of_a_refusal_it_is_critical() -> None:
    lab = expired_and_crashing("remote error: tls: expired certificate: authentication failed")
    finding = found(lab, **{"api-tls": certificate(-1500)})["crash.identity"]
    assert finding.severity is Severity.CRITICAL


def test_what_expired_after_the_crash_began_is_not_its_cause() -> None:
    told = found(expired_and_crashing(), **{"api-tls": certificate(-600)})
    assert told["crash.app_error"].stage is Stage.ACTIVE
    assert told["crash.identity"].stage is Stage.RISK


def test_an_end_that_says_something_else_is_not_explained_by_it() -> None:
    told = found(expired_and_crashing("panic: nil map"), **{"api-tls": certificate(-1500)})
    assert told["crash.app_error"].stage is Stage.ACTIVE
    assert told["crash.identity"].stage is Stage.RISK


def test_what_others_start_with_since_is_not_its_cause() -> None:
    lab = expired_and_crashing()
    lab.pod("shop/api-0", node="n2", owner=("StatefulSet", "api"), patch=with_secret("api-tls"), created=-900)
    assert found(lab, **{"api-tls": certificate(-1500)}).keys() == {"crash.app_error"}


def test_with_a_change_it_is_two_pieces_of_evidence() -> None:
    lab = expired_and_crashing()
    secrets(lab, ("api-tls", -9_000_000, -1300))
    assert found(lab, **{"api-tls": certificate(-1500)})["crash.identity"].severity is Severity.CRITICAL


def test_of_several_dates_the_one_that_was_over_counts() -> None:
    view = expired_and_crashing().view()
    dates = (certificate(-1500), Expiry("token", NOW + 900 * HOUR))
    view.objects.secret_dates["shop/api-tls"] = SecretDates("7", dates)
    (finding,) = crash_loop.evaluate(view, Thresholds()).findings
    assert "the certificate in Secret shop/api-tls" in finding.summary


# -- who uses what ---------------------------------------------------------------------------------------------------


def test_who_uses_a_secret_is_kept_up_to_date() -> None:
    view = healthy(with_secret("api-tls")).view()
    state = view.objects
    assert {key: [*pods] for key, pods in users(state).items()} == {"shop/api-tls": [POD]}
    pod = state.pods[POD]
    state.keep("pods", "shop/b", pod)
    assert [*users(state)["shop/api-tls"]] == [POD, "shop/b"]
    state.keep("pods", POD, None)
    state.keep("pods", "shop/b", None)
    assert users(state) == {}
    state.keep("pods", POD, pod)
    state.clear("pods")
    assert users(state) == {}
