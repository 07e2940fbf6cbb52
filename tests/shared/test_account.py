"""Who is admitted when there is room, and who waits: no message keeps all others out, and none is kept out for ever."""

import asyncio
from contextlib import ExitStack
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from shared.transport.account import HELLO_BYTES, SMALL_BYTES, SOCKET_BYTES, Account, Held

LIMIT = 64 * SMALL_BYTES
LARGE = 16 * SMALL_BYTES


class Messages:
    """Messages that ask for room, and those of them that have it, in the order in which they got it."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.account = Account(limit)
        self.inside: list[tuple[str, Held]] = []

    def asks(self, name: str, size: int, *, first: bool = False) -> bool:
        def admitted() -> None:
            self.inside.append((name, Held(size, first)))

        if self.account.admit(Held(size, first), admitted):
            admitted()
            return True
        return False

    async def done(self, name: str) -> None:
        (found,) = [each for each in self.inside if each[0] == name]
        self.inside.remove(found)
        self.account.give_back(found[1])
        await asyncio.sleep(0)

    @property
    def names(self) -> str:
        return "".join(name for name, _ in self.inside)


async def test_large_messages_take_half_the_room_and_go_in_one_after_the_other() -> None:
    messages = Messages()
    assert [messages.asks(name, LARGE) for name in "abc"] == [True, True, False]
    assert messages.account.full
    assert messages.asks("s", SMALL_BYTES)
    await messages.done("s")
    assert messages.names == "ab"
    await messages.done("a")
    assert messages.names == "bc"
    assert not messages.account.full


async def test_small_messages_take_all_the_room_but_leave_half_to_a_large_one_that_waits() -> None:
    messages = Messages()
    for number in range(64):
        assert messages.asks(chr(0x100 + number), SMALL_BYTES)
    assert not messages.asks("L", LARGE)
    assert not messages.asks("s", SMALL_BYTES)
    for number in range(16):
        assert "L" not in messages.names
        await messages.done(chr(0x100 + number))
    assert "L" in messages.names


async def test_one_of_each_goes_in_whatever_its_size() -> None:
    messages = Messages(limit=1000)
    assert messages.asks("L", LARGE)
    assert messages.asks("s", SMALL_BYTES)
    assert not messages.asks("t", 1)
    await messages.done("s")
    assert messages.names == "Lt"


async def test_what_is_said_before_a_device_is_admitted_has_a_service_of_its_own() -> None:
    messages = Messages()
    size = LIMIT // 16
    assert [messages.asks(name, size, first=True) for name in "abc"] == [True, True, False]
    assert not messages.account.full
    assert messages.asks("h", HELLO_BYTES, first=True)
    assert messages.asks("L", LARGE)
    await messages.done("a")
    assert messages.names == "bhLc"


async def test_who_waits_no_more_is_not_admitted_and_keeps_nobody_out() -> None:
    messages, called = Messages(), []

    def never() -> None:
        called.append(1)

    assert messages.asks("a", LIMIT)
    assert not messages.account.admit(Held(LARGE), never)
    assert not messages.asks("b", LARGE)
    messages.account.withdraw(never)
    await messages.done("a")
    assert messages.names == "b"
    assert not called


async def test_what_is_given_back_and_counted_on_in_one_step_lets_nobody_in_between() -> None:
    messages = Messages()
    assert messages.asks("a", LIMIT)
    assert not messages.asks("b", LARGE)
    messages.account.give_back(Held(LIMIT))
    with messages.account.holding(LIMIT):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert messages.names == "a"
    await asyncio.sleep(0)
    assert messages.names == "ab"


async def test_sockets_take_a_quarter_of_the_room() -> None:
    account = Account(16 * SOCKET_BYTES)
    full = []
    with ExitStack() as sockets:
        for _ in range(4):
            sockets.enter_context(account.socket())
            full.append(account.full)
    assert full == [False, False, False, True]
    assert account.held == 0


async def test_what_sessions_keep_has_half_of_the_room_and_is_given_back() -> None:
    account = Account(LIMIT)
    account.keep(LIMIT // 2)
    assert (account.crowded, account.full, account.held) == (False, False, LIMIT // 2)
    account.keep(1)
    assert (account.crowded, account.full) == (True, True)
    account.keep(-account.kept)
    assert (account.crowded, account.full, account.held) == (False, False, 0)


async def test_what_waits_is_admitted_when_sessions_keep_less() -> None:
    messages = Messages()
    messages.account.keep(LIMIT // 2)
    assert messages.asks("a", LARGE)
    assert not messages.asks("b", LIMIT // 2)
    await messages.done("a")
    messages.account.keep(-messages.account.kept)
    await asyncio.sleep(0)
    assert messages.names == "b"


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.sampled_from([0, 1, SMALL_BYTES, SMALL_BYTES + 1, LARGE, LIMIT]), max_size=30),
    order=st.randoms(use_true_random=False),
)
async def test_all_are_admitted_in_the_end_and_never_more_than_fits_but_for_one_of_each(
    sizes: list[int], order: Random
) -> None:
    messages = Messages()
    for number, size in enumerate(sizes):
        messages.asks(chr(0x100 + number), size)
    left = len(sizes)
    while left:
        most = LIMIT + max((held.size for _, held in messages.inside), default=0) + SMALL_BYTES
        assert messages.account.held <= most
        assert messages.inside, "nobody is admitted"
        await messages.done(order.choice(messages.names))
        left -= 1
    assert messages.account.held == 0


async def test_each_beginning_of_back_pressure_has_its_end_also_where_the_last_gives_up() -> None:
    messages = Messages()
    for number in range(64):
        assert messages.asks(chr(0x100 + number), SMALL_BYTES)
    with capture_logs() as lines:
        waiting = [messages.account.admit(Held(SMALL_BYTES), each) for each in (_never, _nor_this)]
        messages.account.withdraw(_never)
        await asyncio.sleep(0)
        assert (waiting, [line["event"] for line in lines]) == ([False, False], ["back_pressure"])
        messages.account.withdraw(_nor_this)
        await asyncio.sleep(0)
        assert not messages.asks("s", SMALL_BYTES)
        await messages.done(chr(0x100))
    said = [line["event"] for line in lines]
    assert said == ["back_pressure", "back_pressure_over"] * 2


def _never() -> None:
    raise AssertionError("it waits no more")


def _nor_this() -> None:
    raise AssertionError("it waits no more")
