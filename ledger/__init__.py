"""The shared ledger: canonical encoding, signed statements, the log and its proofs, the state map, offline checks.

Promises: everything here works from bytes alone, and what verifies needs no network, no clock and no server. Formats
are one small file each (`docs/formats.md`); failing has four classes (`ledger.errors`).

Does not: know what a declaration or an escort is, nor who ordered the statements. It imports nothing else of ours.
"""
