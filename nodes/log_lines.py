"""Whether a ledger that was taken over from elsewhere is vouched for by log keys that count where it ends.

A policy file names the log keys that its owner knew of. Which of them counts, and which one has taken its place, is on
the ledger itself (`contracts.authority_keys`, docs/adr/0033). So a ledger that comes as a snapshot or as an archive is
asked, once it is whole and verified, whether its own checkpoint is signed by keys that it says count there: a
checkpoint that somebody signs with a key of before is refused, whatever the policy file says, and the line of a new
key is believed because both authorities decided on it, whatever the policy file does not say yet.

Does not: weigh cosignatures, which have to be enough before anything is taken (`ledger.policy`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from contracts.authority_keys import AuthorityKeys
from ledger.checkpoint import log_verifier
from ledger.errors import Malformed, Untrue
from ledger.note import Note, VerifierKey, parse_note
from ledger.policy import Policy

NOT_IN_FORCE = "log_key_not_in_force"


def check_signed_by_each(
    note: bytes, origin: str, keys: AuthorityKeys, height: int, time_ms: int, *, later: bool = False
) -> None:
    """Raise Untrue unless a log key of each authority that counts there has signed the note.

    `later`: the checkpoint is of a block after that height, so that what is approved and waits may count already.
    """
    parsed = parse_note(note)
    missing = [
        name
        for name in keys.log_keys
        if not _signed(parsed, (log_verifier(origin, each) for each in _counting(keys, name, height, time_ms, later)))
    ]
    if missing:
        raise Untrue(
            NOT_IN_FORCE,
            f"by the ledger itself no log key of {' and '.join(missing)} that counts at height {height} has signed its "
            "checkpoint",
        )


def check_counts(note: bytes, policy: Policy, keys: AuthorityKeys, height: int, time_ms: int) -> None:
    """Raise Untrue unless a log key that the policy names has signed the note, and counts there."""
    counting = keys.all_log_keys_at(height, time_ms)
    logs = tuple(log for log in policy.logs if log.key.public_key in counting)
    if replace(policy, logs=logs).check(parse_note(note)).log is None:
        raise Untrue(
            NOT_IN_FORCE,
            f"no log key that the policy names and that counts at height {height} has signed the checkpoint: by the "
            "ledger itself another has taken its place. Write the policy file anew with comity governance policy",
        )


def _counting(keys: AuthorityKeys, name: str, height: int, time_ms: int, later: bool) -> tuple[bytes, ...]:
    found = keys.log_keys_at(name, height, time_ms)
    return found + tuple(each.value for each in keys.log_keys_waiting if later and each.authority == name)


def _signed(note: Note, known: Iterable[VerifierKey]) -> bool:
    lines = {(line.name, line.key_id): line.signature for line in note.signatures}
    for key in known:
        signature = lines.get((key.name, key.key_id))
        if signature is None:
            continue
        try:
            key.verify(note.text.encode(), signature)
        except (Untrue, Malformed):
            continue
        return True
    return False
