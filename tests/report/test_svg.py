"""Drawings are well-formed whatever the figures are, and say what they show."""

import math
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as hyp

from tipsai.report.rows import Interval, bars, heat_map, intervals
from tipsai.report.scale import averaged, fit, thinned
from tipsai.report.svg import Series, line_chart, sparkline
from tipsai.report.words import number

NAMESPACE = "{http://www.w3.org/2000/svg}"
any_float = hyp.floats(allow_nan=True, allow_infinity=True, allow_subnormal=True)
figures = hyp.lists(any_float, max_size=30)
names = hyp.text(max_size=40)
law = settings(deadline=None, max_examples=60)


def parsed(svg):
    """The drawing as XML; it must have its texts, and every place in it must be a finite number."""
    root = ET.fromstring(svg)
    assert root.tag == f"{NAMESPACE}svg" and root.get("role") == "img"
    assert (root.find(f"{NAMESPACE}title").text or "").strip() != ""
    assert (root.find(f"{NAMESPACE}desc").text or "").strip() != ""
    for element in root.iter():
        for key in ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "width", "height", "points"):
            places = [float(v) for v in re.split("[ ,]+", element.get(key, "")) if v and v != "100%"]
            assert all(map(math.isfinite, places))
            assert not (key in ("width", "height") and any(v < 0 for v in places))
    return root


@given(figures, figures, names, hyp.booleans(), hyp.booleans())
@example([], [-4503599627370498.0], "", False, False)  # half a step beside it cannot be told from it
@law
def test_a_line_chart_of_any_figures_is_well_formed(a, b, name, log, dots):
    series = [
        Series(name, range(len(a)), a, 1, [v - 1 for v in a], [v + 1 for v in a], dots),
        Series("other", b, b, 2),
    ]
    parsed(line_chart("a title", series, x_label=name, log=log, bands=[(1e-3, 1e-2)], marks=[(1.0, name)]))


@given(hyp.dictionaries(names, any_float, max_size=30), hyp.booleans())
@law
def test_bars_of_any_figures_are_well_formed(values, log):
    parsed(bars("a title", values, log=log))


@given(hyp.lists(hyp.tuples(names, any_float, any_float, any_float), max_size=12), hyp.booleans(), hyp.booleans())
@law
def test_intervals_of_any_figures_are_well_formed(rows, zero, log):
    parsed(intervals("a title", [Interval(*row) for row in rows], zero=zero, log=log, band=(1e-3, 1e-2)))


@given(hyp.integers(0, 6), hyp.integers(0, 9), hyp.data())
@law
def test_heat_maps_of_any_figures_are_well_formed(n, m, data):
    values = [data.draw(hyp.lists(any_float, min_size=m, max_size=m)) for _ in range(n)]
    labels = data.draw(hyp.lists(names, min_size=n, max_size=n))
    words = [["1"] * m] * n if data.draw(hyp.booleans()) else ()
    parsed(heat_map("a title", values, labels, [str(j) for j in range(m)], words=words, x_label="x"))


@given(figures)
@law
def test_a_sparkline_is_well_formed_or_nothing(values):
    made = sparkline("a title", values)
    assert made == "" or parsed(made) is not None


@given(hyp.lists(any_float, min_size=1, max_size=30), hyp.booleans(), hyp.booleans())
@law
def test_an_axis_holds_what_can_be_drawn_and_its_ticks_lie_on_it(values, log, zero):
    scale = fit(values, 0.0, 100.0, log=log, zero=zero)
    assert scale.low < scale.high and not (log and scale.low <= 0)
    ticks = scale.ticks()
    slack = 1e-6 * (scale.high - scale.low)
    assert 1 <= len(ticks) <= 24 and all(scale.low - slack <= t <= scale.high + slack for t in ticks)
    assert all(0.0 <= scale(v) <= 100.0 for v in values if math.isfinite(v))
    assert scale(scale.low) == pytest.approx(0.0) and scale(scale.high) == pytest.approx(100.0)


@given(hyp.lists(hyp.floats(-1e6, 1e6) | hyp.just(math.nan), min_size=1, max_size=500), hyp.integers(1, 60))
@law
def test_thinning_keeps_the_extremes_and_the_mean(values, bins):
    made = thinned(values, bins=bins)
    known = [v for v in values if not math.isnan(v)]
    assert len(made.x) == len(made.low) == len(made.high) == len(made.mean) <= bins
    assert made.x == sorted(made.x) and made.x[0] >= 1 and made.x[-1] <= len(values)
    if known:
        assert min(v for v in made.low if not math.isnan(v)) == min(known)
        assert max(v for v in made.high if not math.isnan(v)) == max(known)
    for low, mean, high in zip(made.low, made.mean, made.high, strict=True):
        assert math.isnan(mean) or low - 1e-6 <= mean <= high + 1e-6


@given(hyp.lists(hyp.floats(-1e6, 1e6) | hyp.just(math.nan), min_size=1, max_size=60), hyp.integers(0, 20))
@law
def test_smoothing_is_the_mean_of_what_lies_around(values, width):
    made, half = averaged(values, width), width // 2
    for i, mean in enumerate(made):
        around = [v for v in values[max(0, i - half) : i + half + 1] if not math.isnan(v)] if half else [values[i]]
        expected = sum(around) / len(around) if around else math.nan
        assert mean == pytest.approx(expected, rel=1e-6, abs=1e-3, nan_ok=True)


def test_places_follow_the_figures():
    root = parsed(line_chart("t", [Series("a", [0, 1, 2], [0.0, 5.0, 10.0])], x_label="step"))
    (points,) = [element.get("points") for element in root.iter(f"{NAMESPACE}polyline")]
    xs, ys = zip(*(map(float, place.split(",")) for place in points.split()), strict=True)
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.11) and xs[1] > xs[0]
    assert ys[0] - ys[1] == pytest.approx(ys[1] - ys[2], abs=0.11) and ys[1] < ys[0], "larger is higher"
    said = root.find(f"{NAMESPACE}desc").text
    assert said == "a over 3 points of step: first 0, last 10, least 0, largest 10."


def test_a_gap_in_the_figures_interrupts_the_line():
    root = parsed(line_chart("t", [Series("", range(5), [1.0, 2.0, math.nan, 3.0, 4.0])]))
    assert len(list(root.iter(f"{NAMESPACE}polyline"))) == 2


def test_bars_grow_with_the_figures_and_name_them():
    root = parsed(bars("t", {"a": 1.0, "b": 2.0, "c": -1.0}))
    widths = [float(element.get("width")) for element in root.iter(f"{NAMESPACE}rect")]
    assert widths[1] == pytest.approx(2 * widths[0], abs=0.2) and widths[2] == pytest.approx(widths[0], abs=0.2)
    assert [t.text for t in root.iter(f"{NAMESPACE}text")] == ["a", "1", "b", "2", "c", "−1"]
    assert "a 1, b 2, c −1." in root.find(f"{NAMESPACE}desc").text
    many = parsed(bars("t", {str(i): float(i) for i in range(100)}))
    assert "and 76 more" in [t.text for t in many.iter(f"{NAMESPACE}text")]


def test_a_heat_map_colours_shares_and_leaves_zero_out():
    root = parsed(heat_map("t", [[1.0, 0.0], [0.25, 0.75]], ["a", "b"], ["a", "b"], words=[["100", ""], ["25", "75"]]))
    cells = [e for e in root.iter(f"{NAMESPACE}rect") if e.get("class") == "cell"]
    assert [e.get("fill-opacity") for e in cells] == ["1.00", "0.25", "0.75"]
    assert [t.text for t in root.iter(f"{NAMESPACE}text") if t.get("class") == "value"] == ["100", "25", "75"]


@pytest.mark.parametrize("made", [line_chart("t", []), bars("t", {}), intervals("t", []), heat_map("t", [], [])])
def test_nothing_to_draw_says_so(made):
    assert "no figures" in made and parsed(made) is not None


@pytest.mark.parametrize(
    "value, shown",
    [(0, "0"), (1234567, "1,234,567"), (0.5, "0.5"), (0.000123456, "0.000123"), (-3.14159, "−3.14"), (3e-7, "3e-7")]
    + [(1.5e12, "1.5e12"), (math.nan, "–"), (math.inf, "∞"), (True, "True"), ("a", "a"), (999.7, "1000"), (0.1, "0.1")],
)
def test_numbers_as_people_write_them(value, shown):
    assert number(value) == shown
