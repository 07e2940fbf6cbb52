"""deploy/docs/security.md: where it leads to is there, and what it says of settings and roles is so."""

import re

from api.http.access import OPEN_PATHS, OPEN_POSTS
from api.http.sites import complaint
from api.settings import API_TOKEN_LENGTH
from fanout.settings import FanoutSettings
from gateway.settings import GatewaySettings
from shared.roles import ROLES
from tests.deploy.compose import COMPOSE_FILE
from tests.deploy.pages import table
from tests.deploy.test_readme import README
from tests.deploy.test_roles import LOCKABLE

DOCS = README.parent / "deploy" / "docs"
TEXT = (DOCS / "security.md").read_text()


def test_every_setting_that_it_names_is_one() -> None:
    known = set(re.findall(r"^(\w+)=", COMPOSE_FILE.with_name(".env.example").read_text(), re.MULTILINE))
    known |= set(re.findall(r"\| `([A-Z_]+)` \|", README.read_text()))
    named = set(re.findall(r"`([A-Z]+_[A-Z_]+)(?:=\w+)?`", TEXT)) - {"INVALID_TOKEN"}
    assert named <= known, named - known


def test_what_is_public_and_who_is_admitted_is_as_the_code_has_it() -> None:
    public = TEXT.partition("## What is public")[2].partition("## ")[0]
    assert set(re.findall(r"`GET (\S+)`", public)) | {"/metrics"} == OPEN_PATHS
    assert set(re.findall(r"`POST (\S+)`", public)) == OPEN_POSTS
    assert f"set, {API_TOKEN_LENGTH} characters or more" in TEXT
    for service in ROLES:
        assert f"| `rt_{service}` |" in TEXT


def test_what_browsers_say_of_other_sites_over_https_alone_is_said_here_and_where_it_is_published() -> None:
    (host,) = set(re.findall(r"`http://(10\.[^`]+)` is published", TEXT))
    assert complaint({"Origin": "http://elsewhere.example"}, host, ()) is not None  # a change
    assert complaint({}, host, ()) is None  # what a link there reads, as such a browser sends it
    readme = COMPOSE_FILE.with_name("README.md").read_text()
    (says,) = [row[1] for row in table(readme, "in `.env`", "") if "PUBLISH" in row[0]]
    assert "have HTTPS" in says
    assert "security.md#who-is-an-operator" in says


def test_tables_that_a_role_can_lock_whole_are_those_that_it_can() -> None:
    (says,) = re.findall(r"^- \*\*Tables that it deletes from by itself\*\* (.*)$", TEXT, re.MULTILINE)
    named = {
        service: set(re.findall(r"`(\w+)`", tables))
        for service, tables in re.findall(r"`rt_(\w+)`: ([^;]*)", says)
    }
    assert named == {service: tables for service, tables in LOCKABLE.items() if tables}


def test_limits_say_what_their_settings_are_unless_they_are_set() -> None:
    specs = [*GatewaySettings.specs().values(), *FanoutSettings.specs().values()]
    defaults = {spec.variable: spec.default for spec in specs}
    told: dict[str, list[str]] = {}
    for _, _, bound, setting in table(TEXT, "who", "can", "no more than", "setting"):
        for name in re.findall(r"`([A-Z_]+)`", setting):
            told.setdefault(name, []).extend(
                number.replace(",", "") for number in re.findall(r"\d[\d,]*", bound)
            )
    compared = told.keys() & defaults.keys()
    assert compared == {"MAX_READERS", "MAX_EPOCHS", "MAX_IN_FLIGHT", "MAX_UNACKED_MIB"}
    for name in compared:
        assert defaults[name] in told[name], name


def test_images_that_are_named_by_tag_alone_are_told() -> None:
    found = re.findall(r"^FROM (\S+)", (DOCS.parent / "Dockerfile").read_text(), re.MULTILINE)
    found += re.findall(r"^ +image: ([\w./-]+:\S+)$", COMPOSE_FILE.read_text(), re.MULTILINE)
    assert found
    (says,) = re.findall(r"^- \*\*Base images\*\* are named by tag: (.*?)\. ", TEXT, re.MULTILINE)
    assert set(re.findall(r"`([^`]+)`", says)) == {image for image in found if "@sha256:" not in image}
