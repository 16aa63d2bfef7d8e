"""What both authorities have decided about log keys and CAs, as it stands for this validator: whom TLS believes, and
what an operator has to put in place before a height comes, or has not put in place in time.

The ledger says which keys count (`contracts.authority_keys`); the files hold the keys themselves, which no ledger does.
A CA certificate is believed if the ledger says that it counts where the ledger stands here, and not a block before. A
CA that is not in force yet where this ledger stands is believed only if the configuration names it (`ca_sha256`): a
validator that was away longer than an overlap, or that joins after one, could not be reached by anybody otherwise.

Belongs to the event loop; changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from contracts.authority_keys import AuthorityKeys, read_authority_keys
from ledger.chain import Chain
from ledger.checkpoint import log_verifier
from ledger.policy import Log, Policy
from nodes.config import ValidatorConfig
from nodes.files import Files
from nodes.identity import Identity

SHOWN_HEX_DIGITS = 16


class KeysInForce:
    """See the module. `follow` with every block that was executed."""

    def __init__(
        self,
        config: ValidatorConfig,
        identity: Identity,
        certificate: bytes,
        keys: AuthorityKeys,
        height: int,
        time_ms: int,
    ) -> None:
        """`certificate`: the validator's own, PEM."""
        self._config = config
        self._identity = identity
        self._certificate = certificate
        self._entries = {entry.name: entry for entry in config.authorities}
        self.keys = keys
        self._height, self._time_ms = height, time_ms
        self._believed = self._find_believed()

    def follow(self, keys: AuthorityKeys, height: int, time_ms: int) -> bool:
        """The ledger stands here now. Whether other CAs are believed, or other log keys known, than before."""
        if keys is self.keys and not self._ends_by(time_ms):
            self._height, self._time_ms = height, time_ms
            return False
        before = (self.keys.log_keys, self._believed)
        self.keys, self._height, self._time_ms = keys, height, time_ms
        self._believed = self._find_believed()
        return before != (self.keys.log_keys, self._believed)

    def _ends_by(self, time_ms: int) -> bool:
        """Whether an overlap has ended since the last block."""
        return any(
            each.until_ms is not None and self._time_ms < each.until_ms <= time_ms
            for tenures in (*self.keys.cas.values(), *self.keys.log_keys.values())
            for each in tenures
        )

    # --- CAs ---------------------------------------------------------------------------------------------------------

    def cas(self) -> dict[str, bytes]:
        """The CA certificates that are believed, of each party of the configuration, PEM; empty where none counts."""
        return {name: b"".join(pems) for name, pems in self._believed.items()}

    def _find_believed(self) -> dict[str, tuple[bytes, ...]]:
        return {name: self._believed_of(name) for name in self._identity.cas}

    def _believed_of(self, name: str) -> tuple[bytes, ...]:
        files = self._identity.cas[name]
        if name not in self.keys.cas:
            return tuple(files.values())  # of a neutral party, whose CA its membership names
        hashes = list(self.keys.cas_at(name, self._height, self._time_ms))
        named = self._entries[name].ca_sha256
        known = {each.value for each in self.keys.cas[name]}
        if named is not None and named not in known:
            hashes.append(named)
        return tuple(files[each] for each in hashes if each in files)

    # --- log keys ----------------------------------------------------------------------------------------------------

    def known_to(self, policy: Policy, authority: str) -> Policy:
        """A policy that also knows every log key that the authority ever had: our own disk has notes of all times."""
        origin = self._identity.genesis.origin
        found = {log.key.public_key for log in policy.logs}
        named = (log.key for log in self._identity.policy.logs)
        keys = [*named, *(log_verifier(origin, each.value) for each in self.keys.log_keys.get(authority, ()))]
        new = {key.public_key: Log(key) for key in keys if key.public_key not in found}
        return replace(policy, logs=(*policy.logs, *new.values())) if new else policy

    # --- in words ----------------------------------------------------------------------------------------------------

    def to_do(self) -> list[str]:
        """What an operator has to see to, what is overdue first."""
        return [*self._log_key_to_do(), *self._ca_to_do(), *self._certificate_to_do()]

    def _log_key_to_do(self) -> list[str]:
        name, identity = self._config.authority, self._identity
        ours = {each.public_key for each in identity.log_keys}
        if not ours or name not in self.keys.log_keys:
            return []
        counting = self.keys.log_keys_at(name, self._height, self._time_ms)
        present = self.keys.log_keys[name][-1]
        found = []
        if ours.isdisjoint(counting):
            found.append(
                f"none of our log keys counts since height {present.from_height}: checkpoints are cosigned here "
                f"without the log's signature; give {_short(present.value)} as keys.log and start again"
            )
        elif present.value not in ours:
            found.append(
                f"the log key {_short(present.value)} is in force since height {present.from_height}, and we sign "
                "with the one before, which counts for the overlap only; give it as keys.log_next and start again"
            )
        elif present.from_height and all(log.key.public_key != present.value for log in identity.policy.logs):
            found.append(
                f"{self._config.policy} does not name the log key in force, {_short(present.value)}: write it anew "
                "with comity governance policy"
            )
        found += [
            f"from height {each.height} on the log key {_short(each.value)} is in force: give it as keys.log_next"
            for each in self.keys.log_keys_waiting
            if each.authority == name and each.value not in ours
        ]
        return found

    def _ca_to_do(self) -> list[str]:
        found = []
        for name, tenures in self.keys.cas.items():
            entry, files = self._entries.get(name), self._identity.cas.get(name, {})
            if entry is None or not tenures:
                continue
            present = tenures[-1]
            if present.value not in files:
                found.append(
                    f"{entry.ca_certificate} lacks the CA certificate of {name} that is in force since height "
                    f"{present.from_height}, SHA-256 {present.value.hex()}: add it and start again"
                )
            found += [
                f"from height {each.height} on {name} has the CA with SHA-256 {each.value.hex()}: add its certificate "
                f"to {entry.ca_certificate}"
                for each in self.keys.cas_waiting
                if each.authority == name and each.value not in files
            ]
        return found

    def _certificate_to_do(self) -> list[str]:
        """Whether our own certificate will be taken, or is taken, by the others."""
        name = self._config.authority
        if name not in self.keys.cas:
            return []
        present, files = self.keys.cas[name][-1], self._identity.cas.get(name, {})
        if not present.from_height or present.value not in files or _issued(self._certificate, [files[present.value]]):
            return []
        counts = _issued(self._certificate, self._believed.get(name, ()))
        since = f"of the CA before the one that is in force since height {present.from_height}"
        taken = "counts for the overlap only" if counts else "is refused by the others"
        return [f"{self._config.certificate} is {since} and {taken}: put one of the present CA in its place"]


def _short(key: bytes) -> str:
    return f"{key.hex()[:SHOWN_HEX_DIGITS]}…"


def _issued(certificate: bytes, cas: Sequence[bytes]) -> bool:
    """Whether one of these CAs issued a certificate, all PEM. What cannot be read was issued by nobody."""
    try:
        own = x509.load_pem_x509_certificate(certificate)
    except ValueError:
        return False
    for ca in cas:
        try:
            own.verify_directly_issued_by(x509.load_pem_x509_certificate(ca))
        except (ValueError, TypeError, InvalidSignature):
            continue
        return True
    return False


def read_keys_in_force(config: ValidatorConfig, identity: Identity, chain: Chain, files: Files) -> KeysInForce:
    """What counts where a ledger stands now."""
    last, genesis = chain.last_block, identity.genesis
    keys = read_authority_keys(chain.state, [authority.name for authority in genesis.authorities])
    place = (0, genesis.time_ms) if last is None else (last.height, last.time_ms)
    return KeysInForce(config, identity, files.read(config.certificate), keys, *place)
