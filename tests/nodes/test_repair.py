"""Damage of every kind to the folder of a stopped validator: found, and mended only where nothing said is forgotten."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ledger import chain_layout as layout
from ledger.checked import write_unchecked
from ledger.errors import LedgerError, Misuse, UnknownDurableState
from ledger.leveldb import LevelDBStore
from ledger.store import StoreUnavailable
from nodes.checked_stores import open_checked, take_back
from nodes.cli import comity
from nodes.cosigning import INTENT_KEY
from nodes.promises import Promise
from nodes.repair import Refused, check, read_what_is_out_of_use, repair
from tests.nodes.stored import Stored, make
from tests.nodes.world import World


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, world: World) -> Path:
    """A folder with a log and tables in both stores, as after some days."""
    data = tmp_path_factory.mktemp("whole") / "data"
    make(data, world, blocks=3)
    for part in ("ledger", "order"):
        store = open_checked(data / part)
        store.flush()
        store.close()
    make(data, world, blocks=2, statements=20)
    return data


@pytest.fixture
def data(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "data"))


def listing(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def archive(data: Path, world: World) -> list[bytes]:
    """Start on a folder as a validator would, and read everything."""
    stored = Stored(data, world)
    try:
        return list(stored.chain.entries(0, stored.chain.size))
    finally:
        stored.close()


def below(data: Path, part: str, act: Callable[[LevelDBStore], None]) -> None:
    """Do something below the checksums."""
    store = LevelDBStore(data / part)
    act(store)
    store.close()


def flip(data: Path, part: str, key: bytes) -> None:
    def act(store: LevelDBStore) -> None:
        record = store.get(key) or b""
        store.write({key: record[:-1] + bytes((record[-1] ^ 1,))})

    below(data, part, act)


def test_a_whole_folder_is_whole_and_stays_as_it_is(data: Path) -> None:
    before = listing(data)
    report = check(data)
    assert report.verdict == "whole"
    assert report.ledger.read_bytes > 20_000
    assert report.order.read_bytes > 20_000
    assert (report.term, report.vote, report.first_index, report.last_index) == (1, "kz-kgd-1", 1, 5)
    assert report.promise is not None
    assert report.intent is not None
    assert report.promise.ceiling == report.intent.size == 1 + 3 * 61 + 2 * 21
    assert repair(data) == (report, None)
    assert listing(data) == before


@pytest.mark.parametrize(
    ("part", "key", "verdict", "named"),
    [
        ("ledger", layout.numbered_key(layout.ENTRY, 7), "repairable", "entry 7 is damaged"),
        ("ledger", layout.HEAD, "repairable", "where the ledger ends is damaged"),
        ("ledger", INTENT_KEY, "repairable", "node/intent is damaged"),
        ("order", b"e" + (3).to_bytes(8, "big"), "replace", "entry 3 of the order is damaged"),
        ("order", b"s", "replace", "term and vote is damaged"),
        ("order", b"p", "replace", "what may have been signed is damaged"),
        ("order", b"n", "replace", "whose this is is damaged"),
    ],
)
def test_damage_to_a_record_is_named_and_judged(data: Path, part: str, key: bytes, verdict: str, named: str) -> None:
    flip(data, part, key)
    report = check(data)
    assert report.verdict == verdict
    assert named in ((report.ledger if part == "ledger" else report.order).fault or "")


def test_what_is_out_of_use_is_read_too_before_leveldb_meets_its_damage(tmp_path: Path) -> None:
    """Damage there ends a validator when the table is rewritten: calling it whole would leave nothing to do."""
    forgotten = {b"e" + number.to_bytes(8, "big"): b"out of use" * 100 for number in range(100)}
    store = LevelDBStore(tmp_path)
    store.write(forgotten | {b"f": b"in use"})
    store.flush()
    store.write(dict.fromkeys(forgotten))
    store.close()
    (table,) = (path for path in tmp_path.glob("*.ldb") if b"out of use" in path.read_bytes())
    raw = bytearray(table.read_bytes())
    raw[raw.index(b"out of use") + 20_000] ^= 1
    table.write_bytes(raw)
    store = LevelDBStore(tmp_path)
    assert list(store.iterate(b"f", b"g")) == [(b"f", b"in use")]
    with pytest.raises(UnknownDurableState, match="checksum mismatch"):
        read_what_is_out_of_use(store)
    store.close()


@pytest.mark.parametrize("how", ["flipped", "removed", "emptied", "torn"])
def test_a_lost_ledger_is_set_aside_derived_again_and_signs_nothing_twice(data: Path, world: World, how: str) -> None:
    expected = archive(data, world)
    if how == "flipped":
        flip(data, "ledger", layout.numbered_key(layout.ENTRY, 7))
    elif how == "removed":
        shutil.rmtree(data / "ledger")
    elif how == "emptied":
        shutil.rmtree(data / "ledger")
        (data / "ledger").mkdir()
    else:
        table = max((data / "ledger").glob("*.ldb"), key=lambda path: path.stat().st_size)
        table.write_bytes(table.read_bytes()[: table.stat().st_size // 2])
    damaged = listing(data / "ledger") if how != "removed" else {}
    report, done = repair(data)
    assert report.verdict == "repairable"
    assert done is not None
    assert done.from_order
    assert not (data / "ledger").exists()
    if how == "removed":
        assert done.aside is None
    else:
        assert done.aside is not None
        kept = listing(done.aside)
        assert {name: kept[name] for name in damaged if name != "LOCK"} == {
            name: damaged[name] for name in damaged if name != "LOCK"
        }
    stored = Stored(data, world)
    stored.execute()
    assert list(stored.chain.entries(0, stored.chain.size)) == expected
    assert stored.signed == []
    assert done.floor == stored.chain.size
    stored.append(2)
    stored.execute()
    assert stored.signed == [stored.chain.size]
    stored.close()
    assert check(data).verdict == "whole"


def test_a_repair_that_was_cut_off_between_its_two_steps_is_done_again(
    data: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    flip(data, "ledger", layout.numbered_key(layout.ENTRY, 7))

    def dies(*_: object) -> None:
        raise OSError("the machine is gone")

    with monkeypatch.context() as patched:
        patched.setattr("nodes.files.Files.rename", dies)
        with pytest.raises(OSError, match="gone"):
            repair(data)
    assert (data / "ledger").exists()
    _, done = repair(data)
    assert done is not None
    assert done.aside == data / "ledger.damaged-1"


def test_a_second_damaged_ledger_is_kept_beside_the_first(data: Path, world: World) -> None:
    for number in (1, 2):
        flip(data, "ledger", layout.numbered_key(layout.ENTRY, 7))
        _, done = repair(data)
        assert done is not None
        assert done.aside == data / f"ledger.damaged-{number}"
        stored = Stored(data, world)
        stored.execute()
        stored.close()
    assert (data / "ledger.damaged-1").exists()


def test_a_damaged_order_is_never_repaired_and_nothing_is_touched(data: Path) -> None:
    flip(data, "order", b"e" + (3).to_bytes(8, "big"))
    flip(data, "ledger", layout.numbered_key(layout.ENTRY, 7))
    before = listing(data)
    with pytest.raises(Refused, match="must not take part again under its name"):
        repair(data)
    assert listing(data) == before


def test_a_damaged_ledger_whose_promises_nobody_kept_is_not_repaired(data: Path) -> None:
    below(data, "order", lambda store: store.write({b"p": None}))
    flip(data, "ledger", layout.numbered_key(layout.ENTRY, 7))
    assert check(data).verdict == "replace"
    with pytest.raises(Refused, match="nothing else says what was signed"):
        repair(data)


def test_a_ledger_restored_from_an_older_copy_is_found_and_repaired(data: Path, world: World) -> None:
    older = data.parent / "older"
    shutil.copytree(data / "ledger", older)
    for count in (3, 1):
        stored = Stored(data, world)
        stored.append(count)
        stored.execute()
        stored.close()
    shutil.rmtree(data / "ledger")
    shutil.copytree(older, data / "ledger")
    with pytest.raises(UnknownDurableState, match="gone back in time"):
        Stored(data, world)
    assert "gone back in time" in (check(data).ledger.fault or "")
    _, done = repair(data)
    assert done is not None
    stored = Stored(data, world)
    stored.execute()
    assert stored.signed == []
    stored.close()


def test_a_folder_in_use_is_left_alone(data: Path) -> None:
    # Another process: a lock of LevelDB's kind does not hold against its own process.
    import subprocess
    import sys

    held = (
        "import sys; from ledger.leveldb import LevelDBStore as L; s = L(sys.argv[1]); print('up', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", held, str(data / "order")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        out = holder.stdout
        assert out is not None
        assert out.readline() == b"up\n"
        with pytest.raises(StoreUnavailable, match="stop the validator first"):
            check(data)
        holder.communicate(b"\n")
    assert check(data).verdict == "whole"


def test_a_folder_of_something_else_is_misuse(tmp_path: Path) -> None:
    with pytest.raises(Misuse, match="expected the data folder"):
        check(tmp_path)


# --- files -----------------------------------------------------------------------------------------------------------


def files_of(folder: Path) -> Iterator[tuple[str, Path]]:
    for part in ("ledger", "order"):
        for path in sorted((folder / part).iterdir()):
            if path.name not in ("LOCK", "LOG", "LOG.old"):
                yield part, path


CUTS = ("half", "all but one byte", "empty", "gone")
FLIPS = (0.02, 0.3, 0.6, 0.97)


@pytest.mark.parametrize("part", ["ledger", "order"])
def test_whatever_happens_to_a_file_the_archive_is_the_same_or_nothing_starts(
    whole: Path, tmp_path: Path, world: World, part: str
) -> None:
    """Every kind of file, flipped in every region and cut anywhere: never silently another ledger, order or vote."""
    expected = listing_of_stores(whole, tmp_path / "expected", world)
    refused = unharmed = 0
    for number, (owner, path) in enumerate(files_of(whole)):
        if owner != part:
            continue
        content = path.read_bytes()
        damages: list[bytes | None] = [content[: len(content) // 2], content[:-1], b"", None]
        for place in FLIPS:
            at = int(len(content) * place)
            damages.append(content[:at] + bytes((content[at] ^ 0x20,)) + content[at + 1 :] if content else content)
        for kind, damage in enumerate(damages):
            copy = tmp_path / f"{number}-{kind}"
            shutil.copytree(whole, copy)
            target = copy / part / path.name
            if damage is None:
                target.unlink()
            else:
                target.write_bytes(damage)
            try:
                found = listing_of_stores(copy, None, world)
            except LedgerError:
                refused += 1
                # What the start refuses, the check finds.
                with_copy = tmp_path / f"{number}-{kind}-check"
                shutil.copytree(whole, with_copy)
                target = with_copy / part / path.name
                if damage is None:
                    target.unlink()
                else:
                    target.write_bytes(damage)
                assert check(with_copy).verdict != "whole", (path.name, kind)
                shutil.rmtree(with_copy)
            else:
                unharmed += 1
                assert found == expected, (path.name, kind)
            shutil.rmtree(copy)
    assert refused > unharmed


def listing_of_stores(data: Path, copy: Path | None, world: World) -> tuple[object, ...]:
    """All of both stores, as a start that looks at everything would find them."""
    if copy is not None:
        shutil.copytree(data, copy)
        data = copy
    order, ledger = open_checked(data / "order"), None
    try:
        ledger = open_checked(data / "ledger")
        found = tuple(tuple(store.iterate(b"", b"\xff" * 64)) for store in (order, ledger))
    finally:
        order.close()
        if ledger is not None:
            ledger.close()
    Stored(data, world).close()
    return found


# --- the commands ----------------------------------------------------------------------------------------------------


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(comity, ["storage", *arguments])
    return done.exit_code, done.output


def test_the_commands_say_what_is_there_what_was_done_and_what_to_do_next(data: Path, world: World) -> None:
    code, text = run("check", str(data))
    assert code == 0
    assert "ledger  whole" in text
    assert run("repair", str(data)) == (0, f"{data}: whole; nothing to do\n")
    flip(data, "ledger", layout.numbered_key(layout.ENTRY, 7))
    code, text = run("check", str(data))
    assert code == 1
    assert "entry 7 is damaged" in text
    assert f"comity storage repair {data}" in text
    code, text = run("check", "--json", str(data))
    found = json.loads(text)
    assert (code, found["verdict"], found["stores"]["order"]["fault"]) == (1, "repairable", None)
    assert found["promises"]["signed_at_most"] == 226
    code, text = run("repair", "--json", str(data))
    assert code == 0
    assert json.loads(text)["repaired"] == {
        "set_aside": str(data / "ledger.damaged-1"),
        "never_sign_up_to": 226,
        "derived_from": "order",
    }
    stored = Stored(data, world)
    assert Promise.decode(stored.order.promise or b"").floor == 226
    stored.close()


def test_the_commands_refuse_what_cannot_be_repaired(data: Path, tmp_path: Path) -> None:
    flip(data, "order", b"s")
    code, text = run("check", str(data))
    assert code == 1
    assert "must not take part again under its name" in text
    assert run("repair", str(data))[0] == 1
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run("check", str(empty))[0] == 2
    assert run("repair", str(empty))[0] == 2


def test_a_damaged_folder_is_not_taken_back_to_a_release_that_would_not_notice(data: Path) -> None:
    flip(data, "order", b"e" + (3).to_bytes(8, "big"))
    code, text = run("downgrade", str(data))
    assert code == 1
    assert "is damaged" in text


def test_a_way_back_that_a_power_cut_ends_at_its_last_step_leaves_a_folder_that_every_release_opens(
    data: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = archive(data, world)
    taken_back = []

    def dies(store: LevelDBStore, **options: Any) -> None:
        write_unchecked(store, **options)
        taken_back.append(options["name"])
        if len(taken_back) == at:
            raise OSError("the machine is gone")

    monkeypatch.setattr("nodes.checked_stores.write_unchecked", dies)
    for at in (1, 2):
        taken_back.clear()
        with pytest.raises(OSError, match="gone"):
            take_back(data)
        assert len(taken_back) == at
        assert archive(data, world) == expected


def test_what_must_not_be_signed_again_is_not_taken_back_to_a_release_that_does_not_know_it(
    data: Path, world: World
) -> None:
    shutil.rmtree(data / "ledger")
    _, done = repair(data)
    assert done is not None
    stored = Stored(data, world)
    stored.execute()
    stored.close()
    before = listing(data / "order")
    code, text = run("downgrade", str(data))
    assert (code, f"nothing up to size {done.floor} may be signed again" in text) == (1, True), text
    assert {name: before[name] for name in before if name.endswith(".ldb")}.items() <= listing(data / "order").items()
    stored = Stored(data, world)
    for _ in range(2):
        stored.append(1)
        stored.execute()
    assert len(stored.signed) == 2
    stored.close()
    assert run("downgrade", str(data))[0] == 0
    assert run("downgrade", str(data))[0] == 0


def test_ledgers_that_are_changing_places_are_not_taken_back(data: Path) -> None:
    (data / "catch-up").mkdir()
    (data / "catch-up" / "adopted").write_bytes(b"")
    code, text = run("downgrade", str(data))
    assert (code, "start this release once" in text) == (1, True), text
