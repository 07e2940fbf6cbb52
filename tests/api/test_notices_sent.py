"""A notice is really sent: by Apprise, in a program of its own, to servers that take it or do anything else."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from signal import SIGALRM

import pytest

from api.notices import courier
from api.notices.deliver import NO_ADDRESS, NOT_REACHED, problem_in
from api.notices.targets import AT_MOST, Target, targets
from api.notices.wording import Line, Text, text
from shared.errors import SettingsError
from shared.wake import Stop
from tests.api.webhooks import Webhooks, webhooks
from tests.ports import free_port
from tests.waiting import wait_until

TEXT = Text("ACT: Finish box: not connected", "Check its power.\nrt-server, notice 7")


@pytest.fixture
async def hooks() -> AsyncIterator[Webhooks]:
    async with webhooks() as made:
        yield made


async def test_each_server_does_what_it_does_and_the_others_get_it_all_the_same(hooks: Webhooks) -> None:
    given = {
        "takes": hooks.url("takes", "?rto=20"),
        "slow": hooks.url("slow", "?rto=20"),
        "fails": hooks.url("fails", "?rto=20"),
        "elsewhere": hooks.url("elsewhere", "?rto=20"),
        "hangs": hooks.url("hangs", "?rto=1"),
        "refuses": f"json://127.0.0.1:{free_port()}/",
        "none": "https://127.0.0.1/hook",
    }
    said = await courier.send([Target(*each) for each in given.items()], "red", TEXT)
    assert said == {
        "takes": None,
        "slow": None,
        "fails": "answers 500",
        "elsewhere": "answers 307 (redirects are not followed)",
        "hangs": NOT_REACHED,
        "refuses": NOT_REACHED,
        "none": NO_ADDRESS,
    }
    assert "internal" not in [path for path, _ in hooks.came]
    (notice,) = [body for path, body in hooks.came if path == "takes"]
    assert (notice["title"], notice["message"], notice["type"]) == (TEXT.title, TEXT.body, "failure")


async def test_who_answers_without_an_end_is_left_and_keeps_nobody_from_being_told(hooks: Webhooks) -> None:
    given = [Target(each, hooks.url(each, "?rto=20")) for each in ("takes", "drips")]
    sending = asyncio.create_task(courier.send(given, "red", TEXT, within_s=600))
    await wait_until(lambda: len(hooks.came) == 2, what="both to come")
    (child,) = programs()
    os.kill(child, SIGALRM)  # as its timer does, which a busy machine may need more or less time for
    said = await sending
    assert said["drips"] == "does not answer within 600 s"
    assert programs() == []
    assert (await courier.send(given[1:], "red", TEXT, within_s=0.2)) == {
        "drips": "does not answer within 0.2 s"
    }


async def test_a_process_that_stops_waits_a_little_and_says_nothing_of_who_has_not_answered(
    hooks: Webhooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "STOP_WITHIN_S", 0.1)
    stop = Stop()
    hangs = [Target("hangs", hooks.url("hangs", "?rto=600"))]
    sending = asyncio.create_task(courier.send(hangs, "red", TEXT, stop=stop, within_s=600))
    await wait_until(lambda: bool(hooks.came), what="the notice to come")
    stop.ask()
    assert await sending == {}


async def test_the_program_is_told_no_secret_but_the_addresses(
    hooks: Webhooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by its arguments, which everybody sees, nor by its environment."""
    monkeypatch.setenv("API_TOKEN", "a-secret-of-operators")
    sending = asyncio.create_task(courier.send([Target("hangs", hooks.url("hangs"))], "red", TEXT))
    await wait_until(lambda: bool(hooks.came), what="the notice to come")
    seen = [told for child in programs() for told in (of(child, "cmdline"), of(child, "environ"))]
    hooks.released.set()
    assert await sending == {"hangs": None}
    assert len(seen) == 2
    assert not [each for each in seen if b"secret" in each or str(hooks.port).encode() in each]


def programs() -> list[int]:
    """Return the programs of ours that send."""
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return [
            int(each) for each in file.read().split() if b"api.notices.deliver" in of(int(each), "cmdline")
        ]


def of(pid: int, what: str) -> bytes:
    with open(f"/proc/{pid}/{what}", "rb") as file:
        return file.read()


@pytest.mark.parametrize("program", ["/bin/false", "/bin/no-such-program"])
async def test_a_program_that_cannot_run_is_a_try_that_has_failed(
    program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "PROGRAM", (program,))
    assert await courier.send([Target("a", "json://a")], "red", TEXT) == {"a": courier.FAILED}


async def test_in_mail_what_a_device_is_called_is_text() -> None:
    line = Line(
        "\u202e\x07<img src=x>\r\nBcc: all@example.org",
        "not connected",
        "Check it.",
        datetime(2026, 5, 3, tzinfo=UTC),
    )
    written = text("red", 7, [line], zone=UTC)
    assert "\n" not in written.title
    async with mailbox() as (port, mails):
        to = f"mailto://127.0.0.1:{port}?from=rt@example.org&to=crew@example.org&mode=insecure"
        assert await courier.send([Target("mail", to)], "red", written) == {"mail": None}
    (mail,) = mails
    assert mail["To"] == "crew@example.org"
    assert mail["Bcc"] is None
    assert mail["Subject"] == "ACT: <img src=x> Bcc: all@example.org: not connected"
    assert mail.get_content_type() == "text/plain"
    assert "<img src=x> Bcc: all@example.org: not connected, since" in mail.get_content().replace("=\n", "")


@asynccontextmanager
async def mailbox() -> AsyncIterator[tuple[int, list[EmailMessage]]]:
    """Take mail, as far as who sends one asks."""
    mails: list[EmailMessage] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        while asked := (await reader.readline()).strip():
            if asked == b"data":
                writer.write(b"354 go on\r\n")
                raw = await reader.readuntil(b"\r\n.\r\n")
                mails.append(message_from_bytes(raw, policy=policy.default))
            writer.write(b"221 bye\r\n" if asked == b"quit" else b"250 yes\r\n")
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], mails


async def test_addresses_that_apprise_does_not_know_end_a_start_with_a_line_that_holds_none_of_them() -> None:
    await courier.require_targets([])
    with pytest.raises(SettingsError) as refused:
        await courier.require_targets(targets("json://here/ bogus://user:a-secret@there/ ntfy://topic"))
    assert str(refused.value).count(NO_ADDRESS) == 1
    assert "ALERT_URLS is wrong: bogus 2" in str(refused.value)
    assert "a-secret" not in str(refused.value)


@pytest.mark.parametrize("given", ["a-secret", "ntfy://topic a-secret", "://a-secret", "ntfy:/a-secret"])
def test_what_is_no_address_is_refused_by_its_number(given: str) -> None:
    with pytest.raises(ValueError, match=r"number [12] is none") as refused:
        targets(given)
    assert "a-secret" not in str(refused.value)


def test_addresses_are_called_by_their_kind_and_number_and_there_are_not_too_many() -> None:
    assert targets("") == ()
    assert [each.name for each in targets(" ntfys://a\n TGRAM://b/c ntfys://d ")] == [
        "ntfys 1",
        "tgram 2",
        "ntfys 3",
    ]
    with pytest.raises(ValueError, match="20 addresses at the most"):
        targets("ntfy://a " * (AT_MOST + 1))


def test_what_a_library_says_is_not_passed_on() -> None:
    assert problem_in(["https://hook/a-secret: error=403."]) == "answers 403"
    assert problem_in(["a-secret"]) == "did not take it"
