"""The layout: nothing overlaps, lines point as the order says, and the same graph is drawn the same."""

from __future__ import annotations

from itertools import combinations, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.diagram_layout import LAYER_GAP, Box, Layout, lay_out

Graph = tuple[list[Box], list[tuple[str, str]]]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    names = [f"n{number}" for number in range(draw(st.integers(1, 14)))]
    boxes = [Box(name, float(draw(st.integers(10, 120))), float(draw(st.integers(10, 60)))) for name in names]
    pairs = st.tuples(st.sampled_from(names), st.sampled_from(names)).filter(lambda pair: pair[0] != pair[1])
    return boxes, draw(st.lists(pairs, max_size=24, unique=True))


def _overlap(one: Box, other: Box, layout: Layout) -> bool:
    (x, y), (u, v) = layout.centres[one.name], layout.centres[other.name]
    return abs(x - u) < (one.width + other.width) / 2 - 0.01 and abs(y - v) < (one.height + other.height) / 2 - 0.01


@settings(max_examples=20)
@given(graphs())
def test_no_two_boxes_overlap_and_all_are_on_the_picture(graph: Graph) -> None:
    boxes, edges = graph
    layout = lay_out(boxes, edges)
    assert not any(_overlap(one, other, layout) for one, other in combinations(boxes, 2))
    for box in boxes:
        x, y = layout.centres[box.name]
        assert x - box.width / 2 >= -0.01
        assert x + box.width / 2 <= layout.width + 0.01
        assert y - box.height / 2 >= -0.01
        assert y + box.height / 2 <= layout.height + 0.01


@settings(max_examples=20)
@given(graphs())
def test_an_edge_points_down_if_its_head_was_given_later_and_passes_layer_after_layer(graph: Graph) -> None:
    boxes, edges = graph
    layout = lay_out(boxes, edges)
    order = {box.name: at for at, box in enumerate(boxes)}
    for tail, head in edges:
        heights = [layout.centres[tail][1], *(y for _, y in layout.routes[(tail, head)]), layout.centres[head][1]]
        if order[tail] > order[head]:
            heights.reverse()
        assert all(upper < lower for upper, lower in pairwise(heights))


@settings(max_examples=12)
@given(graphs())
def test_a_passing_edge_never_runs_through_a_box(graph: Graph) -> None:
    boxes, edges = graph
    layout = lay_out(boxes, edges)
    for edge in edges:
        for x, y in layout.routes[edge]:
            for box in boxes:
                u, v = layout.centres[box.name]
                inside = abs(x - u) < box.width / 2 and abs(y - v) <= box.height / 2
                assert not inside, (edge, box.name)


@settings(max_examples=12)
@given(graphs())
def test_the_same_graph_is_drawn_the_same(graph: Graph) -> None:
    assert lay_out(*graph) == lay_out(*graph)


def test_a_chain_is_a_straight_line_and_a_diamond_has_no_crossing() -> None:
    chain = [Box(name, 40.0, 20.0) for name in "abc"]
    layout = lay_out(chain, [("a", "b"), ("b", "c")])
    assert len({x for x, _ in layout.centres.values()}) == 1
    assert layout.centres["b"][1] - layout.centres["a"][1] == 20.0 + LAYER_GAP
    diamond = [Box(name, 40.0, 20.0) for name in "abcd"]
    layout = lay_out(diamond, [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")])
    assert layout.centres["b"][1] == layout.centres["c"][1]
    assert layout.centres["a"][0] == layout.centres["d"][0]
