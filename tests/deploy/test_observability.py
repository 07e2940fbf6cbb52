"""Dashboard and alerts ask for numbers that there are, with bounds that agree with each other."""

import json
import re
import subprocess
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

import tests.deploy.every_service  # noqa: F401 (and with it all metrics)
from api.alerts import rules
from api.alerts.rules import clock as clocks
from shared.roles import ROLES
from tests.metrics import series
from tests.programs import find, needs

FILES = Path(__file__).parents[2] / "deploy" / "observability"
DASHBOARD: dict[str, Any] = json.loads((FILES / "grafana-dashboard.json").read_text())
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FILES / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
CASES: list[dict[str, Any]] = [
    case
    for test in yaml.safe_load((FILES / "alerts.test.yml").read_text())["tests"]
    for case in test["alert_rule_test"]
]
# What Prometheus itself adds.
PROMETHEUS_OWN = {"up", "ALERTS"}

# The dashboard's bounds: amber and red. For how long a fact holds, or above what.
BOUNDS: dict[str, tuple[str, float]] = {
    "ProcessSilent": ("watch", 5),  # no heartbeat for 5 s
    "ProcessGone": ("act", 15),
    "ForwarderAway": ("watch", 15),  # forwarder session gone
    "ForwarderGone": ("act", 45),
    "ReceiverGone": ("act", 30),  # receiver gone with a subscription
    "ReadsQuiet": ("watch", 20),  # last read age
    "ReadsStopped": ("act", 45),
    "DeliveryBehind": ("watch", 5),  # receiver behind
    "DeliveryStuck": ("act", 30),
    "IntegrityConflict": ("act", 0),  # any
    # As the api has them.
    "ReadsMissing": ("watch", rules.BOUNDS["missing"].watch_s),
    "ReadsMissingLong": ("act", rules.BOUNDS["missing"].act_s),
    "UnparsedLines": ("watch", 0),
    "ClockOff": ("watch", clocks.WATCH_MS / 1000),
    "ClockWrong": ("act", clocks.ACT_MS / 1000),
    "ReceiverBehind": ("watch", rules.BOUNDS["receiver_behind"].watch_s),
    "ReceiverStuck": ("act", rules.BOUNDS["receiver_behind"].act_s),
}


def test_the_api_has_the_same_bounds() -> None:
    for signal, watch, act in (
        ("process", "ProcessSilent", "ProcessGone"),
        ("forwarder_gone", "ForwarderAway", "ForwarderGone"),
        ("last_read", "ReadsQuiet", "ReadsStopped"),
        ("receiver_behind", "DeliveryBehind", "DeliveryStuck"),
    ):
        bound = rules.BOUNDS[signal]
        assert (bound.watch_s, bound.act_s) == (BOUNDS[watch][1], BOUNDS[act][1])
    assert rules.BOUNDS["receiver_gone"].act_s == BOUNDS["ReceiverGone"][1]


def expressions() -> Iterator[tuple[str, str]]:
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$__rate_interval", "20s")


def known_metrics() -> set[str]:
    return PROMETHEUS_OWN | series()


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_asks_for_numbers_that_there_are(where: str, expression: str) -> None:
    promql_parser.parse(expression)
    asked = set(re.findall(r"\b(?:rtserver|process)_\w+|\bup\b|\bALERTS\b", expression))
    assert asked
    assert asked <= known_metrics(), where


def test_asks_for_jobs_that_are_scraped() -> None:
    scraped = {
        each["job_name"] for each in yaml.safe_load((FILES / "prometheus.yml").read_text())["scrape_configs"]
    }
    assert scraped == {f"rt-{role}" for role in ROLES}
    asked = {job for _, text in expressions() for job in re.findall(r'job="([^"]+)"', text)}
    assert asked <= scraped


def seconds(rule: dict[str, Any]) -> float:
    """Return how long it takes until an alert fires, or above what it does."""
    held = float(rule.get("for", "0s").removesuffix("s"))
    above = re.search(r"(?<=> |= )[\d.]+$", rule["expr"].strip())
    quiet = re.search(r"\[(\d+)s\]\) ?\) == 0|\[(\d+)s\]\)\) == 0", rule["expr"])
    return (
        held
        + (float(above.group()) if above else 0)
        + (int(quiet.group(1) or quiet.group(2)) if quiet else 0)
    )


@pytest.mark.parametrize("alert", BOUNDS)
def test_alerts_at_the_dashboard_s_bounds(alert: str) -> None:
    (rule,) = [rule for rule in RULES if rule["alert"] == alert]
    assert (rule["labels"]["severity"], seconds(rule)) == BOUNDS[alert]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_what_is_wrong_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("watch", "act")
    assert rule["annotations"].keys() == {"summary", "action"}
    # An alias would be taken for the name of a metric.
    assert not re.search(r"expr: *[&*]", (FILES / "alerts.yml").read_text())


@pytest.mark.parametrize(
    ("title", "watch", "act"),
    [
        ("Oldest read that waits", BOUNDS["DeliveryBehind"][1], BOUNDS["DeliveryStuck"][1]),
        ("Since the last read", rules.BOUNDS["last_read"].watch_s, rules.BOUNDS["last_read"].act_s),
        ("Receivers behind", BOUNDS["ReceiverBehind"][1], BOUNDS["ReceiverStuck"][1]),
        ("Readers' clocks", BOUNDS["ClockOff"][1], BOUNDS["ClockWrong"][1]),
    ],
)
def test_the_dashboard_turns_colour_where_the_alerts_fire(title: str, watch: float, act: float) -> None:
    (panel,) = [panel for panel in DASHBOARD["panels"] if panel["title"] == title]
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert [step["value"] for step in steps] == [None, watch, act]


def test_no_panel_lies_on_another_or_beside_the_page() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
    for one, other in combinations([panel["gridPos"] for panel in panels], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below


@pytest.mark.parametrize("alert", [rule["alert"] for rule in RULES])
def test_an_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(alert: str) -> None:
    assert {bool(case["exp_alerts"]) for case in CASES if case["alertname"] == alert} == {True, False}


@needs("promtool")
def test_promtool_has_the_alerts_fire_when_they_should() -> None:
    for command in ("check rules alerts.yml", "check config prometheus.yml", "test rules alerts.test.yml"):
        done = subprocess.run(
            [*find("promtool"), *command.split()], cwd=FILES, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
