"""Which version of the protocol each validator speaks, and which the network speaks as a whole.

A *protocol version* numbers what validators may say to each other and put into the order; a release speaks a range of
them, so that nodes of two consecutive releases run together and are replaced one at a time (ADR 0020). Each validator
announces its range when a stream opens. The *effective* version is the highest that every member of the membership
speaks, and a feature is used once the effective version has it: until then nobody says what somebody cannot understand.

Promises: two validators whose ranges do not meet exchange nothing, and both are told which to upgrade first. A member
that has never been heard counts as one that speaks the lowest version that we speak, unless it is an observer that the
caller has given up: it counts for nothing in the order, and gets what it missed by a snapshot if it ever comes. What a
member said last is kept on the disk, so that one that is away does not take features from the others.

Does not promise that an announcement is true: a member that announces less than it speaks holds features back, which
it could do as well by staying away. It cannot make others use what they do not speak.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from enum import Enum
from importlib import metadata

import structlog

from ledger import cbor
from ledger.errors import Malformed
from ledger.store import Store, StoreUnavailable

VERSIONS_KEY = b"node/versions"
# What a range may name: far beyond any release, and small enough for whoever prints it.
MAX_VERSION = 65_535
MAX_RELEASE_CHARS = 32
MAX_REMEMBERED_PEERS = 1024
MAX_RECORD_BYTES = 256 * 1024
# So many kinds of unknown messages are logged by name; the rest is only counted.
MAX_UNKNOWN_LOGGED = 64


class VersionsDoNotMeet(Exception):
    """Two validators have no protocol version in common; the message says which of them to upgrade first."""


class NotSpokenByAll(Exception):
    """A feature that some member of the network does not speak yet; `members` are those to upgrade."""

    def __init__(self, feature: Feature, members: Collection[str]) -> None:
        self.feature = feature
        self.members = tuple(sorted(members))
        super().__init__(
            f"{feature.value} need protocol version {SINCE[feature]}: upgrade {', '.join(self.members)} first"
        )


@dataclass(frozen=True, slots=True)
class VersionRange:
    lowest: int
    highest: int

    def __post_init__(self) -> None:
        if not 1 <= self.lowest <= self.highest <= MAX_VERSION:
            raise ValueError(f"protocol versions: expected 1 <= lowest <= highest, got {self.lowest} to {self.highest}")

    def __str__(self) -> str:
        return str(self.lowest) if self.lowest == self.highest else f"{self.lowest} to {self.highest}"


# Version 1 was spoken before versions were announced: whoever announces none speaks it, and nothing else.
UNANNOUNCED = VersionRange(1, 1)
SPOKEN = VersionRange(1, 4)


class Feature(Enum):
    """What only some versions know; the value is what people call it."""

    MEMBERSHIP_CHANGES = "membership changes"
    LINEARIZABLE_READS = "linearizable reads"
    SNAPSHOTS = "snapshots"
    REGISTRAR_KEYS = "registrar keys in a change of the membership"
    ATTESTATIONS = "receipts and crossing passes"


# The first version that has each. An entry here never changes once a release carried it.
SINCE = {
    Feature.MEMBERSHIP_CHANGES: 2,
    Feature.LINEARIZABLE_READS: 2,
    Feature.SNAPSHOTS: 2,
    Feature.REGISTRAR_KEYS: 3,
    Feature.ATTESTATIONS: 4,
}


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a validator says of itself when a stream opens. The release is for people only."""

    versions: VersionRange
    release: str = ""


def announcement_of(lowest: int, highest: int, release: str) -> Announcement:
    """What is on the wire, or version 1 where nothing is. Raises ValueError for a range that is none."""
    if lowest == highest == 0:
        return Announcement(UNANNOUNCED)
    shown = "".join(char for char in release[:MAX_RELEASE_CHARS] if char.isascii() and char.isprintable())
    return Announcement(VersionRange(lowest, highest), shown)


def own_announcement(spoken: VersionRange = SPOKEN) -> Announcement:
    return Announcement(spoken, metadata.version("comity"))


def check_meeting(own: str, spoken: VersionRange, peer: str, theirs: VersionRange) -> None:
    """Raises VersionsDoNotMeet."""
    if theirs.highest >= spoken.lowest and theirs.lowest <= spoken.highest:
        return
    behind = peer if theirs.highest < spoken.lowest else own
    raise VersionsDoNotMeet(
        f"{own} speaks protocol version {spoken}, {peer} speaks {theirs}: upgrade {behind} first, "
        "to a release that speaks a version of both"
    )


class Versions:
    """What is known of everybody's versions. Belongs to the event loop. `members` is the present membership."""

    def __init__(
        self,
        name: str,
        members: Callable[[], Iterable[str]],
        store: Store,
        *,
        spoken: VersionRange = SPOKEN,
        given_up: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`given_up`: whether nobody waits for a member any more that was never heard."""
        self._given_up = given_up
        self.own = own_announcement(spoken)
        self._name = name
        self._members = members
        self._store = store
        self._said = _decode(store.get(VERSIONS_KEY))
        self._log = structlog.get_logger().bind(part="versions")
        self._shown = 0
        # Why a peer is not listened to: its versions and ours do not meet.
        self.refusals: dict[str, str] = {}
        # Messages of a kind that this release does not know, by peer.
        self.unknown: dict[str, int] = {}
        self._unknown_logged: set[tuple[str, str]] = set()

    def hear(self, peer: str, announcement: Announcement) -> None:
        """A peer has announced itself. Raises VersionsDoNotMeet."""
        try:
            check_meeting(self._name, self.own.versions, peer, announcement.versions)
        except VersionsDoNotMeet as error:
            if self.refusals.get(peer) != str(error):
                self._log.error("protocol_versions_do_not_meet", peer=peer, reason=str(error))
            if len(self.refusals) < MAX_REMEMBERED_PEERS:
                self.refusals[peer] = str(error)
            raise
        self.refusals.pop(peer, None)
        before = self._said.get(peer)
        if before == announcement:
            return
        if before is not None and announcement.versions.highest < before.versions.highest:
            self._log.warning("peer_went_back", peer=peer, before=str(before.versions), now=str(announcement.versions))
        if before is None and len(self._said) >= MAX_REMEMBERED_PEERS:
            self._forget_strangers()
        self._said[peer] = announcement
        self._log.info(
            "peer_announced", peer=peer, versions=str(announcement.versions), release=announcement.release or "unnamed"
        )
        self._remember()
        self._show()

    def said(self, peer: str) -> Announcement | None:
        """What a member announced last, or None if it has never been heard."""
        return self.own if peer == self._name else self._said.get(peer)

    @property
    def effective(self) -> int:
        """The highest version that every member speaks."""
        return min(self._highest(member) for member in self._counted())

    def speak(self, feature: Feature) -> bool:
        """Whether every member speaks the feature, so that it may be used."""
        return not self.lacking(feature)

    def lacking(self, feature: Feature, *, leaving: Collection[str] = ()) -> list[str]:
        """The members that do not speak a feature, those left out that are about to leave."""
        members = self._counted().difference(leaving)
        return sorted(member for member in members if self._highest(member) < SINCE[feature])

    def peer_speaks(self, peer: str, feature: Feature) -> bool:
        """Whether one member does: for what is said to nobody else."""
        return self._highest(peer) >= SINCE[feature]

    def require(self, feature: Feature, *, leaving: Collection[str] = ()) -> None:
        """Raises NotSpokenByAll."""
        lacking = self.lacking(feature, leaving=leaving)
        if lacking:
            raise NotSpokenByAll(feature, lacking)

    def ignore(self, peer: str, kind: str) -> None:
        """Count a message of a kind that this release does not know; say so once of each kind and peer."""
        self.unknown[peer] = self.unknown.get(peer, 0) + 1
        key = (peer, kind)
        if key not in self._unknown_logged and len(self._unknown_logged) < MAX_UNKNOWN_LOGGED:
            self._unknown_logged.add(key)
            self._log.warning("unknown_message_ignored", peer=peer, kind=kind)

    def _counted(self) -> set[str]:
        """The members that hold features back as long as they do not speak them."""
        members = {self._name, *self._members()}
        return {member for member in members if self.said(member) is not None or not self._given_up(member)}

    def _highest(self, member: str) -> int:
        said = self.said(member)
        return self.own.versions.lowest if said is None else said.versions.highest

    def _forget_strangers(self) -> None:
        members = set(self._members())
        self._said = {peer: said for peer, said in self._said.items() if peer in members}

    def _remember(self) -> None:
        """Not synced: what is lost is announced again, and until then too little is used and never too much."""
        try:
            self._store.write({VERSIONS_KEY: _encode(self._said)}, sync=False)
        except StoreUnavailable as error:
            self._log.warning("versions_not_kept", reason=str(error))

    def _show(self) -> None:
        effective = self.effective
        if effective != self._shown:
            self._shown = effective
            self._log.info("effective_protocol_version", version=effective)


def _encode(said: dict[str, Announcement]) -> bytes:
    return cbor.encode({peer: [a.versions.lowest, a.versions.highest, a.release] for peer, a in said.items()})


def _decode(record: bytes | None) -> dict[str, Announcement]:
    """What was kept. What does not read as such is no reason to stop: everybody says it again."""
    if record is None:
        return {}
    try:
        value = cbor.decode(record, max_bytes=MAX_RECORD_BYTES)
    except Malformed:
        return {}
    said: dict[str, Announcement] = {}
    for peer, fields in value.items() if isinstance(value, dict) else ():
        if not isinstance(peer, str) or not isinstance(fields, list) or len(fields) != 3:
            continue
        lowest, highest, release = fields
        if type(lowest) is int and type(highest) is int and isinstance(release, str):
            try:
                said[peer] = announcement_of(lowest, highest, release)
            except ValueError:
                continue
    return said
