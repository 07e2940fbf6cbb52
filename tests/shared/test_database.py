"""A database that cannot be had is an error of ours that names it, whatever its address looks like."""

import pytest

from shared.db.connections import connect
from shared.db.errors import DatabaseUnavailable


@pytest.mark.parametrize(
    ("place", "parameters"),
    [
        ("127.0.0.1:1/rt", ""),
        ("127.0.0.1:1,127.0.0.1:2/rt", "?target_session_attrs=primary"),
        ("127.0.0.1:99999/rt", ""),
    ],
)
async def test_a_database_that_cannot_be_had_is_named_without_its_password(
    place: str, parameters: str
) -> None:
    with pytest.raises(DatabaseUnavailable, match=f"cannot connect to {place}: ") as caught:
        await connect(f"postgresql://rt:secret@{place}{parameters}", name="test")
    assert "secret" not in str(caught.value)
