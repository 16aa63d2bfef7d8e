"""Found from any identifier, and how long it took: asked of both sides' gateways, which have to agree to the byte."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from api.client import AsyncClient
from contracts import dwell
from nodes.demo.context import Run
from nodes.demo.offline import archive_size, run_comity
from nodes.demo.running import RunningNetwork
from nodes.demo.steps import CheckFailed, counted, require


async def find_from_everything(run: Run, running: RunningNetwork) -> None:
    """Each movement from each of its identifiers, at each side; and on the command line."""
    with run.steps.step("find", "Every crossing is found from each of its identifiers, on both sides") as step:
        count = 0
        for story in run.script.crossings:
            key = f"escort/{story.subject}"
            for authority, client in running.readers.items():
                (own,) = [each async for each in client.find(story.subject, kind="mrn")]
                asked = list(_identifiers(own["identifiers"]))
                answers = await asyncio.gather(*(_keys(client, kind, text) for kind, text in asked))
                for (kind, text), keys in zip(asked, answers, strict=True):
                    require(key in keys, f"{authority}: {kind} {text} does not lead to {key}, but to {sorted(keys)}")
                count += len(asked)
        step.detail = f"{counted(count, 'look-up')} of {counted(len(run.script.crossings), 'crossing')}"


async def _keys(client: AsyncClient, kind: str, text: str) -> set[str]:
    """What an identifier leads to; the kind as which the gateway reads it must be among those it guesses."""
    named = {each["key"] async for each in client.find(text, kind=kind)}
    guessed = {each["key"] async for each in client.find(text)}
    require(named <= guessed, f"{kind} {text} is not recognised by its form")
    return named


def _identifiers(known: dict[str, Any]) -> Iterable[tuple[str, str]]:
    yield "mrn", known["mrn"]
    yield "vehicle", known["vehicle"]
    yield "truck", known["truck"]
    yield from (("container", text) for text in known["containers"])
    yield from (("seal", text) for text in known["seals"])
    for declaration in known["declarations"]:
        yield "ucr", declaration["ucr"]
        yield from (("number", text) for text in declaration["numbers"].values() if text)


async def compare_dwell_times(run: Run, running: RunningNetwork) -> None:
    """Both gateways give the same bytes, and an auditor comes to them from the archive alone."""
    with run.steps.step("dwell", "Both sides and the archive give the same dwell times") as step:
        size = archive_size(run.places.archive)
        shown = {
            authority: dwell.encoded(await client.dwell_times(size=size))
            for authority, client in running.readers.items()
        }
        require(len(set(shown.values())) == 1, f"the two sides measure differently: {shown}")
        home = run.scenario.authorities[0].name
        policy = str(run.places.policy(home))
        ended = await asyncio.to_thread(
            run_comity, "dwell", str(run.places.archive), "--policy", policy, "--size", str(size), "--json"
        )
        if ended.status != 0:
            raise CheckFailed(f"comity dwell ended with status {ended.status}: {ended.said()}")
        require(ended.output.encode() == shown[home] + b"\n", "the archive gives other dwell times than the gateways")
        figures = ended.report()["figures"]
        require(bool(figures), "nothing was measured at the border")
        run.report["dwell_times"] = ended.report()
        passages = max(each["all"]["count"] for each in figures)
        step.detail = f"{len(figures)} intervals, up to {counted(passages, 'passage')} each, the same to the byte"
