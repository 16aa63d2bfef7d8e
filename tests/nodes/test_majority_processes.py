"""Three validators a side, and more than half of each side have to cosign: what one missing costs, and two."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.policy import parse_policy
from nodes.network import wants_several
from tests.nodes.network import Client, Signer, all_final, running, until, wait_ready

pytestmark = [pytest.mark.processes, pytest.mark.soak]


async def test_with_one_of_three_away_all_goes_on_and_with_two_nothing_is_final_and_the_status_names_them(
    tmp_path: Path,
) -> None:
    async with running(tmp_path / "net", validators_per_authority=3, majority=True) as processes:
        network = processes.network
        assert wants_several(parse_policy(network.authorities[0].policy.read_bytes()))
        signer = Signer(network)

        async def accepted(client: Client) -> bytes:
            statement = signer.enrol()

            async def taken() -> bool:
                (result,) = await client.submit([statement.raw])
                return bool(result.HasField("accepted"))

            await until(taken, what="a statement taken")
            return statement.id

        async with Client(network, "kz-kgd-1") as ours, Client(network, "cn-gacc-1") as theirs:
            processes.kill("kz-kgd-3")
            for client in (ours, theirs):
                await all_final(network, "kz-kgd-1", [await accepted(client)])
            processes.kill("kz-kgd-2")
            # Four of six are a majority with both authorities: it is ordered and executed, and final for nobody.
            before = (await theirs.status()).final_size
            waiting = await accepted(theirs)
            for client in (ours, theirs):

                async def named(client: Client = client) -> bool:
                    state = (await client.status()).state
                    assert "cn-gacc" not in state
                    return "for the cosignature of kz-kgd (kz-kgd-2, kz-kgd-3 missing)" in state

                await until(named, what="those who are missing, by their names")
                status = await client.status()
                assert status.size > status.final_size == before
                kz = next(each for each in status.authorities if each.name == "kz-kgd")
                assert list(kz.validators_missing) == ["kz-kgd-2", "kz-kgd-3"]
            processes.start("kz-kgd-2")
            await wait_ready(network, ["kz-kgd-2"])
            for name in ("kz-kgd-2", "cn-gacc-1"):
                await all_final(network, name, [waiting])
