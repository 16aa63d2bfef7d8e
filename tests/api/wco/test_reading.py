"""Whatever the bytes are: a tree within limits, or a refusal that says why and where."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.wco import reading
from api.wco.importing import Given, import_declaration
from api.wco.reading import XmlRefused, read_document
from tests.api.wco.documents import LODGED, ROOT, lodged

SIBLINGS = 1_000


def code_of(raw: bytes) -> str:
    with pytest.raises(XmlRefused) as caught:
        read_document(raw)
    return caught.value.code


def wrapped(inside: str, before: str = "") -> bytes:
    return f"{before}{ROOT}{inside}</md:MetaData>".encode()


BILLION_LAUGHS = (
    '<!DOCTYPE m [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>'
)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        pytest.param(wrapped("&c;", BILLION_LAUGHS), "doctype", id="entities within entities"),
        pytest.param(wrapped("&a;" * 99, f'<!DOCTYPE m [<!ENTITY a "{"x" * 999}">]>'), "doctype", id="one long entity"),
        pytest.param(
            wrapped("&a;", '<!DOCTYPE m [<!ENTITY a SYSTEM "file:///etc/passwd">]>'), "doctype", id="external entity"
        ),
        pytest.param(
            wrapped("", '<!DOCTYPE m [<!ENTITY % a SYSTEM "http://127.0.0.1/a"> %a;]>'),
            "doctype",
            id="parameter entity",
        ),
        pytest.param(wrapped("", '<!DOCTYPE m SYSTEM "http://127.0.0.1/a.dtd">'), "doctype", id="external DTD"),
        pytest.param(wrapped("&a;"), "malformed", id="entity of nowhere"),
        pytest.param(
            wrapped('<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="file:///etc/passwd"/>'),
            "namespace",
            id="xinclude",
        ),
        pytest.param(wrapped('<x xmlns=""/>'), "namespace", id="no namespace"),
        pytest.param(b"<MetaData/>", "namespace", id="root without namespace"),
        pytest.param(wrapped("", '<?xml-stylesheet href="http://127.0.0.1/"?>'), "instruction", id="instruction"),
        pytest.param(LODGED.encode("utf-16"), "encoding", id="utf-16"),
        pytest.param(LODGED.encode("utf-16-be"), "encoding", id="utf-16 without a mark"),
        pytest.param(LODGED.encode("utf-32"), "encoding", id="utf-32"),
        pytest.param(wrapped("", '<?xml version="1.0" encoding="UTF-7"?>'), "encoding", id="utf-7 declared"),
        pytest.param(wrapped("", '<?xml version="1.0" encoding="UTF-16"?>'), "encoding", id="utf-16 declared"),
        pytest.param(b"+ADw-MetaData+AD4-", "malformed", id="utf-7"),
        pytest.param(wrapped("").replace(b"urn", b"\xff"), "encoding", id="no utf-8"),
        pytest.param(wrapped("<Declaration>text<ID>1</ID></Declaration>"), "mixed", id="text beside elements"),
        pytest.param(wrapped("<ID>1</ID>text"), "mixed", id="text after elements"),
        pytest.param(wrapped("<!-- a -- b -->"), "malformed", id="two hyphens in a comment"),
        pytest.param(wrapped("<ID>&#0;</ID>"), "malformed", id="character that is none"),
        pytest.param(wrapped("<ID a='1' a='2'/>"), "malformed", id="attribute twice"),
        pytest.param(b"", "malformed", id="nothing"),
        pytest.param(wrapped("")[:-3], "malformed", id="cut short"),
        pytest.param(wrapped("") + b"<a/>", "malformed", id="two roots"),
    ],
)
def test_what_is_no_document_of_this_kind_is_refused_with_a_code(raw: bytes, code: str) -> None:
    assert code_of(raw) == code


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b" " * (reading.MAX_DOCUMENT_BYTES + 1), "too_large"),
        (wrapped("<ID>" * reading.MAX_DEPTH + "</ID>" * reading.MAX_DEPTH), "too_deep"),
        (wrapped("<ID/>" * reading.MAX_ELEMENTS), "too_many"),
        (wrapped(f"<ID>{'x' * (reading.MAX_VALUE_CHARS + 1)}</ID>"), "too_large"),
        (wrapped("<ID>" + "<!-- -->".join("x" * 99 for _ in range(99)) + "</ID>"), "too_large"),
        (wrapped(f'<ID a="{"x" * (reading.MAX_VALUE_CHARS + 1)}"/>'), "too_large"),
        (wrapped("<ID" + "".join(f" a{n}='1'" for n in range(reading.MAX_ATTRIBUTES + 1)) + "/>"), "too_many"),
        (
            wrapped(
                "<ID" + "".join(f" xmlns:a{n}='urn:{n}'" for n in range(reading.MAX_NAMESPACE_DECLARATIONS)) + "/>"
            ),
            "too_many",
        ),
    ],
    ids=["bytes", "depth", "elements", "text", "text in pieces", "attribute", "attributes", "namespaces"],
)
def test_one_more_than_each_limit_is_refused(raw: bytes, code: str) -> None:
    assert code_of(raw) == code


def test_as_much_as_each_limit_allows_is_read() -> None:
    within = reading.MAX_DEPTH - 1
    assert read_document(wrapped("<ID>" * within + "</ID>" * within)).name == "MetaData"
    assert len(read_document(wrapped("<ID/>" * (reading.MAX_ELEMENTS - 1))).children) == reading.MAX_ELEMENTS - 1
    text = "x" * reading.MAX_VALUE_CHARS
    assert read_document(wrapped(f"<ID>{text}</ID>")).children[0].text == text


def test_a_path_costs_the_same_however_many_siblings_there_are() -> None:
    root = read_document(wrapped("<ID/>" * SIBLINGS))
    steps = 0

    class Counted(dict[str, int]):
        def __getitem__(self, name: str) -> int:
            nonlocal steps
            steps += 1
            return super().__getitem__(name)

    root.counts = Counted(root.counts)
    assert len({child.path for child in root.children}) == SIBLINGS
    assert steps == SIBLINGS
    assert [child.path for child in root.children[:2]] == ["/MetaData/ID[1]", "/MetaData/ID[2]"]


def test_a_refusal_says_the_line_and_a_comment_left_open_is_named() -> None:
    raw = wrapped("\n<!-- one >\n<ID>1</ID>\n<!-- two -->")
    with pytest.raises(XmlRefused, match=r"line 4, column \d+: .*the comment that begins in line 2 is not closed"):
        read_document(raw)


def test_paths_count_siblings_of_one_name_and_lines_are_the_documents() -> None:
    root = read_document(wrapped("\n<Declaration>\n<ID>a</ID><Agent/>\n<ID> b </ID></Declaration>"))
    found = [(element.path, element.line, element.text) for element in root.walk() if not element.children]
    assert found == [
        ("/MetaData/Declaration/ID[1]", 3, "a"),
        ("/MetaData/Declaration/Agent", 3, ""),
        ("/MetaData/Declaration/ID[2]", 4, " b "),
    ]


def test_text_in_character_data_and_references_is_text() -> None:
    assert read_document(wrapped("<ID><![CDATA[a<b]]>&amp;&#x43;</ID>")).children[0].text == "a<b&C"


def read_or_refuse(raw: bytes) -> None:
    try:
        imported = import_declaration(raw, Given(home="kz-kgd", partner="cn-gacc"))
    except XmlRefused:
        return
    assert sum(imported.counts.values()) == len(imported.leaves)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    read_or_refuse(raw)


@given(
    st.lists(
        st.tuples(
            st.integers(0, len(LODGED) - 1),
            st.integers(0, 40),
            st.sampled_from(["", "<", ">", "&", "--", "]]>", "<ID>", "</ID>", "\0", "é", "<!--", "9" * 40, '"', "9"]),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_a_document_with_pieces_cut_out_and_put_in_is_read_or_refused(cuts: list[tuple[int, int, str]]) -> None:
    text = LODGED
    for start, length, put in cuts:
        text = text[:start] + put + text[start + length :]
    read_or_refuse(text.encode())


@given(st.permutations(range(12)), st.integers(0, 3))
def test_elements_in_any_order_and_number_are_read_or_refused(order: list[int], copies: int) -> None:
    names = "Exporter Consignee GoodsShipment Consignment Destination ID TypeCode FunctionCode Seal UCR Amendment Agent"
    chosen = [names.split()[n] for n in order]
    inside = "".join(f"<{name}>{'<ID>1</ID>' * copies}</{name}>" for name in chosen)
    read_or_refuse(lodged(("<FunctionCode>9</FunctionCode>", f"<FunctionCode>9</FunctionCode>{inside}")))
