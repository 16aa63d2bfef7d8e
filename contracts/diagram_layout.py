"""Where the boxes of a diagram stand: a layered drawing, top to bottom, the same for the same graph every time.

After Sugiyama, Tagawa and Toda (1981), in the order of the paper: every edge is made to point down (by the order in
which the nodes are given, which is the author's: an edge to an earlier node is drawn upwards); a node stands in the
layer below the lowest of those that lead to it; an edge that passes layers gets a place in each of them; layers are
sorted so that few edges cross; then places are found, each as near to its neighbours as the boxes beside it allow.

Pure, without chance: ties are broken by the order given. For some hundred nodes; does not try to be fast.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

SORTING_SWEEPS = 24
PLACING_SWEEPS = 160
NODE_GAP = 22.0
EDGE_GAP = 14.0
LAYER_GAP = 30.0
# How strongly an edge wants to be straight: long ones most, as they are what the eye follows.
_STRAIGHT = {(True, True): 24.0, (True, False): 4.0, (False, True): 4.0, (False, False): 1.0}


@dataclass(frozen=True, slots=True)
class Box:
    """What the layout is told of a node: its name and its size."""

    name: str
    width: float
    height: float


@dataclass(slots=True)
class Layout:
    """Centres of the boxes, and the points that each edge passes, from its tail to its head."""

    width: float
    height: float
    centres: dict[str, tuple[float, float]]
    routes: dict[tuple[str, str], list[tuple[float, float]]]


@dataclass(slots=True)
class _Node:
    key: str
    width: float
    height: float
    through: bool  # the place of an edge that passes, not a box
    layer: int
    up: list[str] = field(default_factory=list)
    down: list[str] = field(default_factory=list)
    x: float = 0.0


def lay_out(boxes: Sequence[Box], edges: Sequence[tuple[str, str]]) -> Layout:
    """Place `boxes`; of an edge from A to B an arrow goes from A to B, upwards if B was given before A."""
    order = {box.name: position for position, box in enumerate(boxes)}
    down = sorted({(min(edge, key=order.__getitem__), max(edge, key=order.__getitem__)) for edge in edges})
    layers_of = _layers(boxes, down)
    nodes, chains = _nodes(boxes, down, layers_of)
    layers = _sorted_layers(nodes)
    _place(nodes, layers)
    return _finished(nodes, layers, chains, edges)


def _layers(boxes: Sequence[Box], down: Sequence[tuple[str, str]]) -> dict[str, int]:
    above = defaultdict(list)
    below = defaultdict(list)
    for upper, lower in down:
        if upper != lower:
            above[lower].append(upper)
            below[upper].append(lower)
    layer: dict[str, int] = {}
    for box in boxes:  # given in an order in which whatever leads down to a box comes before it
        layer[box.name] = max((layer[upper] + 1 for upper in above[box.name]), default=0)
    for box in reversed(boxes):  # what nothing leads to stands right above what it leads to
        if not above[box.name] and below[box.name]:
            layer[box.name] = min(layer[lower] for lower in below[box.name]) - 1
    return layer


def _nodes(
    boxes: Sequence[Box], down: Sequence[tuple[str, str]], layers_of: Mapping[str, int]
) -> tuple[dict[str, _Node], dict[tuple[str, str], list[str]]]:
    """Boxes and the places of passing edges; for each edge that points down, the nodes it passes, ends included."""
    nodes = {box.name: _Node(box.name, box.width, box.height, False, layers_of[box.name]) for box in boxes}
    chains: dict[tuple[str, str], list[str]] = {}
    for upper, lower in down:
        chain = [upper]
        for layer in range(layers_of[upper] + 1, layers_of[lower]):
            key = f"{upper}\0{lower}\0{layer}"
            nodes[key] = _Node(key, 0.0, 0.0, True, layer)
            chain.append(key)
        chain.append(lower)
        for one, other in itertools.pairwise(chain):
            nodes[one].down.append(other)
            nodes[other].up.append(one)
        chains[(upper, lower)] = chain
    return nodes, chains


def _sorted_layers(nodes: Mapping[str, _Node]) -> list[list[str]]:
    """Layers in an order of few crossings: medians of the neighbours above and below in turns; the best is kept."""
    count = 1 + max(node.layer for node in nodes.values())
    layers: list[list[str]] = [[] for _ in range(count)]
    seen: set[str] = set()

    def visit(key: str) -> None:
        if key not in seen:
            seen.add(key)
            layers[nodes[key].layer].append(key)
            for lower in nodes[key].down:
                visit(lower)

    for key in nodes:
        visit(key)
    best, fewest = [list(layer) for layer in layers], _crossings(nodes, layers)
    for sweep in range(SORTING_SWEEPS):
        downwards = sweep % 2 == 0
        for index in range(1, count) if downwards else range(count - 2, -1, -1):
            position = {key: at for at, key in enumerate(layers[index - 1 if downwards else index + 1])}
            neighbours = (lambda node: node.up) if downwards else (lambda node: node.down)
            _sort_by_median(layers[index], nodes, position, neighbours)
        _swap_neighbours(nodes, layers)
        crossings = _crossings(nodes, layers)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    return best


def _sort_by_median(
    layer: list[str],
    nodes: Mapping[str, _Node],
    position: Mapping[str, int],
    neighbours: Callable[[_Node], list[str]],
) -> None:
    """Sort by the median of the neighbours; a node that has none keeps its place."""
    medians = {}
    for key in layer:
        at = sorted(position[other] for other in neighbours(nodes[key]))
        if at:
            middle = len(at) // 2
            medians[key] = at[middle] if len(at) % 2 else (at[middle - 1] + at[middle]) / 2
    moving = iter(sorted((key for key in layer if key in medians), key=lambda key: medians[key]))
    layer[:] = [next(moving) if key in medians else key for key in layer]


def _swap_neighbours(nodes: Mapping[str, _Node], layers: list[list[str]]) -> None:
    """Swap two that stand beside each other wherever that saves crossings."""
    for index, layer in enumerate(layers):
        above = {key: at for at, key in enumerate(layers[index - 1])} if index else {}
        below = {key: at for at, key in enumerate(layers[index + 1])} if index + 1 < len(layers) else {}
        for at in range(len(layer) - 1):
            one, other = nodes[layer[at]], nodes[layer[at + 1]]
            now = _pair(one.up, other.up, above) + _pair(one.down, other.down, below)
            swapped = _pair(other.up, one.up, above) + _pair(other.down, one.down, below)
            if swapped < now:
                layer[at], layer[at + 1] = layer[at + 1], layer[at]


def _pair(left: Sequence[str], right: Sequence[str], position: Mapping[str, int]) -> int:
    return sum(position[one] > position[other] for one in left for other in right)


def _crossings(nodes: Mapping[str, _Node], layers: Sequence[Sequence[str]]) -> int:
    crossings = 0
    for upper, lower in itertools.pairwise(layers):
        position = {key: at for at, key in enumerate(lower)}
        ends = [position[other] for key in upper for other in sorted(nodes[key].down, key=position.__getitem__)]
        crossings += sum(one > other for at, one in enumerate(ends) for other in ends[at + 1 :])
    return crossings


def _place(nodes: Mapping[str, _Node], layers: Sequence[Sequence[str]]) -> None:
    """Move each node to the mean of its neighbours, as far as the order and the width of its layer allow."""
    for layer in layers:
        x = 0.0
        for key in layer:
            x += nodes[key].width / 2
            nodes[key].x = x
            x += nodes[key].width / 2 + NODE_GAP
    for sweep in range(PLACING_SWEEPS):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            wanted, weights = [], []
            for key in layer:
                node = nodes[key]
                pulls = [
                    (nodes[other].x, _STRAIGHT[(node.through, nodes[other].through)]) for other in node.up + node.down
                ]
                weight = sum(pull for _, pull in pulls)
                wanted.append(sum(x * pull for x, pull in pulls) / weight if weight else node.x)
                weights.append(max(weight, 0.01))
            for key, x in zip(layer, _apart([nodes[key] for key in layer], wanted, weights), strict=True):
                nodes[key].x = x


def _apart(layer: Sequence[_Node], wanted: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The places nearest to those wanted at which nothing overlaps: isotonic regression, by pooling violators."""
    offsets = [0.0]
    for one, other in itertools.pairwise(layer):
        gap = EDGE_GAP if one.through or other.through else NODE_GAP
        offsets.append(offsets[-1] + (one.width + other.width) / 2 + gap)
    pools: list[list[float]] = []  # mean, weight, how many
    for want, weight, offset in zip(wanted, weights, offsets, strict=True):
        pools.append([want - offset, weight, 1])
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            mean, heft, size = pools.pop()
            before = pools[-1]
            before[0] = (before[0] * before[1] + mean * heft) / (before[1] + heft)
            before[1] += heft
            before[2] += size
    means = [mean for mean, _, size in pools for _ in range(int(size))]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]


def _finished(
    nodes: Mapping[str, _Node],
    layers: Sequence[Sequence[str]],
    chains: Mapping[tuple[str, str], Sequence[str]],
    edges: Sequence[tuple[str, str]],
) -> Layout:
    left = min(node.x - node.width / 2 for node in nodes.values())
    right = max(node.x + node.width / 2 for node in nodes.values())
    top = 0.0
    bands: list[tuple[float, float]] = []
    for layer in layers:
        height = max(nodes[key].height for key in layer)
        bands.append((top, top + height))
        top += height + LAYER_GAP
    centres = {node.key: (node.x - left, sum(bands[node.layer]) / 2) for node in nodes.values() if not node.through}
    routes = {}
    for tail, head in edges:
        downwards = (tail, head) in chains
        points = []
        for key in chains[(tail, head) if downwards else (head, tail)][1:-1]:
            x = nodes[key].x - left
            points += [(x, bands[nodes[key].layer][0]), (x, bands[nodes[key].layer][1])]
        routes[(tail, head)] = points if downwards else points[::-1]
    return Layout(right - left, top - LAYER_GAP, centres, routes)
