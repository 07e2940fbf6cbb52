"""Races: their people, chips, forwarders and epochs."""

from typing import Annotated, ClassVar, Literal
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType, field

from api.http.types import Answer, Flag, LongName, Number, RaceName, Request, Time

__all__ = [
    "AmbiguousChip",
    "Assignment",
    "Assignments",
    "Begin",
    "Begun",
    "BegunStream",
    "Bib",
    "EpochRace",
    "Imported",
    "MappedEpoch",
    "Mapping",
    "Mappings",
    "NewRace",
    "Participant",
    "ParticipantPath",
    "Race",
    "RaceDetails",
    "RacePatch",
    "RacePath",
    "RaceStreamPath",
    "Races",
    "Roster",
    "UnknownChip",
    "UnknownChips",
    "UnmatchedChip",
    "UploadQuery",
    "WantedRace",
    "Warned",
]

Bib = Annotated[int, Meta(ge=0, le=2**31 - 1)]
State = Literal["begun", "begun_already", "not_connected", "unknown", "failed"]


class RacePath(Request):
    """A race."""

    race_id: UUID


class ParticipantPath(Request):
    """A person of a race."""

    race_id: UUID
    bib: Bib


class RaceStreamPath(Request):
    """A race and a stream."""

    race_id: UUID
    stream_id: UUID


class Race(Answer):
    """A race. chip_count: rows of the file; a chip of two bibs counts twice. participants_until: when its people are
    removed; null: when somebody does it. gun_at: since when its clock goes; null: it has not begun. roster_changed_at:
    since when its people and chips are as they are.
    """

    race_id: UUID
    name: str
    created_at: Time
    participant_count: int
    chip_count: int
    participants_until: Time | None
    gun_at: Time | None
    roster_changed_at: Time


class Races(Answer):
    """All races, the newest first."""

    races: list[Race]


class MappedEpoch(Answer):
    """An epoch that is of a race, whatever race its forwarder is of."""

    stream_id: UUID
    stream_epoch: int


class RaceDetails(Race):
    """A race, and what belongs to it. unmatched: chips of the file whose bib is nobody's; ambiguous: chips of several
    bibs; unknown: chips that were read in the race's epochs, and are none of its own.
    """

    unmatched_count: int
    ambiguous_count: int
    unknown_chip_count: int
    forwarder_ids: list[str]
    mapped_epochs: list[MappedEpoch]


class NewRace(Request):
    """What to call a race; blanks around it are none of the name."""

    name: RaceName


class RacePatch(Request):
    """What of a race can be changed, one or more. participants_until: when its people are to be removed; null: when
    somebody does it. gun_at: when the gun was, or will be; null: when it begins. expected_...: what it is, as far as
    whoever asks knows; where it is otherwise nothing is changed.
    """

    says_something: ClassVar[bool] = True

    name: RaceName | UnsetType = UNSET
    participants_until: Time | UnsetType | None = UNSET
    gun_at: Time | UnsetType | None = UNSET
    expected_name: RaceName | UnsetType = UNSET
    expected_participants_until: Time | UnsetType | None = UNSET
    expected_gun_at: Time | UnsetType | None = UNSET


class UploadQuery(Request):
    """dry_run: say what would become of the file, and change nothing. expected_roster_changed_at: since when people and
    chips of the race are as they are, as far as whoever asks knows; where others have come since nothing is changed.
    """

    dry_run: Flag = "false"
    expected_roster_changed_at: Time | None = None


class Warned(Answer):
    """A line of a file that was taken otherwise than one may think."""

    line: int
    message: str


class Imported(Answer):
    """What became of a file: rows stored; lines that are no rows; rows that say again what one before has said, or
    another thing of the same bib; the first 100 warnings. roster_changed_at: since when people and chips of the race
    are as they are now: what to expect when the other file is imported, or this one after a dry run.
    """

    imported: int
    skipped: int
    duplicates: int
    warnings: list[Warned]
    roster_changed_at: Time


class Participant(Answer):
    """A person of a race, with the chips that are hers alone or first hers, in the order of the file."""

    bib: int
    first_name: str
    last_name: str
    gender: Literal["M", "F", "X"]
    affiliation: str | None
    chip_ids: list[str]


class UnmatchedChip(Answer):
    """A chip whose bib is nobody's."""

    chip_id: str
    bib: int


class AmbiguousChip(Answer):
    """A chip of several bibs, in the order of the file: its reads are the first one's."""

    chip_id: str
    bibs: list[int]


class Roster(Answer):
    """Who runs in a race, by bib, and the chips with which something is wrong."""

    participants: list[Participant]
    chips_without_participant: list[UnmatchedChip]
    ambiguous_chips: list[AmbiguousChip]


class UnknownChip(Answer):
    """A chip that was read in epochs of a race and is none of its own, and what the streams are called."""

    chip_id: str
    streams: list[str]


class UnknownChips(Answer):
    """The first 500 of them, by chip."""

    chips: list[UnknownChip]


class Assignment(Answer):
    """The race of a forwarder."""

    forwarder_id: str
    race_id: UUID | None


class Assignments(Answer):
    """The forwarders that have a race, by id."""

    assignments: list[Assignment]


class WantedRace(Request):
    """Which race; null, or left out: none. expected_race_id: the one before, as far as whoever asks knows."""

    race_id: UUID | None = None
    expected_race_id: UUID | UnsetType | None = UNSET


class EpochRace(Answer):
    """The race of an epoch; null: that of its forwarder."""

    stream_id: UUID
    stream_epoch: int
    race_id: UUID | None


class Mapping(Answer):
    """An epoch of a race."""

    stream_id: UUID
    forwarder_id: str
    reader_ip: str
    stream_epoch: int
    race_id: UUID


class Mappings(Answer):
    """The epochs of a race, by stream and epoch."""

    mappings: list[Mapping]


class Begin(Request):
    """Which streams begin the race; none named: all of the forwarders of the race, and those with an epoch of it.
    epoch_name: what their new epochs are called. expected_epochs: the epochs of streams, as far as whoever asks knows;
    one that is in another by now is left alone. Of a stream that is not named: whichever it is.
    """

    stream_ids: Annotated[list[UUID], Meta(min_length=1, max_length=1000)] | None = None
    epoch_name: LongName | None = None
    expected_epochs: Annotated[dict[UUID, Number], Meta(max_length=1000)] = field(default_factory=dict)


class BegunStream(Answer):
    """What became of a stream. begun: it was commanded to a new epoch, which is the race's; begun_already: nothing was
    done, because its epoch is not the one that was expected but a later one that is the race's; not_connected: nothing
    was done; unknown: nobody knows; failed: message says why.
    """

    stream_id: UUID
    state: State
    new_stream_epoch: int | None = None
    message: str | None = None


class Begun(Answer):
    """What became of each stream; repeat with those that have not begun. message: what else may be missing, because the
    database went away behind the commands, and what to do about it; null: nothing.
    """

    results: list[BegunStream]
    message: str | None = None
