-- version: 3
--
-- Which race a read is of. Here and nowhere else: who shows, counts or exports reads of a race asks these.
--
-- A read is of the race whose segment it lies in. What lies in none is of the epoch's own race, which is the one that the
-- epoch was given to, else that of its forwarder; but not where that race has a segment of its own in the epoch: then
-- somebody has said which of its reads are the race's, and these are no others.
--
-- What a reader's memory had is of the race of its reader's same epoch, as long as nobody has given its own epoch to one:
-- its epoch never moves by itself, so that its forwarder's race would be that of any later day.

-- The race that an epoch was given to by itself, or the one of its reader, where it is of a memory; no row where neither
-- was.
CREATE OR REPLACE FUNCTION given_race_of_epoch(given_stream uuid, given_epoch bigint) RETURNS TABLE (race_id uuid)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT mapped.race_id FROM epoch_races AS mapped
    WHERE mapped.stream_id = coalesce(
              (SELECT own.stream_id FROM epoch_races AS own
               WHERE own.stream_id = given_stream AND own.stream_epoch = given_epoch),
              -- By its whole key: as a join it could be looked up by its forwarder alone.
              (SELECT reader.stream_id FROM streams AS reader
               WHERE reader.forwarder_id = (SELECT forwarder_id FROM streams WHERE streams.stream_id = given_stream)
                 AND reader.reader_ip = (SELECT reader_of_memory(streams.reader_ip) FROM streams
                                         WHERE streams.stream_id = given_stream)))
      AND mapped.stream_epoch = given_epoch;
END;

-- The race of an epoch where nothing is said of single reads; one row, null where it is of none.
CREATE OR REPLACE FUNCTION race_of_epoch(given_stream uuid, given_epoch bigint) RETURNS TABLE (race_id uuid)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT coalesce(
        (SELECT given.race_id FROM given_race_of_epoch(given_stream, given_epoch) AS given),
        (SELECT assigned.race_id FROM forwarder_races AS assigned
         WHERE assigned.forwarder_id = (SELECT forwarder_id FROM streams WHERE streams.stream_id = given_stream)));
END;

-- The race of a read; one row, null where it is of none. Each step is a look by a key, so that reads cost what they are
-- many, whatever is stored: segments do not overlap, so the last that begins at or before a read is the only one that it
-- can lie in.
CREATE OR REPLACE FUNCTION race_of_read(given_stream uuid, given_epoch bigint, given_seq bigint)
RETURNS TABLE (race_id uuid)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT coalesce(
        (SELECT CASE WHEN latest.to_epoch IS NULL OR (given_epoch, given_seq) < (latest.to_epoch, latest.to_seq)
                     THEN latest.race_id END
         FROM (SELECT segment.race_id, segment.to_epoch, segment.to_seq
               FROM race_segments AS segment
               WHERE segment.stream_id = given_stream
                 AND (segment.from_epoch, segment.from_seq) <= (given_epoch, given_seq)
               ORDER BY segment.from_epoch DESC, segment.from_seq DESC
               LIMIT 1) AS latest),
        (SELECT whole.race_id FROM race_of_epoch(given_stream, given_epoch) AS whole
         WHERE NOT EXISTS (
             SELECT FROM race_segments AS own
             WHERE own.race_id = whole.race_id AND own.stream_id = given_stream AND own.from_epoch <= given_epoch
               AND (own.to_epoch IS NULL OR (own.to_epoch, own.to_seq) > (given_epoch, 1)))));
END;

-- The same the other way: an epoch of a stream in its pieces, from_seq up to and without to_seq (null: to its end), each
-- with its race (null: of none) and what says so.
CREATE OR REPLACE FUNCTION ranges_of_epoch(given_stream uuid, given_epoch bigint)
RETURNS TABLE (race_id uuid, from_seq bigint, to_seq bigint, rule text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    WITH cut AS MATERIALIZED (
        SELECT segment.race_id,
               int8range(CASE WHEN segment.from_epoch = given_epoch THEN segment.from_seq ELSE 1 END,
                         CASE WHEN segment.to_epoch = given_epoch THEN segment.to_seq END) AS reads
        FROM race_segments AS segment
        WHERE segment.stream_id = given_stream AND segment.from_epoch <= given_epoch
          AND (segment.to_epoch IS NULL OR (segment.to_epoch, segment.to_seq) > (given_epoch, 1))
    )
    SELECT cut.race_id, lower(cut.reads) AS from_seq, upper(cut.reads) AS to_seq, 'segment' AS rule FROM cut
    UNION ALL
    SELECT CASE WHEN EXISTS (SELECT FROM cut WHERE cut.race_id = whole.race_id) THEN NULL ELSE whole.race_id END,
           lower(rest.reads), upper(rest.reads),
           CASE WHEN EXISTS (SELECT FROM given_race_of_epoch(given_stream, given_epoch))
                THEN 'epoch' ELSE 'forwarder' END
    FROM race_of_epoch(given_stream, given_epoch) AS whole
    CROSS JOIN unnest(int8multirange(int8range(1, NULL))
                      - coalesce((SELECT range_agg(cut.reads) FROM cut), '{}'::int8multirange)) AS rest (reads);
END;

-- All that is of a race, epoch by epoch: of those that segments or people gave to it, and of its forwarders' streams the
-- current one, where that is nobody else's. (Older ones without a race of their own were run under whatever race the
-- forwarder had then.) And what the memories of these readers had in the same epochs. Either way a part is of the race
-- only where `ranges_of_epoch` says so. is_whole: all that is stored of the epoch, so that what is counted of whole epochs holds for it.
CREATE OR REPLACE FUNCTION ranges_of_race(given_race uuid)
RETURNS TABLE (stream_id uuid, stream_epoch bigint, from_seq bigint, to_seq bigint, rule text, is_whole boolean)
LANGUAGE sql STABLE
BEGIN ATOMIC
    WITH said AS MATERIALIZED (
        SELECT mapped.stream_id, mapped.stream_epoch FROM epoch_races AS mapped WHERE mapped.race_id = given_race
        UNION
        SELECT streams.stream_id, streams.stream_epoch
        FROM streams JOIN forwarder_races AS assigned USING (forwarder_id)
        WHERE assigned.race_id = given_race AND NOT is_memory(reader_ip)
        UNION
        SELECT stored.stream_id, stored.stream_epoch
        FROM race_segments AS segment JOIN stream_metrics AS stored USING (stream_id)
        WHERE segment.race_id = given_race
          AND stored.stream_epoch BETWEEN segment.from_epoch AND coalesce(segment.to_epoch, 9223372036854775807)
    ),
    epochs AS MATERIALIZED (
        SELECT said.stream_id, said.stream_epoch FROM said
        UNION
        SELECT stored.stream_id, stored.stream_epoch
        FROM said
        JOIN streams AS reader ON reader.stream_id = said.stream_id
        JOIN streams AS memory
            ON memory.forwarder_id = reader.forwarder_id AND memory.reader_ip = reader.reader_ip || '#memory'
        JOIN stream_metrics AS stored
            ON stored.stream_id = memory.stream_id AND stored.stream_epoch = said.stream_epoch
    )
    SELECT epochs.stream_id, epochs.stream_epoch, part.from_seq, part.to_seq, part.rule,
           part.from_seq <= coalesce(stored.first_seq, 1)
               AND (part.to_seq IS NULL OR part.to_seq > coalesce(stored.last_seq, part.to_seq))
    FROM epochs
    CROSS JOIN LATERAL ranges_of_epoch(epochs.stream_id, epochs.stream_epoch) AS part
    LEFT JOIN stream_metrics AS stored
        ON stored.stream_id = epochs.stream_id AND stored.stream_epoch = epochs.stream_epoch
    WHERE part.race_id = given_race;
END;

-- Which chips a race has seen where, each once for a range of it. Of whole epochs the writer has counted them; of what is
-- cut it is the chips that passed there, whose reads lie on both sides of a boundary on each of them.
CREATE OR REPLACE FUNCTION chips_of_race(given_race uuid)
RETURNS TABLE (stream_id uuid, stream_epoch bigint, tag_id text, rule text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    WITH ranges AS MATERIALIZED (SELECT * FROM ranges_of_race(given_race))
    SELECT ranges.stream_id, ranges.stream_epoch, seen.tag_id, ranges.rule
    FROM ranges
    JOIN epoch_chips AS seen ON seen.stream_id = ranges.stream_id AND seen.stream_epoch = ranges.stream_epoch
    WHERE ranges.is_whole
    UNION ALL
    SELECT DISTINCT ranges.stream_id, ranges.stream_epoch, passing.tag_id, ranges.rule
    FROM ranges
    JOIN passings AS passing
        ON passing.stream_id = ranges.stream_id AND passing.stream_epoch = ranges.stream_epoch
       AND passing.high_seq >= ranges.from_seq AND (ranges.to_seq IS NULL OR passing.low_seq < ranges.to_seq)
    WHERE NOT ranges.is_whole;
END;
