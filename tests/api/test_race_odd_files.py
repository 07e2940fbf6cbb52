"""Odd files of a race over HTTP: what is taken is in the roster as it was meant, what is refused changes nothing."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import aiohttp

from tests.api.conftest import RACES, Ask

PEOPLE, CHIPS = b"1,Byron,Ada,Analysts,,F\n2,Turing,Alan,,,M\n", b"1,058000000001\n2,058000000002\n"
# Each with the bib, first and last name of whom it holds.
ODD_PEOPLE: Mapping[bytes, list[tuple[int, str, str]]] = {
    b"\xef\xbb\xbf1,Byron,Ada\r\n": [(1, "Ada", "Byron")],
    b"1,Byron,Ada\r2,Turing,Alan\n": [(1, "Ada\r2", "Byron")],
    b"1,M\xfcller,Zo\xeb\n": [(1, "Zo\u00eb", "M\u00fcller")],
    b"1,M\xc3\xbcller,Zo\xc3\xab\n": [(1, "Zo\u00eb", "M\u00fcller")],
    b"1,\x81\x8d,\x8f\x90\x9d\n": [(1, "\x8f\x90\x9d", "\x81\x8d")],
    b"; nobody\n\n +07 ,\xc2\xa0Byron , Ada \n7,Turing,Alan\n": [(7, "Ada", "Byron")],
    b'1,"Byron, Ada",F\n': [(1, 'Ada"', '"Byron')],
    b"0,,\n": [(0, "", "")],
    b"2147483647,\\N,\tAda\\\t": [(2147483647, "Ada\\", "\\N")],
}
# Each with the chips of those bibs that are somebody's.
ODD_CHIPS: Mapping[bytes, dict[int, list[str]]] = {
    b"\xef\xbb\xbf1,AA\r\n": {1: ["aa"]},
    b'bib,chip\n-1,bb\n"2",cc\n1,aa,more\n1,AA\n': {1: ["aa"]},
    b"2,aa\n1,aa\n1,bb\n7,cc\n": {1: ["bb"], 2: ["aa"]},
    b"1,\xc4A\n2,\\N": {1: ["\u00e4a"], 2: ["\\n"]},
}
NO_FILES = (b"", b"\n\n", b"\xff\xfe1\x00,\x00", b"\xfe\xff\x001\x00,")
BAD_PEOPLE = (
    b"; nobody\n",
    b"-1,Byron,Ada\n",
    b"2147483648,Byron,Ada\n",
    b"bib,last,first\n1,Byron,Ada\n",
    b"1,By\0ron,Ada\n",
    b"1," + b"x" * 256 + b",Ada\n",
    b"1,Byron,Ada\n2,Turing\n",
)
BAD_CHIPS = (b"bib,chip\n", b"1,aa\n2, \n", b"1,aa\n2\n", b"1x,aa\n", b"1,a\0a\n", b"1," + b"x" * 256 + b"\n")


async def send(ask: Ask, race: str, kind: str, content: bytes, *, status: int = 200) -> Any:
    form = aiohttp.FormData()
    form.add_field("file", BytesIO(content), filename="x")
    return await ask("POST", f"{RACES}/{race}/{kind}/upload", status=status, data=form)


async def roster(ask: Ask, race: str) -> Any:
    return await ask("GET", f"{RACES}/{race}/participants")


async def test_odd_files_of_people_are_stored_as_they_were_meant(ask: Ask, race: str) -> None:
    for content, people in ODD_PEOPLE.items():
        assert (await send(ask, race, "participants", content))["imported"] == len(people)
        stored = (await roster(ask, race))["participants"]
        assert [(each["bib"], each["first_name"], each["last_name"]) for each in stored] == people, content


async def test_odd_files_of_chips_are_stored_as_they_were_meant(ask: Ask, race: str) -> None:
    await send(ask, race, "participants", PEOPLE)
    for content, chips in ODD_CHIPS.items():
        await send(ask, race, "chips", content)
        stored = (await roster(ask, race))["participants"]
        assert {each["bib"]: each["chip_ids"] for each in stored if each["chip_ids"]} == chips, content


async def test_a_file_that_is_refused_leaves_the_roster_as_it_was(ask: Ask, race: str) -> None:
    for kind, content in (("participants", PEOPLE), ("chips", CHIPS)):
        await send(ask, race, kind, content)
    before = await roster(ask, race)
    for kind, files in (("participants", NO_FILES + BAD_PEOPLE), ("chips", NO_FILES + BAD_CHIPS)):
        for content in files:
            assert (await send(ask, race, kind, content, status=400))["code"] == "BAD_REQUEST", content
            assert await roster(ask, race) == before, content
