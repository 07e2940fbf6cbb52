-- version: 1
--
-- What a line is, whichever form it came in.

-- Without one CR LF or LF: as what came in both forms, or was sent again by an upgraded device, is compared.
CREATE OR REPLACE FUNCTION without_line_end(line bytea) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN substr(line, octet_length(line) - 1) = '\x0d0a' THEN substr(line, 1, octet_length(line) - 2)
    WHEN substr(line, octet_length(line)) = '\x0a' THEN substr(line, 1, octet_length(line) - 1)
    ELSE line
END;

-- What people and tools are shown of a stored line: a text as it came, a frame without its line end.
CREATE OR REPLACE FUNCTION shown_line(raw_frame bytea, framed boolean) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN framed THEN without_line_end(raw_frame) ELSE raw_frame END;
