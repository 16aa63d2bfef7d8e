"""Links between documents lead somewhere: to a file or folder, and to a heading where they name one."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file_or_folder(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    relative = [target.partition("#")[0] for target in targets if "://" not in target and not target.startswith("#")]
    assert [target for target in relative if not (page.parent / target).exists()] == []


@cache
def anchors(page: Path) -> set[str]:
    """The headings of a page, as GitHub and most others make addresses of them."""
    found: set[str] = set()
    text = re.sub(r"(?ms)^```.*?^```", "", page.read_text())
    for heading in re.findall(r"(?m)^#+ (.*)$", text):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug, number = re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-"), 0
        while (anchor := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(anchor)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_heading_leads_to_one(page: Path) -> None:
    lost = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        name, _, anchor = target.partition("#")
        to = page.parent / name if name else page
        if anchor and "://" not in target and to.suffix == ".md" and anchor not in anchors(to):
            lost.append(target)
    assert lost == []


def test_every_decision_is_in_the_list_and_every_page_is_reachable_from_the_readme() -> None:
    listed = set(re.findall(r"\((\d{4}-[a-z0-9-]+\.md)\)", (ROOT / "docs" / "adr" / "README.md").read_text()))
    assert listed == {page.name for page in (ROOT / "docs" / "adr").glob("[0-9]*.md")}
    readme = (ROOT / "README.md").read_text()
    unlinked = [p.name for p in (ROOT / "docs").glob("*.md") if f"docs/{p.name}" not in readme]
    assert unlinked == []


def test_everything_that_the_map_of_the_tree_names_is_there() -> None:
    _, _, section = (ROOT / "docs" / "architecture.md").read_text().partition("## Where things are")
    named = re.findall(r"`((?:ledger|consensus|contracts|api|nodes)/[a-z0-9_/*.]+)`", section)
    assert len(named) > 80
    assert [name for name in named if not list(ROOT.glob(name))] == []
