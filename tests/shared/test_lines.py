"""What a line is: the same in Python and in SQL."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.protocol.lines import shown_line, without_line_end
from tests.failure.facts import Database

LINES = st.lists(st.sampled_from([b"\r", b"\n", b"a", b"\xff", b"\0"]), max_size=5).map(b"".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LINES)
def test_at_most_one_line_end_is_taken_off(line: bytes) -> None:
    bare = without_line_end(line)
    assert line in (bare + b"\r\n", bare + b"\n", bare)
    assert bare != line or not line.endswith(b"\n")
    assert not (line.endswith(b"\r\n") and bare + b"\n" == line)


async def test_the_database_sees_the_same_lines(database: Database) -> None:
    parts = (b"", b"\r", b"\n", b"a", b"\xff\0")
    lines = {first + second + third for first in parts for second in parts for third in parts}
    rows = await database.fetch(
        """
        SELECT line, without_line_end(line) AS bare, shown_line(line, true) AS frame, shown_line(line, false) AS text
        FROM unnest($1::bytea[]) AS line
        """,
        list(lines),
    )
    assert len(rows) == len(lines)
    for line, bare, frame, text in rows:
        assert bare == without_line_end(line), line
        assert frame == shown_line(line, framed=True), line
        assert text == shown_line(line, framed=False) == line
