"""Private fields in the run: names are committed to, sealed to both authorities, opened by one, disclosed to a third.

The names of consignor and consignee of every declaration of the run are on the ledger as commitments only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, cast

from api.attachment_kinds import ENVELOPE
from api.client import Client, TokenSigner
from api.envelope import EnvelopePrivateKey
from api.sealing import proven_envelope_keys, seal_content
from contracts.commitments import Opening
from contracts.disclosure import Disclosure, parse_disclosure
from ledger.cbor import Value
from nodes.demo.context import Run
from nodes.demo.offline import run_comity
from nodes.demo.running import RunningNetwork
from nodes.demo.stage import Stage
from nodes.demo.steps import counted, require
from nodes.demo.story import Step, Story

PRIVATE_FIELDS: Final = ("consignee", "consignor")
LODGE: Final = "declaration.lodge"
SHOWN_FIELD: Final = "consignee"


@dataclass(slots=True)
class PrivateFields:
    """The authorities' keys, in files of the run, and what declarants keep."""

    directory: Path
    keys: dict[str, EnvelopePrivateKey] = field(default_factory=dict)

    def key_file(self, authority: str) -> Path:
        return self.directory / f"{authority}.envelope-key"


async def publish_envelope_keys(run: Run, stage: Stage) -> PrivateFields:
    """Each authority makes a key for envelopes, and its registrar publishes it."""
    with run.steps.step("envelope_keys", "Each authority publishes the key that envelopes are sealed to") as step:
        made = PrivateFields(run.places.work)
        for authority in run.scenario.authorities:
            key = made.keys[authority.name] = EnvelopePrivateKey.generate()
            made.key_file(authority.name).write_bytes(key.to_pem())
            payload: dict[str, Value] = {"authority": authority.name, "key": key.public}
            registrar = stage.devices[authority.registrar]
            delivery = registrar.sign("registry.publish_envelope_key", authority.registrar, payload)
            await registrar.until_final(delivery)
        step.detail = f"{counted(len(made.keys), 'key')}, private parts with their authorities"
    return made


async def conceal_declarations(run: Run, running: RunningNetwork, stage: Stage) -> None:
    """The declarants seal the names of their declarations, and leave the envelopes at their gateways."""
    with run.steps.step("seal", "Declarants commit to names, and seal them to both authorities") as step:
        stories = [
            await asyncio.to_thread(_concealed, run, running, story) if _lodges(story) else story
            for story in run.script.declarations
        ]
        run.script = stage.script = replace(run.script, declarations=tuple(stories))
        sealed = sum(map(_lodges, stories))
        step.detail = f"{' and '.join(PRIVATE_FIELDS)} of {counted(sealed, 'declaration')}, keys proven first"


def _lodges(story: Story) -> bool:
    return any(doing.kind == LODGE for doing in story.steps)


def _concealed(run: Run, running: RunningNetwork, story: Story) -> Story:
    return replace(
        story,
        steps=tuple(_concealed_step(run, running, doing) if doing.kind == LODGE else doing for doing in story.steps),
    )


def _concealed_step(run: Run, running: RunningNetwork, doing: Step) -> Step:
    signer = TokenSigner(run.keys[doing.actor], participant=doing.actor, origin=run.scenario.origin)
    content = cast(Mapping[str, Any], doing.payload["content"])
    with Client(running.url(doing.authority), signer=signer) as client:
        keys = proven_envelope_keys(client, run.places.policy(doing.authority).read_bytes())
        sealed = seal_content(doing.subject, content, PRIVATE_FIELDS, keys)
        client.put_attachment(ENVELOPE.media_type, sealed.envelope.encode())
    payload: dict[str, Any] = {**doing.payload, "content": sealed.content}
    return replace(doing, payload=payload)


async def open_and_disclose(run: Run, running: RunningNetwork, stage: Stage, made: PrivateFields) -> None:
    """The partner fetches an envelope from the home gateway and opens it; one field of it goes into a disclosure."""
    with run.steps.step("disclose", "The partner opens an envelope, and one field of it is disclosed") as step:
        subject, home = next(
            (story.subject, delivery.authority)
            for story in run.script.declarations
            for doing, delivery in stage.played[story.subject]
            if doing.kind == LODGE and delivery.final
        )
        partner = next(item.name for item in run.scenario.authorities if item.name != home)
        await asyncio.to_thread(_open_and_disclose, run, running, stage, made, subject, home, partner)
        step.detail = f"{partner} opened that of {subject}, fetched from {home}; {SHOWN_FIELD} disclosed"


def _open_and_disclose(
    run: Run, running: RunningNetwork, stage: Stage, made: PrivateFields, subject: str, home: str, partner: str
) -> None:
    statement = next(d.statement for doing, d in stage.played[subject] if doing.kind == LODGE and d.final)
    folder = run.places.disclosure
    folder.mkdir()
    names = ("lodge.cose", "lodge.tlog-proof", "lodge.envelope", f"{SHOWN_FIELD}.disclosure")
    statement_file, proof_file, envelope_file, disclosure_file = (folder / name for name in names)
    content: Any = statement.payload["content"]
    officer = f"{partner}/officer"
    signer = TokenSigner(run.keys[officer], participant=officer, origin=run.scenario.origin)
    with Client(running.url(home), signer=signer) as client:
        envelope_file.write_bytes(client.attachment(content["envelope_sha256"].hex()))
        proof_file.write_bytes(client.proof(statement.id_hex, wait_s=5.0))
    statement_file.write_bytes(statement.raw)
    openings = run.places.work / "openings"
    opened = run_comity(
        "envelope", "open", str(envelope_file), "--key", str(made.key_file(partner)), "--statement",
        str(statement_file), "--openings", str(openings), "--json",
    )  # fmt: skip
    require(opened.status == 0, f"comity envelope open ended with status {opened.status}: {opened.said()}")
    told = run.scenario.declarations[subject]
    fields = opened.report()["fields"]
    require(fields == {"consignee": told.consignee, "consignor": told.consignor}, f"opened other fields: {fields}")
    disclosed = run_comity(
        "disclosure", "new", "--statement", str(statement_file), "--proof", str(proof_file), "--openings",
        str(openings), "--field", SHOWN_FIELD, "--out", str(disclosure_file),
    )  # fmt: skip
    require(disclosed.status == 0, f"comity disclosure new ended with status {disclosed.status}: {disclosed.said()}")
    run.report["disclosure"] = {
        "file": f"disclosure/{disclosure_file.name}",
        "subject": subject,
        "fields": {SHOWN_FIELD: fields[SHOWN_FIELD]},
    }


def verify_disclosure(run: Run) -> None:
    """Offline: the disclosed field holds for each side's policy, and no other value of it does."""
    with run.steps.step("disclosed", "The disclosed field holds offline, and no other value in its place") as step:
        expected = run.report["disclosure"]
        file = run.places.root / expected["file"]
        for authority in run.scenario.authorities:
            policy = str(run.places.policy(authority.name))
            ended = run_comity("disclosure", "verify", str(file), "--policy", policy, "--json")
            require(ended.status == 0, f"comity disclosure verify ended with status {ended.status}: {ended.said()}")
            require(ended.report()["fields"] == expected["fields"], "another field was disclosed")
        genuine = parse_disclosure(file.read_bytes())
        (opening,) = genuine.openings
        other = Opening(opening.name, opening.salt, "somebody else")
        forged = run.places.work / "forged.disclosure"
        forged.write_bytes(Disclosure(genuine.statement, genuine.proof, (other,)).encode())
        ended = run_comity("disclosure", "verify", str(forged), "--policy", policy)
        require(ended.status == 1, f"another value was taken for the one committed to: status {ended.status}")
        step.detail = f"{SHOWN_FIELD} of {expected['subject']}: {expected['fields'][SHOWN_FIELD]}"
