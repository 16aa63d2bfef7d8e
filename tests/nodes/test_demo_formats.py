"""The WCO document that the demo brings with it: ready to sign, every value of it accounted for."""

from __future__ import annotations

from api.wco.importing import Given, import_declaration
from nodes.demo.formats import SHIPPED_COUNTRY, SHIPPED_DOCUMENT


def test_the_document_of_the_demo_is_ready_and_each_value_of_it_has_a_fate() -> None:
    imported = import_declaration(SHIPPED_DOCUMENT.read_bytes(), Given(home="kz-kgd", partner="cn-gacc"))
    assert imported.ready, imported.problems
    assert imported.payload["content"]["origin"] == SHIPPED_COUNTRY
    assert sum(imported.counts.values()) == len(imported.leaves) > 30
    assert imported.counts["fault"] == 0
    assert all(leaf.to or leaf.why for leaf in imported.leaves)
