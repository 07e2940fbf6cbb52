"""deploy/docs/managed-postgres.md: what is left of the compose file without a Postgres of its own is one that compose
takes.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.deploy.compose import COMPOSE_FILE, filled_in
from tests.deploy.pages import DOCS, table

TAKEN_OUT = [cells[0] for cells in table((DOCS / "managed-postgres.md").read_text(), "take out", "because")]


def without(taken_out: list[str]) -> dict[str, Any]:
    """Return the file after somebody has taken parts out of its text: what several share goes from all of them."""
    root: Any = yaml.compose(COMPOSE_FILE.read_text())
    for each in taken_out:
        path, _, item = each.replace("`", "").partition(": ")
        *above, last = path.split(".")
        node = root
        for key in above:
            node = entry(node, key)[1]
        if item:
            inside = entry(node, last)[1].value
            (found,) = [value for value in inside if value.value == item]
            inside.remove(found)
        else:
            node.value.remove(entry(node, last))
    document: dict[str, Any] = yaml.constructor.SafeConstructor().construct_document(root)
    return document


def entry(node: Any, key: str) -> Any:
    """Return the pair of nodes of a key."""
    (found,) = [each for each in node.value if each[0].value == key]
    return found


def refused(file: dict[str, Any]) -> Iterator[str]:
    """Yield what compose refuses: names of what there is not."""
    for name, service in file["services"].items():
        for each in service.get("depends_on", ()):
            if each not in file["services"]:
                yield f"{name} depends on undefined service {each}"
        for each in service.get("volumes", ()):
            if not each.startswith(("/", ".")) and each.partition(":")[0] not in file["volumes"]:
                yield f"{name} refers to undefined volume {each}"
        for each in service["networks"]:
            if each not in file["networks"]:
                yield f"{name} refers to undefined network {each}"


@pytest.mark.parametrize("told", ["", "ntfys://ntfy.example/topic"])
def test_what_is_left_is_taken_by_compose_and_leads_out(told: str) -> None:
    left = without(TAKEN_OUT)
    assert list(refused(filled_in(left, {"POSTGRES_PASSWORD": "p", "ALERT_URLS": told}))) == []
    assert left["services"].keys() == {"migrate", "gateway", "writer", "fanout", "api", "server"}
    assert left["services"]["gateway"]["depends_on"] == {
        "migrate": {"condition": "service_completed_successfully"}
    }
    assert not (left["networks"]["database"] or {}).get("internal")
    assert "postgres" not in left["volumes"]
    assert "/database-disk" not in str(left["services"])


@pytest.mark.parametrize("kept", [each for each in TAKEN_OUT if "depends_on" in each or "volumes`:" in each])
def test_a_part_that_stays_is_refused(kept: str) -> None:
    left = without([each for each in TAKEN_OUT if each != kept])
    assert list(refused(filled_in(left, {"POSTGRES_PASSWORD": "p"})))


def test_the_address_that_is_to_be_replaced_is_in_each_service_that_has_one() -> None:
    page, file = (DOCS / "managed-postgres.md").read_text(), without([])
    assert "`postgres:5432/rtserver`" in page
    with_address = {
        name
        for name, each in file["services"].items()
        if "@postgres:5432/rtserver" in str(each.get("environment"))
    }
    assert with_address == {"migrate", "gateway", "writer", "fanout", "api"}
