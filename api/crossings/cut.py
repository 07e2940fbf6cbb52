"""What of a passing is a race's, as SQL: whoever asks for passings of a race says it in these words, and no others.

A statement that uses them has the table as `passing`, and beside it the range of the race as `from_seq` and `to_seq`.
"""

__all__ = ["MEETS", "OURS", "newest_of_chip"]

# All of a passing, but where a boundary cuts it what is left, as `ours`: none, one or several. Together with MEETS, so
# that events are looked at for those alone that a boundary goes through.
OURS = """
CROSS JOIN LATERAL (
    SELECT passing.* WHERE passing.low_seq >= from_seq AND (to_seq IS NULL OR passing.high_seq < to_seq)
    UNION ALL
    SELECT part.*
    FROM passing_within(passing.stream_id, passing.stream_epoch, passing.tag_id, passing.first_read_at,
                        passing.last_read_at, passing.low_seq, passing.high_seq, from_seq, to_seq) AS part
    WHERE NOT (passing.low_seq >= from_seq AND (to_seq IS NULL OR passing.high_seq < to_seq))
) AS ours
"""
MEETS = "passing.high_seq >= from_seq AND (to_seq IS NULL OR passing.low_seq < to_seq)"


def newest_of_chip(of_race: str, tag_id: str, at_most: str) -> str:
    """Return what selects the newest of a chip in one range of a race, along the key, whatever the chip did elsewhere.
    The cut is made before the limit: a passing may have nothing on this side.
    """
    return f"""
        SELECT ours.*
        FROM passings AS passing
        {OURS}
        WHERE passing.stream_id = {of_race}.stream_id AND passing.stream_epoch = {of_race}.stream_epoch
          AND passing.tag_id = {tag_id} AND {MEETS}
        ORDER BY passing.first_read_at DESC
        LIMIT {at_most}
    """  # noqa: S608 - of constants only
