"""The read line, by the table of real lines and by properties that hold for every text."""

import timeit
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.protocol.ipico import Parsed, Sighting, annotate, annotate_frame, compose, parse

moment = datetime.fromisoformat

FIRST_LINE = "aa400000000123450a2a01123018455927a7"

LINES = {
    FIRST_LINE: Parsed("40", "000000012345", 10, 42, moment("2001-12-30 18:45:59.390")),
    "aa400000000123450a2a0112301846000091": Parsed(
        "40", "000000012345", 10, 42, moment("2001-12-30 18:46:00.000")
    ),
    "aa4000000000AABB0a2a2601010830003ffc": Parsed(
        "40", "00000000aabb", 10, 42, moment("2026-01-01 08:30:00.630")
    ),
    "aa400000000123450a2a01123018455927a7FS": Parsed(
        "40", "000000012345", 10, 42, moment("2001-12-30 18:45:59.390"), "first"
    ),
    "aa400000000123450a2a0112301846000091LS": Parsed(
        "40", "000000012345", 10, 42, moment("2001-12-30 18:46:00.000"), "last"
    ),
    "aa0005800370000100012506151032000032": Parsed(
        "00", "058003700001", 0, 1, moment("2025-06-15 10:32:00.000")
    ),
    "aa00058000123b3200ff26030713485032e2": Parsed(
        "00", "058000123b32", 0, 255, moment("2026-03-07 13:48:50.500")
    ),
    "aa000580001218380001260307205342324c": Parsed(
        "00", "058000121838", 0, 1, moment("2026-03-07 20:53:42.500")
    ),
    "aa00058000123b3200012603081222022f060080cd": Parsed(
        "00", "058000123b32", 0, 1, moment("2026-03-08 12:22:02.470"), "first"
    ),
    "aa00058000123b3200042603081222022f060060ce": Parsed(
        "00", "058000123b32", 0, 4, moment("2026-03-08 12:22:02.470"), "last"
    ),
    "aa400000000123450a2a01123018455963a7": Parsed(
        "40", "000000012345", 10, 42, moment("2001-12-30 18:45:59.990")
    ),
}

REFUSED = [
    ("aa400000000123450a2a01123018455927a8", "lrc"),
    (FIRST_LINE[:-1], "length"),
    (FIRST_LINE + "0", "length"),
    (FIRST_LINE + "0600", "length"),
    ("ab" + FIRST_LINE[2:], "prefix"),
    ("AA" + FIRST_LINE[2:], "prefix"),
    (FIRST_LINE + "ZZ", "suffix"),
    (FIRST_LINE + "fs", "suffix"),
    ("aa400000000123450a2a01123018455964a8", "hundredths"),
    ("aa400000000123450a2a01133018455927a8", "date"),
    ("aa400000000123450a2a01023018455927a6", "date"),
    ("aa400000000123450a2a01123024455927a4", "time"),
    ("aa4000000001234g0a2a01123018455927a7", "hex"),
    ("aa40000000012\u0663450a2a01123018455927a7", "hex"),
    ("aa40000000012\x00450a2a01123018455927a7", "hex"),
    ("aa40000000012\ud800450a2a01123018455927a7", "hex"),
    ("aa+4000000012345 0a2a01123018455927a7", "length"),
    ("", "empty"),
    (" \t\r\n", "empty"),
]

HEX = "0123456789abcdef"
VALUES = st.fixed_dictionaries(
    {
        "reader_id": st.text(HEX, min_size=2, max_size=2),
        "tag_id": st.text(HEX, min_size=12, max_size=12),
        "i": st.integers(0, 255),
        "q": st.integers(0, 255),
        "read_at": st.datetimes(moment("2000-01-01"), moment("2099-12-31T23:59:59")).map(
            lambda drawn: drawn.replace(microsecond=drawn.microsecond // 10_000 * 10_000)
        ),
    }
)


def stamped(body: str) -> str:
    """`body` between its `aa` and the LRC that makes it whole."""
    return f"aa{body}{sum(body.encode()) & 0xFF:02x}"


@pytest.mark.parametrize(("line", "read"), LINES.items())
def test_a_real_line_says_all_of_its_values(line: str, read: Parsed) -> None:
    assert parse(line) == read


@pytest.mark.parametrize(("line", "reason"), REFUSED)
def test_what_is_no_read_carries_its_first_reason_and_nothing_else(line: str, reason: str) -> None:
    assert parse(line) == Parsed(parse_error=reason)  # type: ignore[arg-type] # a str from the table


@pytest.mark.parametrize("around", ["{}\r\n", "  {}", "\t{} trailing words", "{}\n{}"])
def test_only_the_first_word_of_a_line_counts(around: str) -> None:
    assert parse(around.format(FIRST_LINE, "junk")) == parse(FIRST_LINE)


@pytest.mark.parametrize(
    ("status", "sighting"),
    [
        ("80", "first"),
        ("40", "last"),
        ("60", "last"),
        ("c0", "first"),
        ("00", None),
        ("3f", None),
        ("ff", None),
    ],
)
def test_the_status_byte_tells_first_and_last(status: str, sighting: Sighting | None) -> None:
    assert parse(stamped(FIRST_LINE[2:34] + "0600" + status)).sighting == sighting


def test_the_suffix_overrules_the_status_byte() -> None:
    assert parse(stamped(FIRST_LINE[2:34] + "060080") + "LS").sighting == "last"


@pytest.mark.parametrize(
    ("digits", "reason"),
    [
        ("01123018455927", None),
        ("00022918455927", None),
        ("01022918455927", "date"),
        ("0a123018455927", "date"),
        ("01003018455927", "date"),
        ("01120018455927", "date"),
        ("01123018605927", "time"),
        ("01123018456027", "time"),
        ("0112301a455927", "time"),
        ("01133024455964", "date"),
        ("01123024455964", "time"),
        ("011230184559ff", "hundredths"),
    ],
)
def test_the_clock_is_a_real_one_and_the_first_fault_is_named(digits: str, reason: str | None) -> None:
    assert parse(stamped("400000000123450a2a" + digits)).parse_error == reason


@given(st.text(st.characters(), max_size=60) | st.text("aFLSZ0123456789b \r\n\x00\ud800٣", max_size=60))
def test_no_text_makes_the_parser_raise(text: str) -> None:
    read = parse(text)
    assert (read.parse_error is None) == (read.tag_id is not None and read.read_at is not None)


@given(VALUES, st.sampled_from(["", "FS", "LS"]))
def test_a_composed_line_parses_to_what_it_was_composed_of(values: dict[str, object], suffix: str) -> None:
    sighting = {"": None, "FS": "first", "LS": "last"}[suffix]
    line = compose(**values, suffix=suffix)  # type: ignore[arg-type] # drawn by name
    assert parse(line) == Parsed(**values, sighting=sighting)  # type: ignore[arg-type] # drawn by name


@given(VALUES, st.tuples(*[st.integers(0, 255)] * 3))
def test_a_composed_line_with_a_trailer_parses_too(
    values: dict[str, object], trailer: tuple[int, int, int]
) -> None:
    line = compose(**values, trailer=trailer)  # type: ignore[arg-type] # drawn by name
    assert (len(line), parse(line).read_at) == (42, values["read_at"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"read_at": moment("1999-12-31")},
        {"tag_id": "12345"},
        {"tag_id": "00000001234x"},
        {"i": 256},
        {"trailer": (1, 2)},
    ],
)
def test_values_that_make_no_read_line_are_refused(wrong: dict[str, object]) -> None:
    right = {"reader_id": "40", "tag_id": "000000012345", "read_at": moment("2026-03-07")}
    with pytest.raises(ValueError, match="no read line"):
        compose(**{**right, **wrong})  # type: ignore[arg-type] # wrong on purpose


@given(VALUES, st.integers(2, 33), st.characters())
def test_a_line_with_one_changed_character_is_no_read(
    values: dict[str, object], place: int, character: str
) -> None:
    line = compose(**values)  # type: ignore[arg-type] # drawn by name
    changed = line[:place] + character + line[place + 1 :]
    assert changed == line or parse(changed).parse_error is not None


@given(st.sampled_from(list(LINES) + [line for line, _ in REFUSED]))
def test_the_annotation_is_the_stored_part_of_what_a_line_says(line: str) -> None:
    read = parse(line)
    assert annotate(line) == (read.tag_id, read.read_at, read.parse_error)


@given(
    st.text()
    | st.builds(str.__add__, st.sampled_from(list(LINES)), st.sampled_from(["", " é", "\u2003", "é"]))
)
def test_a_line_as_bytes_says_the_same(line: str) -> None:
    assert annotate_frame(line.encode() + b"\r\n") == annotate_frame(line.encode()) == annotate(line)


@given(st.binary())
def test_any_bytes_say_something(frame: bytes) -> None:
    tag_id, read_at, error = annotate_frame(frame)
    assert (tag_id is None) is (read_at is None) is (error is not None)


def test_twenty_five_thousand_lines_take_well_under_a_second_of_one_core() -> None:
    lines = [compose(reader_id="00", tag_id=f"{n:012x}", read_at=moment("2026-03-07")) for n in range(5_000)]
    best_s = min(timeit.repeat(lambda: [annotate(line) for line in lines], number=1, repeat=5))
    # About 2 µs a line; ten times that is no slow machine but a broken parser.
    assert best_s / len(lines) < 20e-6
