"""The simulated race is a race, the same one for the same seed, and its verdict tells a good server from a bad one."""

import asyncio
import io
import signal
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from deploy.simulation.demo.progress import Progress, ReceiverProgress, StreamProgress
from deploy.simulation.demo.race import Plan, RaceRead, forwarder_names, run_race
from deploy.simulation.demo.run import DemoOptions, hold_demo, run_demo
from deploy.simulation.demo.server import refusal
from deploy.simulation.demo.verdict import StreamVerdict, Verdict, compare_export
from deploy.simulation.demo.view import draw, follow
from deploy.simulation.devices.journal import Event
from deploy.simulation.devices.receiver import AT_ONCE
from shared.protocol.ipico import parse
from tests.deploy.standin import Message, StandIn, standing_in
from tests.waiting import PATIENCE_S, stretched, wait_until

PLAN = Plan(
    seed="1/0",
    forwarders=3,
    readers=2,
    reads=12_000,
    seconds=200.0,
    started_at=datetime.fromisoformat("2026-03-07T10:00:00"),
)


@pytest.fixture(scope="module")
def race() -> list[RaceRead]:
    return run_race(PLAN)


@pytest.fixture
async def server() -> AsyncIterator[StandIn]:
    async with standing_in() as standin:
        yield standin


def quick(server: StandIn, **changed: Any) -> DemoOptions:
    return replace(
        DemoOptions(server.url, rate=400.0, seconds=0.5, settle_s=60.0, manners=AT_ONCE), **changed
    )


def quiet() -> Console:
    return Console(file=io.StringIO(), width=80, force_terminal=False)


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


# The race.


def test_the_same_seed_gives_the_same_race_to_the_character(race: list[RaceRead]) -> None:
    assert run_race(PLAN) == race


def test_another_seed_gives_another_race(race: list[RaceRead]) -> None:
    assert run_race(replace(PLAN, seed="2/0")) != race


def test_a_race_has_the_reads_it_was_asked_for_in_the_order_of_time(race: list[RaceRead]) -> None:
    times = [read.at_s for read in race]
    assert (len(race), times) == (PLAN.reads, sorted(times))
    assert 0 <= times[0] <= times[-1] <= PLAN.seconds


def test_every_line_is_a_read_that_says_when_it_was_taken(race: list[RaceRead]) -> None:
    for read in race:
        said = parse(read.line.raw_read_line)
        assert said.read_at is not None
        assert said.read_at.isoformat(timespec="milliseconds") == read.line.reader_timestamp
        assert (said.sighting is not None) == (read.line.read_type == "fsls")


def test_lines_repeat_and_fall_behind_as_often_as_those_of_real_readers(race: list[RaceRead]) -> None:
    repeated = behind = 0
    said: defaultdict[tuple[int, int], set[str]] = defaultdict(set)
    latest: defaultdict[tuple[int, int], str] = defaultdict(str)
    for _, forwarder, reader, line in race:
        at = forwarder, reader
        repeated += line.raw_read_line in said[at]
        behind += line.reader_timestamp < latest[at]
        said[at].add(line.raw_read_line)
        latest[at] = max(latest[at], line.reader_timestamp)
    assert repeated / len(race) == pytest.approx(0.15, abs=0.02)
    assert behind / len(race) == pytest.approx(0.12, abs=0.02)


def test_the_field_starts_in_a_burst_and_finishes_along_a_normal_curve(race: list[RaceRead]) -> None:
    starts, finishes = ([read.at_s for read in race if read.forwarder == mat] for mat in (0, 2))
    assert sum(at_s < 0.1 * PLAN.seconds for at_s in starts) > 0.8 * len(starts)
    tenths = Counter(int(10 * at_s / PLAN.seconds) for at_s in finishes)
    tops = [tenths[tenth] for tenth in range(4, 10)]
    peak = tops.index(max(tops))
    assert 0 < peak < len(tops) - 1
    assert tops[: peak + 1] == sorted(tops[: peak + 1])
    assert tops[peak:] == sorted(tops[peak:], reverse=True)
    middle = finishes[len(finishes) // 2]
    near = sum(abs(at_s - middle) < 0.1 * PLAN.seconds for at_s in finishes)
    assert near / len(finishes) == pytest.approx(0.68, abs=0.06)


def test_every_mat_sees_the_chips_several_times_at_each_reader(race: list[RaceRead]) -> None:
    seen = Counter((read.forwarder, read.reader, read.line.raw_read_line[4:16]) for read in race)
    chips = {tag_id for _, _, tag_id in seen}
    assert {at[:2] for at in seen} == {(mat, reader) for mat in range(3) for reader in range(2)}
    assert 2 < sum(seen.values()) / len(seen) < 4
    # All but the last runner, whose reads are cut where there are enough.
    assert len(seen) > 6 * (len(chips) - 1) * 0.98


@pytest.mark.parametrize(
    ("forwarders", "names"),
    [(1, ["Finish"]), (2, ["Start", "Finish"]), (4, ["Start", "Split 1", "Split 2", "Finish"])],
)
def test_any_number_of_forwarders_makes_a_course(forwarders: int, names: list[str]) -> None:
    reads = run_race(replace(PLAN, forwarders=forwarders, reads=500))
    assert {read.forwarder for read in reads} == set(range(forwarders))
    assert forwarder_names(forwarders) == names


# The demo.


async def test_a_demo_against_a_good_server_ends_well(server: StandIn) -> None:
    console = quiet()
    assert await run_demo(quick(server), console=console)
    assert "everything sent was stored once and delivered: 200 reads" in text_of(console)
    assert "certificate: complete, 200 reads with the digests of what was sent" in text_of(console)
    assert sum(map(len, server.events.values())) == 200
    assert len(server.events) == 6


async def test_demos_without_a_state_directory_never_meet(server: StandIn) -> None:
    verdicts = [await hold_demo(quick(server), console=quiet()) for _ in range(2)]
    assert [verdict.problems for verdict in verdicts] == [[], []]
    assert len(server.events) == 12


async def test_a_demo_with_a_state_directory_goes_on_where_it_was(server: StandIn, tmp_path: Path) -> None:
    options = quick(server, state_dir=tmp_path / "demo")
    verdicts = [await hold_demo(options, console=quiet()) for _ in range(2)]
    assert [(verdict.problems, verdict.reads) for verdict in verdicts] == [([], 200), ([], 400)]
    assert (len(server.events), len(server.tokens), sum(server.retransmits.values())) == (6, 5, 0)
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "demo").iterdir()} == {0}


async def test_unacked_reads_of_a_killed_demo_are_sent_by_the_next_one(
    server: StandIn, tmp_path: Path
) -> None:
    options = quick(server, state_dir=tmp_path / "demo", settle_s=0.3)
    server.acking = False
    assert not (await hold_demo(options, console=quiet())).ok
    server.acking = True
    verdict = await hold_demo(replace(options, settle_s=60.0), console=quiet())
    assert (verdict.problems, verdict.reads) == ([], 400)
    assert sum(server.retransmits.values()) > 0


async def test_a_demo_starts_afresh_where_the_server_does_not_know_its_devices(tmp_path: Path) -> None:
    for _ in range(2):
        async with standing_in() as server:
            options = quick(server, state_dir=tmp_path)
            verdict = await hold_demo(options, console=quiet())
            assert (verdict.problems, verdict.reads) == ([], 200)


async def test_a_cancelled_demo_still_brings_its_reads_home_and_judges(server: StandIn) -> None:
    demo = asyncio.create_task(hold_demo(quick(server, seconds=None), console=quiet()))
    await wait_until(lambda: sum(map(len, server.events.values())) > 50, what="reads")
    demo.cancel()
    verdict = await demo
    assert verdict.problems == []
    assert verdict.reads > 50


async def test_a_demo_without_a_server_says_so_in_a_line(unused_tcp_port: int) -> None:
    console = quiet()
    url = f"http://127.0.0.1:{unused_tcp_port}"
    assert not await run_demo(DemoOptions(url), console=console)
    said = " ".join(text_of(console).split())
    assert said.startswith(
        f"the demo cannot go on: no server answers at {url}: start one with `rt-server up`, or give"
    )


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (
            401,
            '{"code": "UNAUTHORIZED", "message": "the API token is missing"}',
            "401 the API token is missing; give it as --api-token",
        ),
        (403, '{"code": "FORBIDDEN", "message": "nobody is admitted"}', "403 nobody is admitted"),
        (404, "<h1>nginx</h1>", "404 <h1>nginx</h1>"),
        (500, "[]", "500 []"),
    ],
)
def test_a_refusal_is_told_in_the_server_s_own_words(status: int, body: str, words: str) -> None:
    assert refusal(status, body) == words


@pytest.mark.parametrize(
    "url",
    ["foo", "foo:8080", "ftp://foo", "http://", "http:///path", "http://foo:99999", "http://foo:bar", ""],
)
async def test_an_address_that_is_none_is_refused_in_words_that_say_what_to_give(url: str) -> None:
    console = quiet()
    assert not await run_demo(DemoOptions(url), console=console)
    words = f"the demo cannot go on: {url!r} is no address of a server: give one like http://127.0.0.1:8080"
    assert text_of(console).split() == words.split()


_ALONE = """
import sys
from rich.console import Console
from deploy.simulation.demo.run import DemoOptions, run_demo_alone
from deploy.simulation.devices.receiver import AT_ONCE
options = DemoOptions(sys.argv[1], seconds=60.0, rate=400.0, settle_s=60.0, manners=AT_ONCE)
sys.exit(0 if run_demo_alone(options, console=Console(soft_wrap=True)) else 1)
"""


@asynccontextmanager
async def program(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run Python with these arguments; it is gone afterwards."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(stretched(PATIENCE_S)):
            yield child
    finally:
        with suppress(ProcessLookupError):
            child.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_the_race_and_the_verdict_follows(
    server: StandIn, number: signal.Signals
) -> None:
    async with program("-c", _ALONE, server.url) as demo:
        await wait_until(lambda: sum(map(len, server.events.values())) > 50, what="reads")
        demo.send_signal(number)
        said, _ = await demo.communicate()
    assert "everything sent was stored once and delivered" in said.decode()
    assert demo.returncode == 0


async def test_a_signal_before_the_race_ends_the_demo(server: StandIn) -> None:
    server.minting.clear()
    async with program("-m", "deploy", "demo", "--url", server.url) as demo:
        await wait_until(lambda: server.asked_for_tokens, what="the demo to ask for a token")
        demo.send_signal(signal.SIGTERM)
        said, _ = await demo.communicate()
    assert (demo.returncode, said.decode().strip()) == (1, "the demo was ended without a verdict")


async def test_a_demo_outlasts_a_server_that_drops_everyone(server: StandIn) -> None:
    demo = asyncio.create_task(hold_demo(quick(server, seconds=1.5), console=quiet()))
    await wait_until(lambda: len(server.sockets) == 5 and server.receiver_acks, what="all devices")
    for socket in list(server.sockets.values()):
        await socket.close(code=1001)
    assert (await demo).problems == []


# The verdict.


def once(event: Message) -> bool:
    return bool(event["seq"] == 3)


def lost(server: StandIn) -> None:
    server.keep = lambda event: not once(event)


def altered(server: StandIn) -> None:
    server.deliver = lambda event: [{**event, "raw_read_line": "x"} if once(event) else event]


def doubled(server: StandIn) -> None:
    server.deliver = lambda event: [event, event] if once(event) else [event]


def undelivered(server: StandIn) -> None:
    server.deliver = lambda event: [] if once(event) else [event]


def disordered(server: StandIn) -> None:
    held: list[Message] = []

    def deliver(event: Message) -> list[Message]:
        if once(event):
            held.append(event)
            return []
        if event["seq"] == 4:
            return [event, *(e for e in held if e["reader_ip"] == event["reader_ip"])]
        return [event]

    server.deliver = deliver


def unacked(server: StandIn) -> None:
    server.acking = False


def misprinted(server: StandIn) -> None:
    server.export = lambda text: text.replace(",raw\n", ",RAW\n", 1)


def cut_short(server: StandIn) -> None:
    server.export = lambda text: "".join(text.splitlines(keepends=True)[:-2])


def incomplete(server: StandIn) -> None:
    reason = {"code": "deleted", "text": "Finish, epoch 1: 1 read was deleted: 3."}
    server.certify = lambda said: {**said, "verdict": "incomplete", "reasons": [reason]}


def miscounted(server: StandIn) -> None:
    server.certify = lambda said: {
        **said,
        "parts": [{**part, "digest": part["digest"][::-1]} for part in said["parts"]],
    }


def forged(server: StandIn) -> None:
    server.key = bytes(range(32))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (incomplete, "the certificate is incomplete: Finish, epoch 1: 1 read was deleted: 3."),
        (miscounted, "has another digest than what was sent"),
        (forged, "the certificate is not signed by a key of the server's"),
        (lost, "stored of"),
        (lost, "the export differs: line"),
        (altered, "delivered that differ from what was sent"),
        (doubled, "delivered twice on one connection"),
        (undelivered, "delivered of"),
        (disordered, "delivered behind a later one"),
        (unacked, "acked of"),
        (misprinted, "the export differs: line"),
        (cut_short, "the export differs: it ends 2 lines early"),
    ],
)
async def test_the_verdict_names_what_a_bad_server_did(
    server: StandIn, fault: Callable[[StandIn], None], words: str
) -> None:
    fault(server)
    console = quiet()
    # What never comes is not waited for; what is stored must be all there when it is looked at.
    settle_s = 0.3 if fault in (lost, undelivered, disordered, unacked) else 60.0
    assert not await run_demo(quick(server, settle_s=settle_s), console=console)
    assert words in text_of(console).replace("\n", " ")
    assert "everything sent" not in text_of(console)


async def test_an_export_with_more_than_was_sent_differs() -> None:
    async def exported() -> AsyncIterator[bytes]:
        yield b"stream_epoch,seq,reader_timestamp,raw_read_line,read_type\n"
        yield b'1,1,,"a ""b"",c",raw\n'
        yield b"1,2,,more,raw\n"

    sent = [Event("10.0.0.1:10000", 1, 1, "", 'a "b",c', "raw", 0.0)]
    assert await compare_export(exported(), sent) == "line 3 is b'1,2,,more,raw\\n' and not None"


# The view.


def progress(at_s: float, reads: int) -> Progress:
    stream = StreamProgress("Split 10", "10.0.10.2:9999", True, 12, reads, reads - 5, reads - 3, reads - 7)
    tent = ReceiverProgress("demo-a1b2c3-timing", True, reads - 7, 7, 0.0125)
    return Progress(at_s, "the race is on", [stream] * 2, [tent])


@pytest.mark.parametrize("reads", [10, 12_345, 9_999_999, 123_456_789])
def test_the_view_fits_eighty_columns_and_keeps_its_columns(reads: int) -> None:
    def lines(reads: int) -> list[str]:
        console = Console(file=io.StringIO(), width=120)
        console.print(draw(progress(10.0, reads), progress(8.0, reads - 8)))
        return [line.rstrip() for line in text_of(console).splitlines()]

    drawn, usual = lines(reads), lines(1_000)
    assert max(map(len, drawn)) <= 80
    # The same number of lines: nothing wrapped; the same ends of columns: nothing moved.
    assert [len(line) for line in drawn] == [len(line) for line in usual]


def test_the_view_shows_the_numbers_of_each_stream_and_receiver() -> None:
    console = quiet()
    console.print(draw(progress(10.0, 1_020), progress(8.0, 1_000)))
    drawn = [line.split() for line in text_of(console).splitlines()]
    row = ["Split", "10", "10.0.10.2:99…", "12", "1020", "10", "1015", "1017", "1013", "7", "5"]
    assert drawn.count(row) == 2
    assert ["demo-a1b2c3-timing", "1013", "10", "7", "12"] in drawn
    totals = "20 reads/s in 2034 stored 2026 delivered 2030 acked 14 behind"
    assert totals.split() in drawn


async def test_without_a_terminal_the_view_is_a_plain_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("deploy.simulation.demo.view.SAY_EVERY_S", 0.01)
    console, reads = quiet(), iter(range(1_000, 10_000))
    view = asyncio.create_task(follow(lambda: progress(float(n := next(reads)), n), console))
    await wait_until(lambda: len(text_of(console).splitlines()) >= 2, what="two lines")
    view.cancel()
    assert "\x1b" not in text_of(console)
    assert text_of(console).splitlines()[0].split()[:5] == ["1001", "s", "2", "reads/s", "in"]


def test_a_verdict_without_problems_is_a_good_one() -> None:
    whole = replace(progress(1.0, 100).streams[0], acked=100, stored=100, delivered=100)
    assert Verdict([StreamVerdict(whole)], said=("the server told it: wait",)).ok
    assert not Verdict([StreamVerdict(whole, conflicts=1)]).ok
