"""What the ledger decides: registry, declaration and escort as explicit tables over frozen records (design section 7).

Promises: the outcome of a statement and what it writes follow from the state, the statement and the block time alone; a
refusal is a numbered outcome and writes nothing; an exception is a bug and is left to stop the validator.

Does not: know the network, the disk, a clock, or whether a statement was seen before.

`execute` runs blocks; `registry`, `declaration` and `escort` hold the tables; `payloads` says what a statement may
carry; `outcome` numbers the answers; `views` shows records to people; `reference` writes `docs/contracts.md`.
"""
