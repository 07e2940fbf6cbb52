"""What of a passing is a race's, as SQL: whoever asks for passings of a race says it in these words, and no others.

A statement that uses them has the table as `passing`, and beside it the range of the race as `from_seq` and `to_seq`.
"""

__all__ = ["MEETS", "OURS"]

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
