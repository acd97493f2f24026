"""The page: its order, its texts, what it may hold, and its size."""

import itertools
import math
import random
import re
from dataclasses import replace

import pytest
from report.made import HEADINGS, Page, findings, whole

from tipsai.core.finding import Finding
from tipsai.report import Report, Steps, html
from tipsai.report.contents import Confusion, Example
from tipsai.report.evidence import evidence
from tipsai.report.page import verdict

NASTY = '<script>alert("x")</script>&\'\x00\ud800'


def test_sections_stand_in_their_order_and_each_has_its_heading():
    page = Page(html(whole()))
    assert page.text("h2") == HEADINGS
    assert page.text("h1") == ["A run"] and page.all("html") == [{"lang": "en"}]
    levels = [int(tag[1]) for tag, _, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and all(b - a <= 1 for a, b in itertools.pairwise(levels)), "no level is left out"
    ids = [attrs["id"] for _, attrs, _ in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert [a["href"] for a in page.all("a")] == [f"#{s['id']}" for s in page.all("section")]


def test_the_verdict_comes_first():
    text = html(whole())
    assert text.index("1 error and 3 warnings: the result is not sound until the error is mended.") < text.index("<h2")
    assert text.index("0.95") < text.index("<h2") and "1 min 15 s" in text


def test_what_is_empty_has_no_section():
    page = Page(html(Report()))
    assert page.text("h2") == [] and page.all("svg") == [] and page.all("table") == []
    page = Page(html(Report(steps=Steps(losses=[1.0, 0.5]))))
    assert page.text("h2") == ["Curves"]


@pytest.mark.parametrize(
    "severities, looked, said, severity",
    [
        ([], ["training"], "Nothing was found wrong.", "fine"),
        ([], [], "The doctor did not look at this run.", "warning"),
        (["advice"], [], "Nothing was found wrong; one piece of advice.", "fine"),
        (["warning", "advice"], [], "1 warning: to be mended before the figures are trusted.", "warning"),
        (
            ["error", "error", "warning"],
            [],
            "2 errors and 1 warning: the result is not sound until the errors are mended.",
            "error",
        ),
    ],
)
def test_the_verdict_follows_from_the_findings(severities, looked, said, severity):
    assert verdict([Finding("c", "", s, "m") for s in severities], looked) == (said, severity)


def test_findings_stand_by_severity_with_their_evidence_and_fix():
    page = Page(html(Report(findings=findings())))
    severities = [attrs["class"] for attrs in page.all("article")]
    assert severities == ["finding error", *["finding warning"] * 3, "finding advice"]
    assert "Take lr=0.003, or what learn.lr_find() suggests." in page.text("code")
    assert any("at step 400, tip TR09" in text for text in page.text("span"))


def test_evidence_is_drawn_where_it_can_be():
    drawn = [evidence(f) for f in findings()]
    assert drawn[0].count("<svg") == 1 and "polyline" in drawn[0] and "<dt>noise</dt><dd>0.1</dd>" in drawn[0]
    assert "update" not in drawn[0], "what was not measured is left out"
    assert "largest 900, smallest 10." in drawn[1] and drawn[1].count("<rect") == 2
    assert "0.weight 2e-5, 2.weight 0.003." in drawn[2]
    assert "auc 0.8 (0.7 to 0.9)." in drawn[3]
    assert "<table>" in drawn[4] and "a, b" in drawn[4]
    assert evidence(Finding("c", "", "error", "m")) == ""


def test_nothing_of_the_data_is_markup():
    made = whole()
    nasty = Report(
        title=NASTY,
        subtitle=NASTY,
        findings=[Finding(NASTY, NASTY, "error", NASTY, {NASTY: {NASTY: 1.0, "b": 2.0}, "n": NASTY}, NASTY, NASTY)],
        looked=[NASTY],
        history=[row | {f"valid_{NASTY}": 1.0} for row in made.history],
        gaps={"measure": NASTY, "splits": {NASTY: [1.0, 0.5, 1.5, 3]}, "gaps": {NASTY: [1.0, 0.5, 1.5]}},
        baselines={"measure": NASTY, "model": [1, 0, 2], "baselines": {NASTY: 1.0}, "better": {NASTY: [1.0, 0.5, 2.0]}},
        confusion=Confusion([NASTY, "b"], [[1, 2], [3, 4]]),
        confused=[{"target": NASTY, "prediction": NASTY, "count": 1}],
        classes=[{"class": NASTY, "n": 1}, {"class": "b", "n": 1}],
        examples={
            NASTY: [
                Example(
                    {"target": NASTY, "prediction": NASTY, NASTY: NASTY},
                    {NASTY: NASTY},
                    NASTY,
                    made.examples["Largest losses"][-1].picture,
                )
            ]
        },
        settings=[{"name": NASTY, "value": NASTY, "default": NASTY, "source": NASTY, "overridden": True}],
        facts={NASTY: NASTY},
        command=NASTY,
        notes=[NASTY],
    )
    text = html(nasty)
    assert not {tag for tag, _, _ in Page(text).elements} & {"script", "iframe", "object", "embed", "form", "link"}
    assert "<script" not in text and "\x00" not in text and text.encode()


def test_the_page_fetches_nothing_and_runs_nothing():
    text = html(whole())
    page = Page(text)
    assert page.all("script") == [] and page.all("link") == []
    for tag, attrs, _ in page.elements:
        assert not any(name.startswith("on") for name in attrs), f"{tag} runs code"
        for name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            assert attrs.get(name, "#").startswith(("#", "data:image/"))
    outside = set(re.findall(r"\bhttps?://[^\s\"'<)]+", text)) - {"http://www.w3.org/2000/svg"}
    assert not outside and "url(" not in text and "@import" not in text
    (policy,) = [m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")


def test_every_figure_has_its_text():
    page = Page(html(whole()))
    assert len(page.all("svg")) > 15 and len(page.all("img")) == 1
    inside = [(path, text) for path, text in page.texts if path[-1:] in (("title",), ("desc",)) and "svg" in path]
    assert len(inside) == 2 * len(page.all("svg")) and all(text.strip() for _, text in inside)
    assert all(attrs.get("role") == "img" for attrs in page.all("svg"))
    assert [attrs["alt"] for attrs in page.all("img")] == ["target cat, prediction cat"]
    assert len(page.text("caption")) == len(page.all("table"))


def test_a_long_run_fits_into_three_megabytes():
    n, draw = 1_000_000, random.Random(0)
    losses = [draw.random() + 1 for _ in range(n)]
    made = whole(n_epochs=2000, n_layers=12, n_classes=1000)
    picture = "data:image/jpeg;base64," + "A" * 40_000
    items = [Example({"loss": 1.0}, picture=picture)] * 24
    text = html(replace(made, steps=Steps(losses, losses, losses, losses, 1.0), examples={"Largest losses": items}))
    assert len(text.encode()) < 3e6
    Page(text)


def test_many_classes_are_cut_to_those_with_mistakes():
    n = 40
    counts = [[10 if i == j else int(i == 7 and j < 3) for j in range(n)] for i in range(n)]
    text = html(Report(confusion=Confusion([f"k{i}" for i in range(n)], counts)))
    assert "the 12 classes with the most mistakes, of 40" in text and "k7: 77% of 13 met" in text
    (label,) = {len(re.findall('class="cell"', text))}
    assert label <= 12 * 12


def test_gaps_and_baselines_are_put_in_words():
    text = html(whole())
    assert "Beyond noise: bias (training error itself, 0.1), variance (from training to validation, 0.2)." in text
    assert "Not better than a linear model beyond noise." in text
    sure = Report(
        baselines={"model": [0.1, 0.0, 0.2], "baselines": {"chance": 0.5}, "better": {"chance": [0.4, 0.3, 0.5]}}
    )
    assert "Better than 1 baseline beyond noise." in html(sure)


def test_calibration_is_put_in_words():
    text = html(whole())
    assert "On average confidence is 5.0% off" in text and "surer than it should be, by 5.0%" in text


def test_figures_that_are_no_numbers_do_no_harm():
    rows = [{"epoch": 1, "train_objective": math.nan, "valid_loss": math.inf, "valid_accuracy": math.nan}] * 3
    page = Page(html(Report(history=rows, steps=Steps([math.nan] * 300, [math.inf] * 300))))
    assert page.text("h2") == []


def test_the_settings_say_what_is_yours():
    text = html(whole())
    assert "2 settings, 1 of them yours" in text and "yours; the default is 0.0003 (TR01)" in text


# --- colours ----------------------------------------------------------------------------------------------------------


def schemes():
    light, dark = re.findall(r":root\{(.*?)\}", html(Report()))
    return {
        name: dict(re.findall(r"--(\w+):(#[0-9a-f]{6})", text)) for name, text in (("light", light), ("dark", dark))
    }


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(a, b):
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_stand_out(scheme):
    c = schemes()[scheme]
    texts = ("ink", "muted", "error", "warning", "advice", "fine")
    drawn = [name for name in c if re.fullmatch(r"[sd]\d", name)]
    assert len(drawn) == 14
    pairs = [*itertools.product(texts, ("paper", "card")), ("ink", "code"), ("ink", "heat")]
    for a, b in pairs:
        assert contrast(c[a], c[b]) >= 4.5, f"{a} on {b}: {contrast(c[a], c[b]):.2f}"
    for name in drawn:
        assert contrast(c[name], c["card"]) >= 4.5, f"{name} on card: {contrast(c[name], c['card']):.2f}"


def test_paper_is_light_and_every_colour_is_known():
    text = html(whole())
    assert "@media screen and (prefers-color-scheme:dark)" in text, "print keeps the light colours"
    both = schemes()
    assert both["light"].keys() == both["dark"].keys()
    used = set(re.findall(r"var\(--(\w+)", text)) - {"tone", "mark", "least"}
    assert used <= both["light"].keys()
