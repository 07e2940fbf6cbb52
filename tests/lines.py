"""Lines of readers, as tests and measurements have them come."""

from datetime import UTC, datetime

from shared.protocol.ipico import compose

__all__ = ["line"]


def line(chip: str) -> str:
    """Return what a reader with a right clock says of a chip now."""
    return compose(reader_id="00", tag_id=chip, read_at=datetime.now(UTC).replace(tzinfo=None), i=0, q=0)
