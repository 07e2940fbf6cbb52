"""The files of a race: every odd one is taken as it was meant, or refused by line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.races import imports
from api.races.imports import (
    Chip,
    FileRefused,
    Parsed,
    Participant,
    TooManyRows,
    Warned,
    parse_chips,
    parse_participants,
)

ADA = Participant(1, "Ada", "Byron", None, "X")


def people(content: bytes) -> list[Participant]:
    parsed = parse_participants(content)
    assert not parsed.bad_count, parsed.bad
    return parsed.rows


def chips(content: bytes) -> list[Chip]:
    parsed = parse_chips(content)
    assert not parsed.bad_count, parsed.bad
    return parsed.rows


def bad(parsed: Parsed[Participant] | Parsed[Chip]) -> list[tuple[int, str]]:
    """Return the lines that are bad, with the reasons."""
    return [(each.line, each.reason) for each in parsed.bad]


# --- people ----------------------------------------------------------------------------------------------


def test_people_have_bib_last_and_first_name_affiliation_and_gender() -> None:
    assert people(b"7,Hopper,Grace,Navy,whatever,F,more,and more\n1,Byron,Ada\n") == [
        Participant(7, "Grace", "Hopper", "Navy", "F"),
        ADA,
    ]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b" \t\r\n"])
def test_line_ends_of_all_systems_are_none_of_the_last_column(line_end: bytes) -> None:
    assert people(b"1,Byron,Ada" + line_end + b"2,Turing,Alan" + line_end) == [
        ADA,
        Participant(2, "Alan", "Turing", None, "X"),
    ]


def test_a_carriage_return_alone_ends_no_line() -> None:
    assert people(b"1,Byron,Ada,A\rB\n")[0].affiliation == "A\rB"


def test_a_file_without_a_last_line_end_has_its_last_line() -> None:
    assert people(b"1,Byron,Ada") == people(b"\n\n;c\n1,Byron,Ada") == [ADA]


def test_a_byte_order_mark_is_no_part_of_the_first_bib() -> None:
    assert people(b"\xef\xbb\xbf1,Byron,Ada\n") == [ADA]
    assert chips(b"\xef\xbb\xbf1,aa\n") == [Chip("aa", 1, 1, True)]


def test_what_is_no_utf_8_is_windows_1252_as_browsers_have_it() -> None:
    (person,) = people("1,Müller,Jürgen".encode("cp1252") + b"\x81\x8d\x8f\x90\x9d,\x80\n")
    assert person == Participant(1, "Jürgen\x81\x8d\x8f\x90\x9d", "Müller", "€", "X")


def test_a_mark_at_the_beginning_belongs_to_no_name_though_another_is_no_utf_8() -> None:
    found = people(b"\xef\xbb\xbf1,Miller,A\n" + "2,Weiß,B\n".encode("cp1252"))
    assert [(each.bib, each.last_name) for each in found] == [(1, "Miller"), (2, "Weiß")]


def test_one_byte_that_is_no_utf_8_makes_the_whole_file_windows_1252() -> None:
    found = people("1,Müller,A\n".encode() + "2,Weiß,B\n".encode("cp1252"))
    assert [each.last_name for each in found] == ["MÃ¼ller", "Weiß"]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("parse", [parse_participants, parse_chips])
def test_utf_16_is_refused_with_what_to_do(encoding: str, parse: object) -> None:
    assert callable(parse)
    with pytest.raises(FileRefused, match="save it as UTF-8"):
        parse("\ufeff1,Byron,Ada\n".encode(encoding))


def test_every_comma_separates_and_quotes_are_letters() -> None:
    assert people(b'1,"Byron, Ada",x\n') == [Participant(1, 'Ada"', '"Byron', "x", "X")]


@pytest.mark.parametrize(
    ("text", "gender"),
    [("M", "M"), ("m", "M"), ("F", "F"), (" f ", "F"), ("W", "X"), ("", "X"), ("female", "X")],
)
def test_genders(text: str, gender: str) -> None:
    assert people(f"1,Byron,Ada,,,{text}\n".encode())[0].gender == gender


def test_names_may_be_empty_and_a_blank_affiliation_is_none() -> None:
    assert people(b"1,,,  ,\n") == [Participant(1, "", "", None, "X")]


@pytest.mark.parametrize("bib", ["0", "+5", " 12 ", "2147483647", "0002147483647", "000000000000000000007"])
def test_bibs_that_are_taken(bib: str) -> None:
    assert people(f"{bib},Byron,Ada\n".encode())[0].bib == int(bib)


@pytest.mark.parametrize(
    "bib", ["-1", "-0", "2147483648", "9" * 5000, "x1", "", "1.0", "1 2", "++1", "\uff11", "0x1", "1e3"]
)
def test_bibs_that_are_refused(bib: str) -> None:
    assert bad(parse_participants(f"{bib},Byron,Ada\n".encode())) == [(1, "bib")]


def test_a_header_of_people_is_a_row_whose_bib_is_no_number() -> None:
    parsed = parse_participants(b"bib,last,first\n1,Byron,Ada\n")
    assert bad(parsed) == [(1, "bib")]
    assert parsed.bad[0].message == "bib 'bib' is no whole number from 0 to 2147483647"
    assert parsed.bad[0].text == "bib,last,first"


def test_lines_are_numbered_over_comments_and_blanks() -> None:
    parsed = parse_participants(b"; people\n\n  \n1,Byron,Ada\n;x\n2,Turing\nx,y,z\n")
    assert bad(parsed) == [(6, "columns"), (7, "bib")]
    assert parsed.skipped == 4


def test_the_first_of_a_bib_counts_and_the_later_one_is_said() -> None:
    parsed = parse_participants(b"1,Byron,Ada\n2,Turing,Alan\n1,Other,One\n+1,Third,One\n")
    assert parsed.rows == [ADA, Participant(2, "Alan", "Turing", None, "X")]
    assert parsed.duplicates == 2
    assert parsed.warnings == [
        Warned(3, "bib 1 is that of line 1 already: left out"),
        Warned(4, "bib 1 is that of line 1 already: left out"),
    ]


@pytest.mark.parametrize("column", [1, 2, 3])
def test_texts_have_a_bound_and_hold_no_nul(column: int) -> None:
    row = ["1", "Byron", "Ada", "A"]
    row[column] = " " * 300 + "é" * 255 + " "
    assert people(",".join(row).encode())
    row[column] = "é" * 256
    assert bad(parse_participants(",".join(row).encode())) == [(1, "length")]
    row[column] = "a\0b"
    assert bad(parse_participants(",".join(row).encode())) == [(1, "nul")]


@pytest.mark.parametrize("content", [b"", b"\n\n", b";only\n; comments\n", b"\xef\xbb\xbf"])
def test_a_file_without_people_cannot_empty_a_race(content: bytes) -> None:
    with pytest.raises(FileRefused, match="no participants"):
        parse_participants(content)


def test_bad_rows_are_counted_beyond_those_that_are_named() -> None:
    parsed = parse_participants(b"1,Byron,Ada\n" + b"x" * 200 + b"\n" * 1 + b"y\n" * 100)
    assert parsed.bad_count == 101
    assert len(parsed.bad) == imports.BAD_ROWS == 20
    assert parsed.bad[0].text == "x" * 80


def test_warnings_have_a_bound() -> None:
    parsed = parse_participants(b"1,Byron,Ada\n" * 500)
    assert parsed.duplicates == 499
    assert len(parsed.warnings) == imports.WARNINGS == 100


@pytest.mark.parametrize("line", [b"%d,a,b\n", b"%dx,a,b\n"])
def test_a_race_has_a_most_of_people_bad_rows_included(line: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "MOST_PARTICIPANTS", 10)
    parse_participants(b"".join(line % n for n in range(10)))
    with pytest.raises(TooManyRows, match="more than 10 participants"):
        parse_participants(b"".join(line % n for n in range(11)))


# --- chips -----------------------------------------------------------------------------------------------


def test_chips_are_lower_case_and_as_many_of_a_bib_as_there_are() -> None:
    assert chips(b"7, 05800370000A ,x\n7,058003700010\n") == [
        Chip("05800370000a", 7, 1, True),
        Chip("058003700010", 7, 2, True),
    ]


def test_lines_that_begin_with_no_digit_are_no_rows() -> None:
    parsed = parse_chips('bib,chip\n\n;c\n"1",aa\n-1,aa\n+2,bb\n\uff11,cc\n3,dd\n'.encode())
    assert parsed.rows == [Chip("dd", 3, 8, True)]
    assert parsed.skipped == 7


def test_the_first_bib_of_a_chip_owns_it_and_all_are_kept() -> None:
    parsed = parse_chips(b"7,AA\n8,aa\n9,aa\n7,aa\n8,AA\n8,bb\n")
    assert parsed.rows == [
        Chip("aa", 7, 1, True),
        Chip("aa", 8, 2, False),
        Chip("aa", 9, 3, False),
        Chip("bb", 8, 6, True),
    ]
    assert parsed.duplicates == 2
    assert [each.line for each in parsed.warnings] == [2, 3]
    assert "stay 7's" in parsed.warnings[0].message


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("7", "columns"),
        ("7, ", "chip"),
        ("7x,aa", "bib"),
        ("99999999999,aa", "bib"),
        ("7,a\0a", "nul"),
        ("7," + "a" * 256, "length"),
    ],
)
def test_chips_that_are_refused(line: str, reason: str) -> None:
    assert bad(parse_chips(f"1,aa\n{line}\n".encode())) == [(2, reason)]


def test_a_file_without_chips_cannot_empty_a_race() -> None:
    with pytest.raises(FileRefused, match="no chips"):
        parse_chips(b"bib,chip\n")


# --- whatever comes --------------------------------------------------------------------------------------


@given(st.binary(max_size=300) | st.text(alphabet="0123,;ab\r\n\0\xa0é+- ", max_size=100).map(str.encode))
def test_any_bytes_are_rows_that_can_be_stored_or_are_refused(content: bytes) -> None:
    for parse in (parse_participants, parse_chips):
        try:
            parsed = parse(content)
        except FileRefused:
            continue
        lines = content.count(b"\n") + 1
        assert len(parsed.rows) + parsed.skipped + parsed.duplicates + parsed.bad_count <= lines
        for row in parsed.rows:
            texts = [each for each in row if isinstance(each, str)]
            assert all("\0" not in each and len(each) <= 255 * 3 for each in texts)
            assert 0 <= row.bib < 2**31
