"""How a validator is, for gateways, for Prometheus, and in plain words for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from api.expiry import warning
from api.proto import validator_pb2
from ledger.membership import Role
from nodes.further import Health

if TYPE_CHECKING:
    from nodes.validator import Validator

CATCHING_UP_BLOCKS = 20
LATE_FINAL_MS = 3000
# What people read; `comity evidence` has all.
EVIDENCE_WORDS_MAX = 16


GAUGES = {
    "raft_term": "Term of the order",
    "raft_leading": "1 if this validator leads",
    "raft_commit_index": "Committed position of the order",
    "applied_index": "Executed position of the order",
    "ledger_size": "Entries of the ledger",
    "ledger_height": "Blocks of the ledger",
    "final_size": "Entries that are final",
    "final_lag_seconds": "How long the oldest executed entry has been waiting to become final",
    "pending_statements": "Statements that wait to be ordered and executed",
    "blocks_in_flight": "Blocks proposed and not executed here",
    "unchecked_or_unexecuted_statements": "Statements whose signatures are checked or being checked",
    "peers_connected": "Validators to which a stream is up",
    "peer_queue_envelopes": "Messages that wait to be sent",
    "peer_refusals": "Streams and batches refused for what their sender is not",
    "peer_drops": "Messages dropped because a queue was full",
    "cosignatures_refused": "Signature lines of known keys that do not verify",
    "peer_offences": "Messages of peers that no validator sends",
    "rate_limited_participants": "Participants who have to wait because too much of theirs was rejected",
    "protocol_highest": "Highest version of the protocol that this validator speaks",
    "protocol_effective": "Highest version of the protocol that every validator of the network speaks",
    "protocol_unknown_messages": "Messages ignored because this release does not know their kind",
    "evidence_bundles": "Bundles of evidence that this validator has made: comity evidence list shows them",
    "disk_trouble": "1 while the disk cannot be written, or no file descriptor is left",
    "disk_slow": "1 while the disk is too slow for a leader",
    "scrub_read_bytes": "Stored bytes that were read again and held against each other since the start",
    "scrub_passes": "Whole passes over everything stored since the start",
    "scrub_last_pass_seconds": "Unix time of the end of the last whole pass; 0 before any",
    "scrub_faults": "1 if the scrub found damage: the validator is ending",
    "never_sign_up_to": "After its ledger was lost: nothing up to this size is signed again",
    "halted": "1 if this validator has halted",
    "order_first_index": "The first position of the order that is still kept",
    "catching_up_by_snapshot": "1 while a snapshot is being fetched",
    "catch_up_entries": "Entries of the snapshot that are here and verified",
    "catch_up_entries_expected": "Entries that the snapshot has",
    "catch_up_records": "Records of the state of the snapshot that are here",
    "catch_up_fraction": "How much of the snapshot is here, from 0 to 1",
    "snapshots_refused": "Snapshots of which something did not verify",
    "snapshot_unconfirmed": "1 while no colleague has confirmed the place of the snapshot that this ledger came from",
    "snapshots_being_sent": "Validators that are being sent a snapshot",
    "participants_counted": "Participants of the own authority that were looked at for keys that end",
    "participants_ended": "Of these, whose last key has ended within the last 90 days",
    "participants_ending_within_7_days": "Of these, whose last key ends within 7 days, or has ended",
    "participants_ending_within_30_days": "Of these, whose last key ends within 30 days, or has ended",
    "participants_ending_within_90_days": "Of these, whose last key ends within 90 days, or has ended",
}


class StatusReport:
    """Reads the parts of a validator; changes nothing but its note of when what was executed became final."""

    def __init__(self, validator: Validator) -> None:
        self._validator = validator
        self._waiting: list[tuple[int, float]] = []

    # --- finality lag ------------------------------------------------------------------------------------------------

    def grown(self, size: int) -> None:
        if len(self._waiting) < 10_000:
            self._waiting.append((size, self._validator.clock.monotonic_s()))

    def final(self, size: int) -> None:
        now_s = self._validator.clock.monotonic_s()
        kept = []
        for waiting, since_s in self._waiting:
            if waiting > size:
                kept.append((waiting, since_s))
            else:
                self._validator.metrics.final_s.observe(now_s - since_s)
        self._waiting = kept

    def final_lag_ms(self) -> int:
        return int((self._validator.clock.monotonic_s() - self._waiting[0][1]) * 1000) if self._waiting else 0

    # --- in words ----------------------------------------------------------------------------------------------------

    def readiness(self) -> tuple[bool, str]:
        """Whether the validator takes part, how it is, and what an operator has to see to before it is late."""
        ready, state = self._readiness()
        near = self._validator.expiry.nearing()
        ahead = [str(each) for each in self._validator.expiry.releases_needed()]
        ahead += self._validator.keys_in_force.to_do()
        if near:
            ahead.append(warning(near, self._validator.clock.now_ms()))
        return ready, "; ".join([state, *ahead])

    def _readiness(self) -> tuple[bool, str]:
        validator = self._validator
        if validator.halted is not None:
            return False, f"halted: {validator.halted}"
        part = validator.participation
        if part.removed() is not None:
            return False, f"removed: {part.removed()}"
        if part.objection() is not None:
            return False, f"{part.objection()}"
        trouble = self._disk_trouble()
        if trouble is not None:
            return False, f"waiting for the disk: {trouble}"
        if validator.snapshots.catch_up.wanted:
            return False, f"catching up by {validator.snapshots.catch_up}"
        if part.role is None:
            return False, part.in_words()
        missing = validator.missing_authorities()
        refusals = [why for name, why in validator.versions.refusals.items() if name not in validator.reachable()]
        if missing and refusals:
            return False, refusals[0]
        if missing:
            verb = "it is" if len(missing) == 1 else "they are"
            return False, f"waiting for {', '.join(missing)}: nothing becomes committed until {verb} back"
        reachable = validator.reachable()
        everybody = set(validator.ordering.electors)
        if len(reachable & everybody) * 2 <= len(everybody):
            absent = ", ".join(sorted(everybody - reachable))
            return False, f"waiting for a majority: {absent} cannot be reached"
        not_believed = validator.ordering.not_believed()
        if not_believed is not None:
            return False, not_believed
        if validator.ordering.leader is None:
            return False, "no leader: an election is under way"
        behind = validator.ordering.waiting(validator.execution.applied)
        if behind > CATCHING_UP_BLOCKS:
            return False, f"catching up: {behind} blocks behind"
        if validator.ordering.disk_health.slow:
            return True, str(validator.ordering.disk_health)
        if validator.promises.floor >= validator.chain.size:
            return True, f"ready; its ledger was lost, so it signs nothing up to size {validator.promises.floor}"
        lag_ms = self.final_lag_ms()
        if lag_ms > LATE_FINAL_MS:
            late = []
            for name, names in validator.finality.lacking().items():
                who = f"{', '.join(names)} missing" if names else "no line of a log key that counts"
                late.append(f"{name} ({who})")
            return True, f"waiting {lag_ms // 1000} s for the cosignature of {' and '.join(late) or 'the others'}"
        for why in validator.offences.cut_off():
            return True, f"ready; {why}"
        if validator.snapshots.corroboration.place is not None:
            return True, f"ready; {validator.snapshots.corroboration}"
        if validator.divergences.odd:
            return True, f"ready; {', '.join(sorted(validator.divergences.odd))} signed another root and was outvoted"
        return True, "ready"

    def _disk_trouble(self) -> str | None:
        return self._validator.ordering.disk_trouble or self._validator.applying.disk_trouble

    def storage(self) -> dict[str, Any]:
        """How the disk is, and what was found on it, for an operator."""
        validator = self._validator
        scrub, disk = validator.scrub, validator.ordering.disk_health
        return {
            "trouble": self._disk_trouble(),
            "slow": str(disk) if disk.slow else None,
            "sync_ms": round(disk.smoothed_s * 1000, 3),
            "scrub": {
                "at": scrub.at,
                "read_bytes": scrub.read_bytes,
                "passes": scrub.passes,
                "last_pass_ms": scrub.last_pass_ms,
                "faults": scrub.faults,
            },
            "order": {"first": self._validator.stores.base + 1, "last": validator.ordering.last_index},
            "never_sign_up_to": validator.promises.floor,
        }

    def latest_final(self) -> tuple[int, bytes] | None:
        """Size and note of the newest final checkpoint."""
        return self._validator.concluding.latest

    def evidence(self) -> list[validator_pb2.EvidenceBundle]:
        """The bundles that this validator has made, in the order of their files."""
        kept = self._validator.bundles.kept
        return [
            validator_pb2.EvidenceBundle(
                id=kept[stem].evidence.id,
                claim=kept[stem].evidence.claim.value,
                words=kept[stem].words,
                bundle=kept[stem].raw,
            )
            for stem in sorted(kept)
        ]

    def cosigned_at(self, note: bytes) -> dict[str, int]:
        return self._validator.finality.cosigned_at(note)

    def status(self) -> validator_pb2.ValidatorStatus:
        validator = self._validator
        ready, state = self.readiness()
        reachable = validator.reachable()
        authorities = []
        for authority in validator.identity.genesis.authorities:
            names = validator.participation.names(authority.name, Role.VOTER)
            times = validator.finality.times[authority.name]
            authorities.append(
                validator_pb2.AuthorityStatus(
                    name=authority.name,
                    country=authority.country,
                    reachable=not reachable.isdisjoint(names),
                    validators_reachable=[name for name in names if name in reachable],
                    validators_missing=[name for name in names if name not in reachable],
                    last_cosigned_size=times.size,
                    last_cosigned_at_s=times.time_s,
                )
            )
        return validator_pb2.ValidatorStatus(
            validator=validator.config.name,
            authority=validator.config.authority,
            origin=validator.config.origin,
            term=validator.ordering.term,
            leader=validator.ordering.leader or "",
            commit_index=validator.ordering.committed,
            applied_index=validator.execution.applied,
            size=validator.chain.size,
            height=validator.chain.height,
            final_size=validator.finality.final_size,
            final_lag_ms=self.final_lag_ms(),
            authorities=authorities,
            ready=ready,
            state=state,
            genesis=validator.identity.genesis_raw,
            halted=validator.halted or "",
            protocol_effective=validator.versions.effective,
            protocols=self.protocols(),
            endings=[
                validator_pb2.Ending(
                    what=each.what, ends_ms=each.ends_ms, within_days=each.within_days(validator.clock.now_ms()) or 0
                )
                for each in validator.expiry.nearing()
            ],
            evidence=validator.bundles.words()[:EVIDENCE_WORDS_MAX],
            releases_needed=[str(each) for each in validator.expiry.releases_needed()],
            further=self._further(),
        )

    def further(self) -> Health | None:
        """How far behind the further cosigners are; None where none are asked."""
        exchange = self._validator.further
        return None if exchange is None else exchange.further.health(self._validator.clock.now_ms())

    def _further(self) -> validator_pb2.FurtherStatus | None:
        health = self.further()
        if health is None:
            return None
        cosigners = [
            validator_pb2.FurtherCosigner(name=each.name, size=each.size, time_s=each.time_s, trouble=each.trouble)
            for each in health.cosigners
        ]
        return validator_pb2.FurtherStatus(size=health.size, lag_ms=health.lag_ms, cosigners=cosigners)

    def protocols(self) -> list[validator_pb2.ProtocolSpoken]:
        """What each member of the network speaks, as far as it has said so."""
        versions = self._validator.versions
        spoken = []
        for name in sorted({*self._validator.roster.members(), self._validator.config.name}):
            said = versions.said(name)
            spoken.append(
                validator_pb2.ProtocolSpoken(
                    validator=name,
                    lowest=said.versions.lowest if said else 0,
                    highest=said.versions.highest if said else 0,
                    release=said.release if said else "",
                    refusal=versions.refusals.get(name, ""),
                    unknown_messages=versions.unknown.get(name, 0),
                )
            )
        return spoken

    # --- in numbers --------------------------------------------------------------------------------------------------

    def gauges(self) -> dict[str, float]:
        validator = self._validator
        catch_up = validator.snapshots.catch_up
        progress = catch_up.progress()
        counted = validator.expiry.counted()
        return {
            "raft_term": validator.ordering.term,
            "raft_leading": validator.ordering.leading,
            "raft_commit_index": validator.ordering.committed,
            "applied_index": validator.execution.applied,
            "ledger_size": validator.chain.size,
            "ledger_height": validator.chain.height,
            "final_size": validator.finality.final_size,
            "final_lag_seconds": self.final_lag_ms() / 1000,
            "pending_statements": len(validator.proposals),
            "blocks_in_flight": validator.proposals.in_flight,
            "unchecked_or_unexecuted_statements": len(validator.checks),
            "peers_connected": len(validator.transport.connected()),
            "peer_queue_envelopes": validator.transport.queued(),
            "peer_refusals": validator.transport.refused,
            "peer_drops": validator.transport.dropped,
            "cosignatures_refused": validator.finality.refused,
            "peer_offences": validator.offences.total(),
            "evidence_bundles": len(validator.bundles.kept),
            "rate_limited_participants": len(validator.rejections.limited()),
            "protocol_highest": validator.versions.own.versions.highest,
            "protocol_effective": validator.versions.effective,
            "protocol_unknown_messages": sum(validator.versions.unknown.values()),
            "disk_trouble": self._disk_trouble() is not None,
            "disk_slow": validator.ordering.disk_health.slow,
            "scrub_read_bytes": validator.scrub.read_bytes,
            "scrub_passes": validator.scrub.passes,
            "scrub_last_pass_seconds": (validator.scrub.last_pass_ms or 0) / 1000,
            "scrub_faults": validator.scrub.faults,
            "never_sign_up_to": validator.promises.floor,
            "halted": validator.halted is not None,
            "order_first_index": validator.stores.order.first_index(),
            "catching_up_by_snapshot": catch_up.wanted,
            "catch_up_entries": progress.entries if progress else 0,
            "catch_up_entries_expected": progress.entries_of if progress else 0,
            "catch_up_records": progress.records if progress else 0,
            "catch_up_fraction": progress.fraction if progress else 0.0,
            "snapshots_refused": catch_up.refused,
            "snapshot_unconfirmed": validator.snapshots.corroboration.place is not None,
            "snapshots_being_sent": validator.snapshots.server.sessions,
            "participants_counted": counted.participants,
            "participants_ended": counted.within_days[0],
            "participants_ending_within_7_days": counted.within_days[7],
            "participants_ending_within_30_days": counted.within_days[30],
            "participants_ending_within_90_days": counted.within_days[90],
        }
