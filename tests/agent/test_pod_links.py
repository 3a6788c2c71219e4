"""pod-links.json: good entries survive odd ones, and nothing in it raises."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.collectors.pod_links import parse_pod_links

GOOD = {"pod_uid": "u1", "interface": "eth0", "mtu": 1500, "host_interface": "veth1a2b"}


def test_entries_become_items_and_odd_ones_problems() -> None:
    items, problems = parse_pod_links([GOOD, {**GOOD, "mtu": "large"}, 7, {**GOOD, "interface": "net1", "mtu": 9000}])
    assert [(item.key, item.pod_link.mtu) for item in items] == [("pod_link/u1/eth0", 1500), ("pod_link/u1/net1", 9000)]
    assert [problem.split(":")[0] for problem in problems] == ["entry 1", "entry 2"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_no_document_raises(document: object) -> None:
    items, problems = parse_pod_links([document, GOOD] if document is not None else document)
    assert problems or items
    assert document is None or items
