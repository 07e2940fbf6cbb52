"""What several statements say of a stream, each in one place: parts of SQL, put into statements of streams."""

__all__ = ["OPEN_CONFLICTS", "ZONE_UNKNOWN"]

# Of a row `clock` of reader_clocks: reads come with a clock, and no zone is known whose time it may show.
ZONE_UNKNOWN = "clock.ahead_ms IS NOT NULL AND clock.offset_ms IS NULL"
# Joins conflicts(count) to a row of streams. Counted up to a thousand: more say no more, and cost a look at each.
OPEN_CONFLICTS = """CROSS JOIN LATERAL (
    SELECT count(*) FROM (
        SELECT FROM integrity_conflicts AS conflict
        WHERE conflict.stream_id = streams.stream_id AND acknowledged_at IS NULL
        LIMIT 1000
    ) AS open
) AS conflicts(count)"""
