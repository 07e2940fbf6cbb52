"""What a line is, whichever form it came in (protocol.md, section 3): the text of a line, or a frame, which is the
bytes as they came from the reader, their line end with them. The same in SQL: migrations/routines/lines.sql.
"""

__all__ = ["shown_line", "without_line_end"]


def without_line_end(line: bytes) -> bytes:
    """Return a line without one CR LF or LF at its end."""
    if line.endswith(b"\n"):
        return line[:-2] if line.endswith(b"\r\n") else line[:-1]
    return line


def shown_line(raw_frame: bytes, *, framed: bool) -> bytes:
    """Return what people, tools and receivers of the first generation are shown of a stored line: a text as it came, a
    frame without its line end.
    """
    return without_line_end(raw_frame) if framed else raw_frame
