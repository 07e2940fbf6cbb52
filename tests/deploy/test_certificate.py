"""`rt-server certificate verify` says of a file, without a server, whether all holds, and of what does not why."""

import csv
import io
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import msgspec
import orjson
import pytest
from click.testing import CliRunner, Result

from api.certificate.digests import digests, root
from api.certificate.judging import Judged
from api.certificate.ledger import Entry
from api.certificate.signing import key_name, public_half, signature_of, text
from api.certificate.store.blocks import Block
from api.certificate.store.facts import Facts, Forwarder, StreamSum
from api.certificate.store.parts import Part
from api.certificate.writing import Asked, signed, written
from deploy.cli.main import main

SECRET = bytes(range(32))
KEY = key_name(public_half(SECRET))
LINES = {seq: f"line {seq}".encode() for seq in range(1, 2_101)} | {
    7: b'"quoted", \xff\r\n',
    8: b"",
    9: b"\x00",
}
FINISH, START = uuid4(), uuid4()


def judged(
    stream_id: UUID, title: str, epoch: int, lines: dict[int, bytes], bounds: tuple[int, int | None]
) -> Judged:
    first, end = bounds
    within = [
        (seq, line) for seq, line in sorted(lines.items()) if first <= seq and (end is None or seq < end)
    ]
    blocks = [Block(block, 1, 1, 1, digest, 0, 0, 1) for block, digest in digests(within)]
    facts = Facts(
        "f", "r", title, None, None, None, None, 0, 0, 0, 0, 0, Forwarder(False, None, None, None), [], []
    )
    return Judged(Part(stream_id, epoch, first, end, "asked"), facts, Entry(blocks, 1, 0, [], 0), len(within))


def made(*parts: Judged) -> dict[str, Any]:
    """Return a certificate as it is answered."""
    sums = {each.part.stream_id: StreamSum(0, {}, 0) for each in parts}
    asked = Asked(None, [each.part for each in parts], [])
    said = signed(written(asked, parts, sums, issued_at=datetime(2026, 5, 3, 12, tzinfo=UTC)), SECRET)
    return dict(orjson.loads(orjson.dumps(msgspec.to_builtins(said, builtin_types=(datetime,)))))


def exported(lines: Mapping[tuple[int, int], bytes], header: str = "raw_read_line") -> bytes:
    """Return what an export is, of lines by epoch and number."""
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(["stream_epoch", "seq", "reader_timestamp", header, "read_type"])
    rows.writerows([epoch, seq, "t", line.decode("latin-1"), "raw"] for (epoch, seq), line in lines.items())
    return file.getvalue().encode("latin-1")


def of_epoch(epoch: int, lines: Mapping[int, bytes] = LINES) -> dict[tuple[int, int], bytes]:
    return {(epoch, seq): line for seq, line in lines.items()}


Verify: TypeAlias = Callable[..., Result]


@pytest.fixture
def verify(tmp_path: Path) -> Verify:
    def verify(said: object, *exports: bytes | str, key: object = None) -> Result:
        (tmp_path / "certificate.json").write_bytes(said if isinstance(said, bytes) else orjson.dumps(said))
        given = [str(tmp_path / "certificate.json")]
        for n, each in enumerate(exports):
            if isinstance(each, str):
                given.append(each)
                continue
            (tmp_path / f"{n}.csv").write_bytes(each)
            given += ["--export", str(tmp_path / f"{n}.csv")]
        if isinstance(key, str):
            given += ["--key", key]
        elif key is not None:
            (tmp_path / "keys.json").write_bytes(orjson.dumps(key))
            given += ["--key", str(tmp_path / "keys.json")]
        return CliRunner().invoke(main, ["certificate", "verify", *given])

    return verify


@pytest.fixture
def said() -> dict[str, Any]:
    """A certificate of two epochs of one stream and one of another, which a boundary cuts."""
    other = {seq: b"start %d" % seq for seq in range(1, 50)}
    return made(
        judged(FINISH, "Finish", 1, LINES, (1, None)),
        judged(FINISH, "Finish", 2, {5: b"x"}, (1, None)),
        judged(START, "Start", 1, other, (10, 20)),
        judged(START, "Start", 1, other, (30, None)),
    )


WHOLE = [
    exported(of_epoch(1) | {(2, 5): b"x", (3, 1): b"of no part"}),
    exported(of_epoch(1, {seq: b"start %d" % seq for seq in range(1, 50)}), "raw_frame"),
]


def test_a_certificate_that_is_signed_and_the_exports_of_all_of_it_hold(
    verify: Verify, said: dict[str, Any]
) -> None:
    assert verify(orjson.dumps(said, option=orjson.OPT_INDENT_2), key=KEY).exit_code == 0
    done = verify(said, *WHOLE, key=KEY)
    assert done.exit_code == 0, done.output
    assert done.output.count("1.csv: ") == 2
    assert verify(said, *reversed(WHOLE), key=KEY).exit_code == 0


def test_a_key_that_nobody_has_compared_is_nobody_s(verify: Verify, said: dict[str, Any]) -> None:
    done = verify(said, *WHOLE)
    assert (done.exit_code, KEY in done.output, "BAD" in done.output) == (1, True, False)
    assert "??   whose key that is was not looked at: give --key" in done.output


def test_a_script_can_ask_for_what_is_complete(verify: Verify, said: dict[str, Any]) -> None:
    said["verdict"] = "complete"
    said["signature"]["value"] = text(signature_of(said, SECRET))
    assert verify(said, "--complete", key=KEY).exit_code == 0
    done = verify(made(), "--complete", key=KEY)
    assert (done.exit_code, "BAD  it says incomplete" in done.output) == (1, True)


def test_what_it_says_of_itself_is_printed_and_is_no_fault_of_its_own(verify: Verify) -> None:
    done = verify(made(), key=KEY)
    assert (done.exit_code, "incomplete: " in done.output, "There is no read" in done.output) == (
        0,
        True,
        True,
    )


@pytest.mark.parametrize("field", ["verdict", "issued_at", "reasons", "cannot_know", "read_count"])
def test_whatever_of_it_is_changed_its_signature_does_not_hold(
    verify: Verify, said: dict[str, Any], field: str
) -> None:
    said[field] = {"reasons": [{"code": "x", "text": "x"}], "cannot_know": ["x"], "read_count": 7}.get(
        field, "x"
    )
    done = verify(said)
    assert (done.exit_code, "BAD  the signature is not of this certificate" in done.output) == (1, True)


def test_who_signs_with_a_key_of_his_own_is_not_trusted(verify: Verify, said: dict[str, Any]) -> None:
    assert verify(said, key=KEY).exit_code == 0
    assert verify(said, key=KEY.upper()).exit_code == 0
    done = verify(said, key=key_name(b"x" * 32))
    assert (done.exit_code, "is not a key that is trusted" in done.output) == (1, True)


@pytest.mark.parametrize(
    ("retired_at", "code", "words"),
    [
        (None, 0, "is trusted"),
        ("2026-05-03T12:00:01+00:00", 0, "was retired at 2026-05-03T12:00:01+00:00, after this was issued"),
        ("2026-05-03T11:59:59+00:00", 1, "was retired at 2026-05-03T11:59:59+00:00, before this was issued"),
    ],
)
def test_a_key_that_was_retired_vouches_for_what_it_signed_until_then(
    verify: Verify, said: dict[str, Any], retired_at: str | None, code: int, words: str
) -> None:
    keys = {"keys": [{"key": "another", "retired_at": None}, {"key": KEY, "retired_at": retired_at}]}
    done = verify(said, key=keys)
    assert (done.exit_code, words in done.output) == (code, True), done.output


@pytest.mark.parametrize(
    ("export", "words"),
    [
        (
            exported(of_epoch(1, LINES | {1234: b"line 1235"})),
            "Finish, epoch 1 differs in the numbers 1,001 to 2,000",
        ),
        (
            exported(of_epoch(1, {s: x for s, x in LINES.items() if s != 2_050})),
            "in the numbers 2,001 to 3,000",
        ),
        (exported(of_epoch(1, LINES | {2_101: b"more"})), "in the numbers 2,001 to 3,000"),
        (exported(of_epoch(1, LINES | {7: b'"quoted", \xff\r'})), "in the numbers 1 to 1,000"),
        (exported({}), "Finish, epoch 1: it is in no export that was given"),
        (exported(of_epoch(5)), "Finish, epoch 1: it is in no export that was given"),
    ],
)
def test_an_export_that_is_another_is_refused_with_where(verify: Verify, export: bytes, words: str) -> None:
    done = verify(made(judged(FINISH, "Finish", 1, LINES, (1, None))), export, key=KEY)
    assert (done.exit_code, words in done.output) == (1, True), done.output


def test_where_any_export_is_given_all_of_it_must_be_in_one(verify: Verify, said: dict[str, Any]) -> None:
    done = verify(said, WHOLE[0])
    assert done.exit_code == 1
    assert done.output.count("Start, epoch 1: it is in no export that was given") == 2


def test_one_of_several_parts_that_differs_is_found_though_the_others_are_the_same(
    verify: Verify, said: dict[str, Any]
) -> None:
    lines = {seq: b"start %d" % seq for seq in range(1, 50)} | {40: b"x"}
    done = verify(said, WHOLE[0], exported(of_epoch(1, lines)))
    assert done.exit_code == 1
    assert "ok   " in done.output
    assert "1.csv: Start, epoch 1 differs" in done.output


@pytest.mark.parametrize(
    "signature",
    [
        None,
        "x",
        {},
        {"algorithm": "Ed25519", "value": "x", "public_key": "YQ=="},
        {"algorithm": "Ed25519", "value": "YQ==", "public_key": "!"},
    ],
)
def test_what_has_no_signature_that_can_be_read_is_refused_in_a_line(
    verify: Verify, said: dict[str, Any], signature: object
) -> None:
    done = verify(said | {"signature": signature})
    assert (done.exit_code, done.output.count("\n"), "is no certificate" in done.output) == (1, 1, True)
    without = {name: value for name, value in said.items() if name != "signature"}
    assert "is no certificate" in verify(without).output


def test_a_block_whose_digest_cannot_be_read_is_refused_in_a_line(
    verify: Verify, said: dict[str, Any]
) -> None:
    said["parts"][0]["blocks"][0][1] = "x"
    done = verify(said)
    assert (done.exit_code, done.output.count("\n"), "is no certificate" in done.output) == (1, 1, True)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (b"", "is no certificate"),
        (b"[]", "is no certificate"),
        (b'{"kind": "rt-server certificate", "version": 1}', "is no certificate"),
        (b'{"kind": "rt-server certificate", "version": 2}', "of another version"),
    ],
)
def test_what_is_no_certificate_is_refused_in_a_line(verify: Verify, given: bytes, words: str) -> None:
    done = verify(given)
    assert (done.exit_code, done.output.count("\n"), words in done.output) == (1, 1, True), done.output


@pytest.mark.parametrize(
    "export", [b"", b"line 1\n", b"stream_epoch,seq,raw_frame\nx,1,y\n", b"stream_epoch,seq,raw_frame\n1\n"]
)
def test_what_is_no_export_is_refused_in_a_line(verify: Verify, said: dict[str, Any], export: bytes) -> None:
    done = verify(said, export)
    assert (done.exit_code, done.output.count("\n"), "is no export" in done.output) == (1, 1, True), (
        done.output
    )


def test_digests_are_of_blocks_that_hold_something_in_order() -> None:
    whole = list(digests([(1, b"a"), (1_000, b"b"), (1_001, b"c"), (5_001, b"")]))
    assert [block for block, _ in whole] == [0, 1, 5]
    assert root(whole) != root(whole[::-1])
