"""Reference tables: what is read of them, what is wrong with a file and on which line, what they say and do not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from api import reference
from api.config import ReferenceFiles
from api.listing import Listing
from api.problems import Problem
from api.reference import TableError, Tables, Unlisted, read_goods, read_locodes, read_tables
from api.submission import Signed

DATA = Path(os.environ.get("COMITY_SHARED_DATA", Path(__file__).parents[2] / "../shared/data"))

LOCODES = """\
,"CN",,".CHINA",,,,,,,,
,"CN","BKT","Baketu","Baketu","XJ","--3----B","RL","2407",,"4642N 08248E",
,"CN","LUH","Lü-hua Shan","Lu-hua Shan","ZJ","1-------","RL","0401",,"3049N 12237E",
"=","CN",,"Amoy = Xiamen","Amoy = Xiamen",,,,,,,
"X","CN","YUN","Yuncheng","Yuncheng","SX","--3-----","XX","2307",,,"Use CN YCU"
,"AR","USH","Ushuaia","Ushuaia","V","1--45---","AI","9601",,"5448S 06818W",
"""
GOODS = """\
section,hscode,description,parent,level
II,10,Cereals,TOTAL,2
II,1001,Wheat and meslin,10,4
II,100199,"Wheat and meslin; other than durum wheat, other than seed",1001,6
II,1005,Maize (corn),10,4
II,100590,Maize (corn); other than seed,1005,6
II,1005900001,Maize for sowing trials,100590,10
TOTAL,TOTAL,Total of all HS2022 commodities,TOTAL,5
"""


@pytest.fixture
def paths(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "locodes.csv").write_text(LOCODES, encoding="utf-8")
    (tmp_path / "hs.csv").write_text(GOODS, encoding="utf-8")
    return tmp_path / "locodes.csv", tmp_path / "hs.csv"


@pytest.fixture
def tables(paths: tuple[Path, Path]) -> Tables:
    return read_tables(paths[:1], paths[1])


def test_places_are_read_with_their_plain_names_and_positions(tables: Tables) -> None:
    assert set(tables.locodes) == {"CNBKT", "CNLUH", "ARUSH"}
    assert tables.locodes["CNBKT"].document() == {
        "code": "CNBKT",
        "country": "CN",
        "name": "Baketu",
        "subdivision": "XJ",
        "function": "--3----B",
        "latitude_udeg": 46_700_000,
        "longitude_udeg": 82_800_000,
    }
    assert tables.locodes["CNLUH"].name == "Lu-hua Shan"
    ushuaia = tables.locodes["ARUSH"]
    assert (ushuaia.latitude_udeg, ushuaia.longitude_udeg) == (-54_800_000, -68_300_000)


def test_a_goods_code_is_shown_under_its_headings(tables: Tables) -> None:
    assert [each.code for each in tables.line_of("1005900001")] == ["10", "1005", "100590", "1005900001"]
    assert [each.description for each in tables.line_of("1001")] == ["Cereals", "Wheat and meslin"]
    assert tables.line_of("999999") == []


@pytest.mark.parametrize(
    ("text", "listed"),
    [
        ("CNBKT", True),
        ("CNXXX", False),
        ("CNYUN", False),  # taken out of the table
        ("KZALA", True),  # a country of which there is no row
        ("CN/NEWPOST@46660000,82750000", True),  # a local post has no UN/LOCODE
    ],
)
def test_a_place_is_judged_where_the_table_speaks_of_its_country(tables: Tables, text: str, listed: bool) -> None:
    assert tables.lists_place(text) == listed


@pytest.mark.parametrize(
    ("text", "listed"),
    [
        ("100199", True),
        ("100198", False),
        ("1001990000", True),  # a national code where the table goes no further than six digits
        ("1001980000", False),
        ("1005900001", True),
        ("1005900002", False),  # where it does, the whole code has to be there
        ("980100", True),  # a chapter that each country fills itself
        ("9801000000", True),
    ],
)
def test_a_goods_code_is_judged_as_far_as_the_table_goes(tables: Tables, text: str, listed: bool) -> None:
    assert tables.lists_goods(text) == listed


def lodged(*codes: str) -> dict[str, Any]:
    return {"content": {"goods": [{"hs": code} for code in codes]}}


def test_every_field_with_a_code_that_is_not_listed_is_named(tables: Tables) -> None:
    assert tables.unlisted("declaration.lodge", lodged("100199", "100198", "100598")) == (
        Unlisted("content.goods[1].hs", "100198", "goods codes"),
        Unlisted("content.goods[2].hs", "100598", "goods codes"),
    )
    plan = {"exit_post": "KZ/BAKHTY@46660000,82750000", "entry_post": "CNXXX", "route": ["CNBKT", "CNYYY"]}
    assert [each.path for each in tables.unlisted("escort.plan", plan)] == ["entry_post", "route[1]"]
    assert str(tables.unlisted("escort.plan", plan)[0]) == "entry_post: CNXXX is not in the table of UN/LOCODE places"


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("escort.position", {"fix": {}}),
        ("nonsense.event", {"hs": "100198"}),
        # What has not the form at all is for the contracts to refuse, which say why.
        ("declaration.lodge", lodged("wheat")),
        ("declaration.lodge", {"content": "nothing"}),
        ("declaration.lodge", {"content": {"goods": [{"hs": 5}, "x"]}}),
        ("escort.plan", {"entry_post": "nowhere", "route": "CNXXX"}),
    ],
)
def test_what_has_no_codes_or_not_their_form_is_not_judged(tables: Tables, kind: str, payload: dict[str, Any]) -> None:
    assert tables.unlisted(kind, payload) == ()


def test_without_tables_nothing_is_judged() -> None:
    assert Tables().unlisted("declaration.lodge", lodged("100198")) == ()
    assert Tables().lists_place("CNXXX")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "expected rows of UN/LOCODE, got none"),
        (b'"x"\n', ":1: expected 12 columns of UN/LOCODE, got 1"),
        (LOCODES.encode() + b',"CN","bkt","x","x",,,,,,,\n', ":7: place: character 3: expected A-Z or 2-9"),
        (b',"CN","BKT","","",,,,,,,\n', ":1: name: expected 1 to 1000 characters, got 0"),
        (b',"CN","BKT","a","a"\n', ":1: expected 12 columns of UN/LOCODE, got 5"),
        (LOCODES.encode("latin-1"), ":3: expected UTF-8: convert the file first"),
        (b',"CN","BKT","a" x,,,,,,,,\n', ":1: ',' expected after '\"'"),
    ],
)
def test_what_is_wrong_with_a_table_of_places_is_said_with_its_line(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "locodes.csv"
    path.write_bytes(data)
    with pytest.raises(TableError) as caught:
        read_locodes(path)
    assert str(caught.value).startswith(str(path))
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "coordinates",
    ["", "4642N", "4662N 08248E", "4642N 18100E", "9001N 08248E", "4642S08248E", "464AN 08248E", "4642X 08248E"],
)
def test_a_place_whose_published_position_is_none_is_listed_without_one(tmp_path: Path, coordinates: str) -> None:
    path = tmp_path / "locodes.csv"
    path.write_text(f',"CN","BKT","Baketu","Baketu",,,,,,"{coordinates}",\n')
    place = read_locodes(path)["CNBKT"]
    assert (place.name, place.latitude_udeg, place.longitude_udeg) == ("Baketu", None, None)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("", ":1: expected a heading with hscode (or code) and description, got []"),
        ("a,b\n", ":1: expected a heading"),
        ("code,description\n", "expected goods codes, got none"),
        ("code,description\n10,Cereals\n10,Again\n", ":3: 10 stands in the table twice"),
        ("code,description\n10\n", ":2: expected 2 columns as in the heading, got 1"),
        ("code,description\n101,x\n", ":2: expected a code of 2, 4, 6 or 10 digits, got '101'"),
        ("code,description\n10,\n", ":2: description: expected 1 to 1000 characters, got 0"),
    ],
)
def test_what_is_wrong_with_a_table_of_goods_is_said_with_its_line(tmp_path: Path, data: str, says: str) -> None:
    path = tmp_path / "hs.csv"
    path.write_text(data)
    with pytest.raises(TableError) as caught:
        read_goods(path)
    assert says in str(caught.value)


def test_a_table_has_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paths: tuple[Path, Path]) -> None:
    with pytest.raises(TableError, match="cannot be read: No such file"):
        read_goods(tmp_path / "none.csv")
    monkeypatch.setattr(reference, "MAX_TABLE_ROWS", 3)
    with pytest.raises(TableError, match=r"hs\.csv:4: expected at most 3 rows"):
        read_goods(paths[1])
    monkeypatch.setattr(reference, "MAX_TABLE_BYTES", 10)
    with pytest.raises(TableError, match="too large: expected at most 10 bytes"):
        read_goods(paths[1])


# ---- at work


def listing(paths: tuple[Path, Path], *, refuse: bool = True, on_log: bool = False) -> Listing:
    async def is_on_log(_: bytes) -> bool:
        return on_log

    return Listing(ReferenceFiles(paths[:1], paths[1], refuse), is_on_log, CollectorRegistry())


UNLISTED = Signed(bytes(32), b"", None, (Unlisted("content.goods[0].hs", "100198", "goods codes"),))


async def test_what_is_not_listed_is_refused_by_the_name_of_its_field(paths: tuple[Path, Path]) -> None:
    with pytest.raises(Problem) as caught:
        await listing(paths).require(UNLISTED)
    document = caught.value.document()
    assert (document["type"], document["status"]) == ("urn:comity:problem:not-listed", 422)
    assert document["detail"] == "content.goods[0].hs: 100198 is not in the table of goods codes"
    assert (document["field"], document["id"]) == ("content.goods[0].hs", "00" * 32)


async def test_what_is_on_the_ledger_already_is_never_refused(paths: tuple[Path, Path]) -> None:
    await listing(paths, on_log=True).require(UNLISTED)
    await listing(paths, refuse=False).require(UNLISTED)
    await listing(paths).require(UNLISTED._replace(unlisted=()))


async def test_files_that_change_are_read_again_and_a_bad_one_changes_nothing(paths: tuple[Path, Path]) -> None:
    listed = listing(paths)
    before = listed.tables
    await listed.refresh()
    assert listed.tables is before
    paths[1].write_text("code,description\n10,Cereals\n10,Again\n")
    await listed.refresh()
    assert listed.tables is before
    assert "stands in the table twice" in listed.fault
    paths[1].write_text("code,description\n100198,Wheat of another kind\n")
    await listed.refresh()
    assert (listed.fault, listed.tables.lists_goods("100198"), listed.tables.lists_goods("100199")) == ("", True, False)
    paths[1].unlink()
    await listed.refresh()
    assert listed.tables.lists_goods("100198")


def test_a_gateway_does_not_begin_without_the_tables_it_is_to_judge_by(paths: tuple[Path, Path]) -> None:
    paths[0].unlink()
    with pytest.raises(TableError):
        listing(paths)


def test_the_published_tables_are_read_whole() -> None:
    if not DATA.exists():
        pytest.skip(f"reference data is not here: {DATA}")
    tables = read_tables(
        [DATA / "unlocode" / f"{country}.csv" for country in ("KZ", "CN", "MN")],
        DATA / "hs" / "harmonized-system.csv",
    )
    assert tables.lists_place("CNBKT")
    assert not tables.lists_place("KZBHT")
    assert tables.locodes["CNTCS"].name == "Tacheng"
    assert [each.code for each in tables.line_of("100199")] == ["10", "1001", "100199"]
    assert not tables.lists_goods("100198")
    assert (len(tables.locodes) > 1_700, len(tables.goods) > 6_900) == (True, True)
