"""A machine as a picture: SVG, for people, made from the table and nothing else.

States are boxes, in bold; what may happen in one without leaving it stands inside. An event stands on its line, with
the roles that may send it; the dot before them tells the side they must stand on, and the legend what the side is.
Lines that lead on are dark; lines that lead back to an earlier state are lighter and dashed; what comes by itself, as
when a time limit passes, is amber. Ends have a double frame. The order of `Machine.states` decides what is above what.

The same table gives the same bytes. No script, no link, no font of its own: what shows SVG shows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from contracts.diagram_layout import Box, Layout, lay_out
from contracts.machine import ABSENT, Contract, Machine, Side, Transition, Who

MARGIN = 28.0
TITLE_HEIGHT = 58.0
LEGEND_LINE = 20.0
STATE_CHAR, EVENT_CHAR, WHO_CHAR = 7.6, 6.9, 5.9
STATE_HEIGHT, LOOP_LINE, EVENT_LINE, WHO_LINE = 34.0, 15.0, 15.0, 13.0
DOT_RADIUS = 3.2
START = "\0start"

INK, SOFT, PAPER, STATE_FILL, END_FILL = "#1f2933", "#7b8794", "#ffffff", "#eef2f6", "#dfe6ec"
AMBER = "#b7791f"
SIDE_COLOURS = ("#1d6fb8", "#c2410c", "#2f855a", "#7c3aed", "#b83280", "#8a6d1d", "#0f766e", "#4a5568")

_STYLE = (
    "text{font-family:'DejaVu Sans',Verdana,Helvetica,Arial,sans-serif;fill:" + INK + "}"
    ".t{font-size:18px;font-weight:bold}.s{font-size:12px;fill:" + SOFT + "}"
    ".n{font-size:12.5px;font-weight:bold;text-anchor:middle}.l{font-size:10px;text-anchor:middle}"
    ".e{font-size:11.5px}.w{font-size:9.5px;fill:#52606d}.d{font-style:italic;fill:" + AMBER + "}"
    ".g{font-size:11px}"
)


@dataclass(frozen=True, slots=True)
class _Label:
    """What stands on a line: an event with its senders, or why a record goes there by itself."""

    name: str
    text: str
    who: tuple[tuple[str, Side], ...]
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    back: bool
    alone: bool = False


def _words(name: str) -> str:
    return name.replace("_", " ")


def _senders(who: Sequence[Who]) -> tuple[tuple[str, Side], ...]:
    """Roles by side, in the order of the row: (`officer, system`, departure)."""
    by_side: dict[Side, list[str]] = {}
    for each in who:
        by_side.setdefault(each.side, []).append(each.role.removeprefix("customs."))
    return tuple((", ".join(roles), side) for side, roles in by_side.items())


def _sides(machine: Machine) -> dict[Side, str]:
    """A colour for each side, in the order in which the table names them."""
    sides = dict.fromkeys(each.side for row in machine.transitions.values() for each in row.who)
    return {side: SIDE_COLOURS[at % len(SIDE_COLOURS)] for at, side in enumerate(sides)}


def _order(machine: Machine) -> dict[str, int]:
    return {state: at for at, state in enumerate((ABSENT, *machine.states))}


def _labels(contract: Contract, machine: Machine) -> list[_Label]:
    """One for each event and direction; rows of an event that lead alike share one."""
    order = _order(machine)
    leads: dict[tuple[str, tuple[str, ...], bool], tuple[Transition, list[str]]] = {}
    for (state, event), row in machine.transitions.items():
        for back in (False, True):
            targets = tuple(to for to in row.to if to != state and (order[to] < order[state]) == back)
            if targets:
                leads.setdefault((event, targets, back), (row, []))[1].append(state)
    labels = [
        _Label(f"\0{at}", _words(event), _senders(row.who), tuple(sources), targets, back)
        for at, ((event, targets, back), (row, sources)) in enumerate(leads.items())
    ]
    alone = [(state, to, why) for (state, to), why in machine.by_itself.items()]
    if contract.deadlines is not None and contract.deadlines.machine == machine.name:
        alone += [(state, rule.to, rule.reason) for state, rule in contract.deadlines.rules.items()]
    passed: dict[tuple[str, str, bool], list[str]] = {}
    for state, to, why in alone:
        passed.setdefault((to, why, order[to] < order[state]), []).append(state)
    labels += [
        _Label(f"\0d{at}", why, (), tuple(sources), (to,), back, alone=True)
        for at, ((to, why, back), sources) in enumerate(passed.items())
    ]
    return [part for label in labels for part in _apart(label, order)]


def _apart(label: _Label, order: dict[str, int]) -> Iterator[_Label]:
    """A label can stand between its sources and its targets, or it is several."""
    low, high = (label.targets, label.sources) if label.back else (label.sources, label.targets)
    if max(order[state] for state in low) < min(order[state] for state in high):
        yield label
        return
    for source in label.sources:
        yield _Label(
            f"{label.name}\0{source}", label.text, label.who, (source,), label.targets, label.back, label.alone
        )


def _loops(machine: Machine, state: str) -> list[tuple[str, tuple[Side, ...]]]:
    """What may happen in a state without leaving it, and on which sides who does it stands."""
    return [
        (_words(event), tuple(dict.fromkeys(each.side for each in row.who)))
        for (origin, event), row in machine.transitions.items()
        if origin == state and state in row.to
    ]


def _boxes(machine: Machine, labels: Sequence[_Label]) -> list[Box]:
    """In an order in which a label comes after the one end of its lines and before the other."""
    order = _order(machine)
    after: dict[str, list[_Label]] = {}
    for label in labels:
        upper = label.targets if label.back else label.sources
        after.setdefault(max(upper, key=order.__getitem__), []).append(label)
    boxes = []
    begins = [state for state in machine.begins if state != ABSENT]
    for state in (ABSENT, *machine.states):
        if state == ABSENT:
            boxes.append(Box(START, 16.0, 16.0))
        else:
            loops = _loops(machine, state)
            longest = max(
                [
                    len(_words(state)) * STATE_CHAR,
                    *((len(loop) + 2 * len(sides)) * WHO_CHAR + 14 for loop, sides in loops),
                ]
            )
            boxes.append(Box(state, max(longest + 28, 84.0), STATE_HEIGHT + LOOP_LINE * len(loops)))
        boxes += [_label_box(label) for label in after.get(state, ())]
    return boxes if begins or ABSENT in machine.begins else boxes[1:]


def _label_box(label: _Label) -> Box:
    lines = [len(label.text) * EVENT_CHAR, *(len(roles) * WHO_CHAR + 12 for roles, _ in label.who)]
    return Box(label.name, max(lines) + 8, EVENT_LINE + WHO_LINE * len(label.who) + 4)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


class _Drawing:
    """One picture in the making."""

    def __init__(self, contract: Contract, machine: Machine) -> None:
        self.contract, self.machine = contract, machine
        self.labels = _labels(contract, machine)
        self.boxes = {box.name: box for box in _boxes(machine, self.labels)}
        self.sides = _sides(machine)
        self.edges = self._edges()
        self.layout: Layout = lay_out(list(self.boxes.values()), [(tail, head) for tail, head, _, _ in self.edges])

    def _edges(self) -> list[tuple[str, str, _Label | None, bool]]:
        """Tail, head, what it belongs to, and whether it ends in an arrow."""
        edges: list[tuple[str, str, _Label | None, bool]] = [
            (START, state, None, True) for state in self.machine.begins if state != ABSENT
        ]
        for label in self.labels:
            edges += [(START if state == ABSENT else state, label.name, label, False) for state in label.sources]
            edges += [(label.name, state, label, True) for state in label.targets]
        return edges

    def _ports(self) -> dict[tuple[str, str], tuple[tuple[float, float], tuple[float, float]]]:
        """Where each edge touches its boxes: side by side, in the order in which they come."""
        touching: dict[tuple[str, bool], list[tuple[float, tuple[str, str], bool]]] = {}
        centres = self.layout.centres
        for tail, head, _, _ in self.edges:
            route = self.layout.routes[(tail, head)]
            downwards = centres[tail][1] < centres[head][1]
            first = route[0][0] if route else centres[head][0]
            last = route[-1][0] if route else centres[tail][0]
            touching.setdefault((tail, downwards), []).append((first, (tail, head), True))
            touching.setdefault((head, not downwards), []).append((last, (tail, head), False))
        found: dict[tuple[tuple[str, str], bool], tuple[float, float]] = {}
        for (name, bottom), ends in touching.items():
            box, (x, y) = self.boxes[name], centres[name]
            room = box.width * 0.72 if name in self.machine.states else box.width * 0.3
            step = min(room / len(ends), 26.0)
            for at, (_, edge, is_tail) in enumerate(sorted(ends, key=lambda end: end[:2])):
                offset = (at - (len(ends) - 1) / 2) * step
                found[(edge, is_tail)] = (x + offset, y + (box.height / 2 if bottom else -box.height / 2))
        return {
            (tail, head): (found[(tail, head), True], found[(tail, head), False]) for tail, head, _, _ in self.edges
        }

    def _lines(self) -> Iterator[str]:
        ports = self._ports()
        for tail, head, label, arrow in self.edges:
            start, end = ports[(tail, head)]
            points = [start, *self.layout.routes[(tail, head)], end]
            path = [f"M{_number(points[0][0])} {_number(points[0][1])}"]
            for (x0, y0), (x1, y1) in pairwise(points):
                if x0 == x1:
                    path.append(f"V{_number(y1)}")
                else:
                    middle = _number((y0 + y1) / 2)
                    path.append(f"C{_number(x0)} {middle} {_number(x1)} {middle} {_number(x1)} {_number(y1)}")
            kind = "late" if label is not None and label.alone else "back" if label is not None and label.back else "on"
            colour = {"late": AMBER, "back": SOFT, "on": INK}[kind]
            dash = ' stroke-dasharray="5 3"' if kind == "back" else ""
            tip = f' marker-end="url(#{kind})"' if arrow else ""
            yield f'<path d="{"".join(path)}" fill="none" stroke="{colour}" stroke-width="1.2"{dash}{tip}/>'

    def _states(self) -> Iterator[str]:
        for state, meaning in self.machine.states.items():
            box, (x, y) = self.boxes[state], self.layout.centres[state]
            left, top, is_end = x - box.width / 2, y - box.height / 2, state in self.machine.ends
            yield f"<g><title>{escape(_words(state))}: {escape(meaning)}</title>"
            yield _rectangle(left, top, box.width, box.height, 8, END_FILL if is_end else STATE_FILL, 1.4)
            if is_end:
                yield _rectangle(left + 3, top + 3, box.width - 6, box.height - 6, 6, "none", 0.8)
            yield _text(x, top + 21, "n", _words(state))
            for at, (loop, sides) in enumerate(_loops(self.machine, state)):
                dots = "".join(f'<tspan fill="{self.sides[side]}">\u25cf</tspan>' for side in sides)
                base = _number(top + 36 + LOOP_LINE * at)
                yield f'<text x="{_number(x)}" y="{base}" class="l">\u21bb {escape(loop)} {dots}</text>'
            yield "</g>"
        if START in self.layout.centres and START in self.boxes:
            x, y = self.layout.centres[START]
            title = "<title>not there yet</title>"
            yield f'<circle cx="{_number(x)}" cy="{_number(y)}" r="7" fill="{INK}">{title}</circle>'

    def _events(self) -> Iterator[str]:
        for label in self.labels:
            box, (x, y) = self.boxes[label.name], self.layout.centres[label.name]
            left, top = x - box.width / 2, y - box.height / 2
            yield (
                f'<rect x="{_number(left)}" y="{_number(top)}" width="{_number(box.width)}" '
                f'height="{_number(box.height)}" rx="3" fill="{PAPER}" fill-opacity="0.92"/>'
            )
            yield _text(left + 4, top + 12, "e d" if label.alone else "e", label.text)
            for at, (roles, side) in enumerate(label.who):
                base = top + EVENT_LINE + WHO_LINE * at + 9
                yield (
                    f'<circle cx="{_number(left + 7)}" cy="{_number(base - 3.2)}" r="{DOT_RADIUS}" '
                    f'fill="{self.sides[side]}"/>'
                )
                yield _text(left + 14, base, "w", roles)

    def _legend(self, top: float) -> Iterator[str]:
        for at, (side, colour) in enumerate(self.sides.items()):
            said = " ".join((side.__doc__ or "").strip().partition("\n\n")[0].split())
            y = top + LEGEND_LINE * at
            yield f'<circle cx="{_number(MARGIN + 5)}" cy="{_number(y - 4)}" r="4.5" fill="{colour}"/>'
            yield _text(MARGIN + 18, y, "g", f"{_words(side.__name__)}: {said}")

    def svg(self) -> str:
        contract, machine = self.contract, self.machine
        title = f"{contract.name}: {machine.name}"
        subtitle = f"{contract.title} \u00b7 version {contract.version}"
        legend = [f"{_words(side.__name__)}: {side.__doc__ or ''}".partition("\n\n")[0] for side in self.sides]
        widest = max(len(text) for text in (*legend, subtitle)) * 6.6 + 2 * MARGIN
        width = max(self.layout.width + 2 * MARGIN, min(widest, 760.0))
        shift = (width - self.layout.width) / 2
        legend_top = TITLE_HEIGHT + MARGIN + self.layout.height + 46
        height = legend_top + LEGEND_LINE * len(self.sides)
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_number(width)} {_number(height)}" '
            f'width="{_number(width)}" height="{_number(height)}" role="img" aria-label="{escape(title)}">',
            f"<title>{escape(title)}</title>",
            f"<style>{_STYLE}</style>",
            "<defs>" + "".join(_marker(kind, colour) for kind, colour in _MARKERS) + "</defs>",
            f'<rect width="100%" height="100%" fill="{PAPER}"/>',
            _text(MARGIN, 30, "t", title),
            _text(MARGIN, 50, "s", subtitle),
            f'<g transform="translate({_number(shift)} {_number(TITLE_HEIGHT + MARGIN)})">',
            *self._lines(),
            *self._states(),
            *self._events(),
            "</g>",
            *self._legend(legend_top),
            "</svg>",
        ]
        return "\n".join(parts) + "\n"


_MARKERS = (("on", INK), ("back", SOFT), ("late", AMBER))


def _marker(kind: str, colour: str) -> str:
    return (
        f'<marker id="{kind}" viewBox="0 0 8 8" refX="7.4" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        f'<path d="M0 0.6L8 4L0 7.4Z" fill="{colour}"/></marker>'
    )


def _rectangle(left: float, top: float, width: float, height: float, radius: int, fill: str, stroke: float) -> str:
    return (
        f'<rect x="{_number(left)}" y="{_number(top)}" width="{_number(width)}" height="{_number(height)}" '
        f'rx="{radius}" fill="{fill}" stroke="{INK}" stroke-width="{stroke}"/>'
    )


def _text(x: float, y: float, kind: str, text: str) -> str:
    return f'<text x="{_number(x)}" y="{_number(y)}" class="{kind}">{escape(text)}</text>'


def diagram(contract: Contract, machine: Machine) -> str:
    """The picture of one machine of a contract, as SVG."""
    return _Drawing(contract, machine).svg()
