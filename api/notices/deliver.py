"""The program that sends one notice, in a process of its own: `python -m api.notices.deliver`.

It reads JSON from its standard input (never from arguments, which every user of the machine can see) and writes a line
of JSON for each target, as soon as it is known what became of it. Apprise takes up to 0.8 s of a core and 50 MB before
it has sent anything, its sockets cannot be cancelled, and what it logs may hold an address: all of that ends with the
program.

    {"targets": {"ntfys 1": "ntfys://…"}, "within_s": 25, "title": "…", "body": "…", "kind": "red"}
        -> {"target": "ntfys 1", "problem": null}
    {"targets": {"ntfys 1": "ntfys://…"}, "within_s": 25}       looks whether these are addresses, and answers the same

What went wrong is said in words of ours alone: those of libraries quote addresses.
"""

import json
import logging
import re
import signal
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

__all__ = ["main"]

NO_ADDRESS = "is no address that Apprise knows; a plain webhook is written json:// or jsons://"
NOT_TAKEN = "did not take it"
NOT_REACHED = "cannot be reached, or does not answer in time"
_STATUS = re.compile(r"error=(\d{3})\b")

_said = threading.local()


class _Overheard(logging.Handler):
    """What a library says of the target that this thread sends to; of all of it a number and a word are used."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line in mind."""
        if record.name.startswith("apprise"):
            _said.lines = [*getattr(_said, "lines", []), record.getMessage()]


def problem_in(lines: list[str]) -> str:
    """Return why a notice was not taken, as far as that can be told."""
    text = "\n".join(lines)
    if (status := _STATUS.search(text)) is not None:
        redirects = " (redirects are not followed)" if status[1].startswith("3") else ""
        return f"answers {status[1]}{redirects}"
    return NOT_REACHED if "onnection" in text else NOT_TAKEN


def _send(apprise: Any, asset: Any, url: str, asked: Mapping[str, Any]) -> str | None:
    _said.lines = []
    found = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    if found is None:
        return NO_ADDRESS
    if "body" not in asked:
        return None
    kinds = {"red": apprise.NotifyType.FAILURE, "over": apprise.NotifyType.SUCCESS}
    kind = kinds.get(asked["kind"], apprise.NotifyType.INFO)
    # What devices are called is text, also where it goes out as HTML.
    text = apprise.NotifyFormat.TEXT
    sent = found.notify(body=asked["body"], title=asked["title"], notify_type=kind, body_format=text)
    return None if sent else problem_in(_said.lines)


def main() -> None:
    """Do what standard input says."""
    asked = json.load(sys.stdin)
    # What a plugin prints is no answer of ours.
    answers, sys.stdout = sys.stdout, sys.stderr
    # The end of all, whatever a plugin waits for, and also when nobody waits for us any more.
    signal.setitimer(signal.ITIMER_REAL, asked["within_s"])
    logging.basicConfig(handlers=[_Overheard()], level=logging.WARNING, force=True)
    import apprise

    # Where a redirect leads is decided by whoever answers: into our own network, for all that we know.
    asset = apprise.AppriseAsset(
        app_id="rt-server", app_desc="rt-server", app_url="", http_redirects=False, async_mode=False
    )
    with ThreadPoolExecutor(max_workers=len(asked["targets"]) or 1) as threads:
        under_way = {
            threads.submit(_send, apprise, asset, url, asked): name for name, url in asked["targets"].items()
        }
        for each in as_completed(under_way):
            # A plugin that fails unforeseen says what it knows, an address perhaps.
            problem = NOT_TAKEN if each.exception() is not None else each.result()
            print(json.dumps({"target": under_way[each], "problem": problem}), file=answers, flush=True)


if __name__ == "__main__":
    main()
