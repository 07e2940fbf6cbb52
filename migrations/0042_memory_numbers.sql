-- Up to where the lines of a memory are numbered (api/reconcile/): a number is given once, whatever becomes of the stream.
-- `stream_metrics` and `memory_parts` alone forget with the stream's past, and receivers that take an identity once would
-- drop other lines under the same one. So this refers to no stream, and nobody deletes of it; a row for each epoch that a
-- memory was ever stored in.
CREATE TABLE memory_numbers (
    forwarder_id text   NOT NULL,
    reader_ip    text   NOT NULL,                              -- the reader's, as in memory_parts
    stream_epoch bigint NOT NULL CHECK (stream_epoch >= 1),
    next_seq     bigint NOT NULL CHECK (next_seq >= 1),
    PRIMARY KEY (forwarder_id, reader_ip, stream_epoch)
);

INSERT INTO memory_numbers (forwarder_id, reader_ip, stream_epoch, next_seq)
SELECT forwarder_id, reader_ip, stream_epoch, max(next_seq)
FROM (SELECT forwarder_id, left(reader_ip, -7) AS reader_ip, metrics.stream_epoch, last_seq + 1 AS next_seq
      FROM stream_metrics AS metrics JOIN streams USING (stream_id)
      WHERE right(reader_ip, 7) = '#memory' AND metrics.stream_epoch >= 1 AND last_seq >= 0
      UNION ALL
      SELECT forwarder_id, reader_ip, stream_epoch, first_seq + cardinality(lines) FROM memory_parts) AS known
GROUP BY forwarder_id, reader_ip, stream_epoch;
