"""What is done while the network runs, from its keys to the exported archive. Every step raises unless it held."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Final

from api.client import AsyncClient, ClientError, Retry, TokenSigner
from api.grpc_client import DeviceClient
from ledger.algorithms import PrivateKey
from nodes.demo.attachments import mirror_and_check
from nodes.demo.context import Run
from nodes.demo.delivery import Delivery, PostOffice
from nodes.demo.devices import Device
from nodes.demo.formats import import_declaration
from nodes.demo.looking_up import compare_dwell_times, find_from_everything
from nodes.demo.offices import GrpcOffice, HttpOffice
from nodes.demo.offline import run_comity
from nodes.demo.outage import bring_back, take_away, until_due
from nodes.demo.papers import fetch_papers, show_a_pass
from nodes.demo.private import conceal_declarations, open_and_disclose, publish_envelope_keys
from nodes.demo.running import RunningNetwork
from nodes.demo.stage import COSE_ALGORITHMS, Stage
from nodes.demo.steps import CheckFailed, counted, require
from nodes.demo.story import ACCEPTED, Step, Story
from nodes.demo.timeline import mark
from nodes.network import Network, init_network

ASKED_AT_ONCE: Final = 8
# What is proved of each crossing, and kept: that the other side took the goods over, and how it ended.
PROVED_KINDS: Final = {
    "escort.accept": "handover",
    "escort.resolve": "handover",
    "escort.unload": "discharge",
    "escort.discharge": "discharge",
}


async def run_online(run: Run) -> Network:
    """All steps that need the network, and the network's own end. Leaves no process behind."""
    network = _make_network(run)
    run.places.logs.mkdir()
    async with RunningNetwork(network, run.places.logs, run.board, run.display.refresh) as running:
        await _start(run, running)
        watching = asyncio.create_task(running.watch())
        try:
            async with _devices(run, running) as stage:
                await _enrol(run, network, running, stage)
                private = await publish_envelope_keys(run, stage)
                await conceal_declarations(run, running, stage)
                await import_declaration(run, running)
                await _declare(run, running, stage)
                await _cross(run, running, stage)
                await _check_records(run, running, stage)
                await find_from_everything(run, running)
                await _read_timelines(run, running, stage)
                await _save_proofs(run, running, stage)
                await fetch_papers(run, running, stage)
                await open_and_disclose(run, running, stage, private)
                await mirror_and_check(run, network, running, stage)
                await _export(run, network, running)
                await compare_dwell_times(run, running)
        finally:
            watching.cancel()
        _stop(run, running)
    return network


def _make_network(run: Run) -> Network:
    with run.steps.step("network", "Keys, certificates and genesis of two authorities") as step:
        network = init_network(
            run.places.work / "network",
            origin=run.scenario.origin,
            authorities=[(authority.name, authority.country) for authority in run.scenario.authorities],
            parameters=run.scenario.parameters,
        )
        run.places.policies.mkdir()
        for authority in network.authorities:
            shutil.copy(authority.policy, run.places.policy(authority.name))
        for participant in run.scenario.participants.values():
            run.keys[participant.id] = PrivateKey.generate(COSE_ALGORITHMS[participant.algorithm])
        for authority in network.authorities:
            for role in ("registrar", "officer", "system"):
                run.keys[f"{authority.name}/{role}"] = PrivateKey.from_pem(authority.key(role).read_bytes())
        step.detail = f"{network.origin}, {len(network.validators)} validators, {len(network.gateways)} gateways"
        run.report["network"] = {
            "origin": network.origin,
            "authorities": [
                {"name": item.name, "country": item.country, "policy": f"policy/{item.name}.policy"}
                for item in network.authorities
            ],
            "validators": [item.name for item in network.validators],
            "gateways": [item.name for item in network.gateways],
        }
    return network


async def _start(run: Run, running: RunningNetwork) -> None:
    with run.steps.step("start", "Validators and gateways start as processes on loopback") as step:
        running.processes.start()
        await running.until_ready(running.processes.processes)
        step.detail = f"{len(running.processes.processes)} processes ready"


@asynccontextmanager
async def _devices(run: Run, running: RunningNetwork) -> AsyncIterator[Stage]:
    """A device for every participant, in front of the gateway of the side on which it stands."""
    over_http: dict[str, PostOffice] = {name: HttpOffice(client) for name, client in running.submitters.items()}
    outboxes = run.places.work / "outboxes"
    devices: dict[str, Device] = {}
    async with AsyncExitStack() as streams:
        for item in run.scenario.participants.values():
            offices = over_http
            truck = run.scenario.trucks.get(item.id)
            if truck is not None and truck.link == "grpc":
                offices = {
                    name: GrpcOffice(await streams.enter_async_context(DeviceClient([running.grpc_address(name)])))
                    for name in running.submitters
                }
            key = run.keys[item.id]
            leave = partial(_leave_attachment, run, running, item.id)
            devices[item.id] = Device(item.id, key, item.authority, offices, outboxes, run.records, run.rng, leave)
        try:

            async def state_of(authority: str, mrn: str) -> str:
                with contextlib.suppress(ClientError):  # while the other side is away, say, it is asked again
                    return str((await running.readers[authority].movement(mrn))["record"]["state"])
                return "unknown: nobody answers"

            yield Stage(run.scenario, run.script, devices, run.records, run.board, run.display.refresh, state_of)
        finally:
            for device in devices.values():
                device.close()


async def _leave_attachment(
    run: Run, running: RunningNetwork, participant: str, authority: str, media_type: str, data: bytes
) -> bool:
    """In the participant's own name: a gateway takes what a statement of the sender's refers to."""
    signer = TokenSigner(run.keys[participant], participant=participant, origin=run.scenario.origin)
    client = AsyncClient(running.url(authority), signer=signer, retry=Retry(attempts=1))
    try:
        return await client.put_attachment(media_type, data)
    finally:
        await client.close()


async def _enrol(run: Run, network: Network, running: RunningNetwork, stage: Stage) -> None:
    with run.steps.step("enrol", "Registrars enrol every participant's key") as step:
        count = await stage.enrol(run.keys)
        running.sign_readers({item.name: run.keys[f"{item.name}/officer"] for item in network.authorities})
        algorithms = sorted({participant.algorithm for participant in run.scenario.participants.values()})
        step.detail = f"{count} participants, keys of {' and '.join(algorithms)}"
        run.report["participants"] = count


async def _declare(run: Run, running: RunningNetwork, stage: Stage) -> None:
    with run.steps.step("declare", "Declarations lodged, decided at home, recognised by the partner") as step:
        await stage.play_declarations()
        stories = run.script.declarations
        released = sum(story.final_state == "released" for story in stories)
        step.detail = f"{len(stories)} lodged, {released} released and recognised, {len(stories) - released} refused"
    if run.script.proposals:
        with run.steps.step(
            "governance", "One side proposes, the other approves, rejects, or withdraws with it"
        ) as step:
            await stage.play_proposals()
            stories = run.script.proposals
            for story in stories:
                for authority, client in running.readers.items():
                    state = (await client.proposal(story.subject))["record"]["state"]
                    expected = (
                        {story.final_state, "in_force"} if story.final_state == "approved" else {story.final_state}
                    )
                    require(state in expected, f"{authority}: {story.subject} is {state}, not {story.final_state}")
            step.detail = f"{sum(story.accepted for story in stories)} statements about {len(stories)} proposals"
    if run.script.registrations:
        with run.steps.step("registry", "Keys are replaced, suspended and revoked, and roles change") as step:
            await stage.play_registrations()
            stories = run.script.registrations
            step.detail = f"{sum(story.accepted for story in stories)} statements about {len(stories)} participants"
    if run.script.refusals:
        with run.steps.step("turn_away", "A crossing on a refused declaration is turned away") as step:
            await stage.play_refusals()
            step.detail = ", ".join(sorted({story.steps[0].outcome for story in run.script.refusals}))


async def _cross(run: Run, running: RunningNetwork, stage: Stage) -> None:
    away = run.scenario.outage.authority
    crossings = asyncio.create_task(stage.play_crossings())
    try:
        await _unless_failed(crossings, show_a_pass(run, running, stage))
        with run.steps.step("cross", "Unmanned trucks set out from both sides") as step:
            await _unless_failed(crossings, until_due(stage, run.scenario.outage))
            final, driving = counted(stage.crossings_final(), "statement"), counted(stage.trucks_driving(), "truck")
            step.detail = f"{final} final, {driving} on the road"
        with run.steps.step("outage", f"Both validators of {away} are killed: nothing becomes final") as step:
            seen = await _unless_failed(crossings, take_away(running, stage, run.scenario.outage))
            run.outage = seen
            step.detail = (
                f"asked {seen.samples} times, always {seen.final_size} final entries; signed meanwhile: {seen.signed}, "
                f"answers that named {away}: {seen.put_off}; {seen.power_lost} lost its power and found all "
                f"{seen.came_back} on its disk"
            )
        with run.steps.step("recovery", f"{away} starts again from its own disks, and the log goes on") as step:
            await _unless_failed(crossings, bring_back(running, stage, seen))
            run.report["outage"] = seen.as_report()
            step.detail = f"final again {seen.back_at_s - seen.restarted_at_s:.1f} s after the restart"
        with run.steps.step("discharge", "Every truck comes to its end, and everything is final") as step:
            await crossings
            running.processes.check_running()
            require(run.records.failure is None, f"a device failed: {run.records.failure}")
            waiting = sum(device.waiting for device in stage.devices.values())
            require(waiting == 0, f"{waiting} statements are still waiting")
            step.detail = (
                f"{counted(len(run.script.crossings), 'crossing')}; {run.records.signed} statements signed in all, "
                f"{run.records.final} final, {run.records.resent} times sent again"
            )
    finally:
        crossings.cancel()
        await asyncio.gather(crossings, return_exceptions=True)


async def _unless_failed(crossings: asyncio.Task[None], doing: Coroutine[Any, Any, Any]) -> Any:
    """The result of `doing`; but if the crossings fail first, why they did."""
    task = asyncio.create_task(doing)
    try:
        await asyncio.wait([task, crossings], return_when=asyncio.FIRST_COMPLETED)
        if not task.done() and crossings.done():
            crossings.result()
        return await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _check_records(run: Run, running: RunningNetwork, stage: Stage) -> None:
    with run.steps.step("records", "Both sides' gateways tell the same end of every story") as step:
        run.report["declarations"] = [await _declaration(run, running, story) for story in run.script.declarations]
        run.report["trucks"] = [await _movement(run, running, stage, story) for story in run.script.crossings]
        for crossing, found in zip(run.scenario.crossings, run.report["trucks"], strict=True):
            story = next(item for item in run.script.crossings if item.subject == crossing.mrn)
            incidents, differs = story.count("escort.incident"), bool(story.count("escort.accept_with_differences"))
            reported, flagged = len(found["incidents"]), story.wrong_clocks
            require(found["flagged"] >= flagged, f"{crossing.mrn}: expected {flagged} flagged, got {found['flagged']}")
            require(reported == incidents, f"{crossing.mrn}: expected {incidents} incidents, got {reported}")
            require(bool(found["differences"]) == differs, f"{crossing.mrn}: unexpected {found['differences']}")
        declarations, movements = len(run.script.declarations), len(run.script.crossings)
        step.detail = f"{counted(declarations, 'declaration')}, {counted(movements, 'movement')}"


async def _declaration(run: Run, running: RunningNetwork, story: Story) -> dict[str, Any]:
    declaration = run.scenario.declarations[story.subject]
    cleared = any(
        step.kind == "declaration.clear" and step.subject == story.subject and step.outcome == ACCEPTED
        for step in run.script.steps()
    )
    expected = "cleared" if cleared else story.final_state
    records = [(await client.declaration(story.subject))["record"] for client in running.readers.values()]
    for record in records:
        require(record == records[0], f"{story.subject}: the two sides tell different records")
        require(record["status"] == expected, f"{story.subject}: expected {expected}, got {record['status']}")
    return {
        "ucr": story.subject,
        "home": declaration.home,
        "status": expected,
        "recognition": records[0]["recognition"]["state"],
        "numbers": declaration.numbers,
        "containers": list(declaration.containers),
        "goods": [{"hs": item.hs, "description": item.description} for item in declaration.goods],
        "reason": declaration.reason or None,
    }


async def _movement(run: Run, running: RunningNetwork, stage: Stage, story: Story) -> dict[str, Any]:
    crossing = next(item for item in run.scenario.crossings if item.mrn == story.subject)
    records = [(await client.movement(story.subject))["record"] for client in running.readers.values()]
    for record in records:
        require(record == records[0], f"{story.subject}: the two sides tell different records")
        got = (record["state"], record["custody"]["authority"])
        require(got == (story.final_state, story.custody), f"{story.subject}: expected {story.final_state}, got {got}")
    record = records[0]
    return {
        "mrn": story.subject,
        "truck": crossing.truck,
        "vehicle": record["vehicle"],
        "direction": crossing.route,
        "declarations": list(crossing.declarations),
        "state": record["state"],
        "custody": record["custody"],
        "incidents": [{"code": item["code"], "seal": item["seal"]} for item in record["incidents"]],
        "differences": record["differences"],
        "late_reports": record["late_reports"],
        "flagged": record["flagged"],
        "statements": sum(delivery.final for _, delivery in stage.played[story.subject]),
    }


async def _read_timelines(run: Run, running: RunningNetwork, stage: Stage) -> None:
    with run.steps.step("timelines", "A timeline for each truck, with both sides' times") as step:
        places = asyncio.Semaphore(ASKED_AT_ONCE)

        async def look_up(doing: Step, delivery: Delivery) -> None:
            async with places:
                record = await running.readers[delivery.authority].statement(delivery.statement.id_hex)
            statement = delivery.statement
            require(record.state == "final", f"{statement.kind} of {statement.sub} is {record.state}, not final")
            require(record.raw == statement.raw, f"entry {record.index} is not the statement that was signed")
            signers = {authority.name for authority in run.scenario.authorities}
            require(set(record.cosigned_at_s) == signers, f"entry {record.index} is cosigned by {record.cosigned_at_s}")
            run.timelines[story.subject].append(mark(delivery, record, doing.remark))

        count = 0
        for story in run.script.crossings:
            run.timelines[story.subject] = []
            pairs = [pair for pair in stage.played[story.subject] if pair[1].final]
            await asyncio.gather(*(look_up(doing, delivery) for doing, delivery in pairs))
            run.timelines[story.subject].sort(key=lambda item: item.index)
            count += len(pairs)
        for truck in run.report["trucks"]:
            truck["timeline"] = [item.as_report() for item in run.timelines[truck["mrn"]]]
        step.detail = f"{count} statements, each cosigned by {' and '.join(a.name for a in run.scenario.authorities)}"


async def _save_proofs(run: Run, running: RunningNetwork, stage: Stage) -> None:
    with run.steps.step("proofs", "Proofs of handover and discharge are fetched and kept") as step:
        run.places.proofs.mkdir()
        count = 0
        for story in run.script.crossings:
            kept: dict[str, Delivery] = {}
            for _, delivery in stage.played[story.subject]:
                name = PROVED_KINDS.get(delivery.statement.kind)
                if name == "handover" and story.final_state == "returned":
                    name = "return"
                if name is not None and delivery.final:
                    kept[name] = delivery  # of two decisions on a dispute, the one that settled it
            for name, delivery in kept.items():
                proof = await running.readers[delivery.authority].proof(delivery.statement.id_hex, wait_s=5.0)
                (run.places.proofs / f"{story.subject}-{name}.tlog-proof").write_bytes(proof)
                (run.places.proofs / f"{story.subject}-{name}.cose").write_bytes(delivery.statement.raw)
                count += 1
        require(count > 0, "no crossing came to an end that could be proved")
        step.detail = f"{counted(count, 'proof')} of {counted(len(run.script.crossings), 'crossing')}"


async def _export(run: Run, network: Network, running: RunningNetwork) -> None:
    home = network.authorities[0]
    with run.steps.step("export", f"The archive is exported from the gateway of {home.name}") as step:
        ended = await asyncio.to_thread(
            run_comity,
            "export",
            str(run.places.archive),
            "--gateway",
            running.url(home.name),
            "--as",
            f"{home.name}/officer",
            "--key",
            str(home.key("officer")),
            "--policy",
            str(run.places.policy(home.name)),
        )
        if ended.status != 0:
            raise CheckFailed(f"comity export ended with status {ended.status}: {ended.said()}")
        step.detail = "tiles, checkpoint and policy"


def _stop(run: Run, running: RunningNetwork) -> None:
    with run.steps.step("stop", "All processes stop") as step:
        statuses = running.processes.stop()
        bad = {name: status for name, status in statuses.items() if status != 0}
        require(not bad, f"did not end in order: {bad}")
        pids, ports = running.processes.check_gone()
        step.detail = f"{pids} process ids gone, {ports} ports closed"
