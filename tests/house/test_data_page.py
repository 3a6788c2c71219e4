"""docs/data.md lists every field that leaves a node, none too many and none missing, each with what it is and why."""

from __future__ import annotations

import re

from tests.house import data_page


def test_the_page_is_what_the_contract_says() -> None:
    text = data_page.PAGE.read_text(encoding="utf-8")
    between = text.partition(data_page.BEGIN)[2].partition(data_page.END)[0].strip()
    assert between == data_page.section().strip(), "run: python -m tests.house.data_page"


def test_every_field_that_an_agent_can_send_stands_in_the_page_with_what_it_is_and_no_other_does() -> None:
    listed = listed_fields()
    sent = {f"{message.name}.{field.name}" for message in data_page.messages() for field in message.fields}
    assert listed.keys() == sent
    assert not [name for name, what in listed.items() if len(what) < 8]


def test_every_message_says_why_and_no_reason_is_left_over() -> None:
    assert {message.name for message in data_page.messages()} == data_page.WHY.keys()


def listed_fields() -> dict[str, str]:
    """What the page says, by field ("Link.mtu")."""
    found, message = {}, ""
    for line in data_page.PAGE.read_text(encoding="utf-8").partition(data_page.BEGIN)[2].splitlines():
        if line.startswith("### "):
            message = line.removeprefix("### ")
        elif match := re.match(r"\| `(\w+)` \| (.*) \|$", line):
            found[f"{message}.{match[1]}"] = match[2]
    return found
