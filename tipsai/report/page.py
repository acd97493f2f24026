"""The page: the verdict first, then what was found, and all that shows it."""

import math
from collections.abc import Callable, Sequence

from tipsai.core.finding import Finding
from tipsai.core.text import amount
from tipsai.report import course, outcome
from tipsai.report.contents import Figure, Report
from tipsai.report.evidence import evidence
from tipsai.report.style import css
from tipsai.report.svg import sparkline
from tipsai.report.words import escaped, named, pairs, precise, table
from tipsai.tips import TIPS

# Nothing is fetched and nothing runs, whatever a name or a text of the data may hold.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
SEVERITIES = ("error", "warning", "advice")


def html(report: Report) -> str:
    """A report as one page of HTML that needs no network and no script.

    Args:
        report: what to show; what is empty has no section.
    """
    bodies = [(name, title, said, make(report)) for name, title, said, make in _SECTIONS]
    shown = [(name, title, _section(name, title, said, body)) for name, title, said, body in bodies if body]
    links = "".join(f'<a href="#{name}">{title}</a>' for name, title, _ in shown)
    subtitle = f'<p class="quiet">{escaped(report.subtitle)}</p>' if report.subtitle else ""
    notes = "".join(f"<p>{escaped(note)}</p>" for note in report.notes)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{escaped(report.title)}</title><style>{css()}</style></head>\n"
        f'<body><header class="top"><h1>{escaped(report.title)}</h1>{subtitle}{_verdict(report)}'
        f'{_figures(report.figures)}<nav aria-label="Sections">{links}</nav></header>\n'
        f"<main>{''.join(made for _, _, made in shown)}</main>\n<footer>{notes}<p>Made by tipsai.</p></footer></body></html>\n"
    )


def _section(name: str, title: str, said: str, body: str) -> str:
    quiet = f'<p class="quiet">{said}</p>' if said else ""
    return f'<section id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title">{title}</h2>{quiet}{body}</section>\n'


# --- the verdict ------------------------------------------------------------------------------------------------------


def verdict(findings: Sequence[Finding], looked: Sequence[str]) -> tuple[str, str]:
    """What all findings come to, in a sentence, and its severity ("fine" without any to speak of).

    Args:
        findings: of every stage.
        looked: what was looked at.
    """
    n = {severity: sum(f.severity == severity for f in findings) for severity in SEVERITIES}
    if n["error"]:
        mended = "the error is mended" if n["error"] == 1 else "the errors are mended"
        more = f" and {amount(n['warning'], 'warning')}" if n["warning"] else ""
        return f"{amount(n['error'], 'error')}{more}: the result is not sound until {mended}.", "error"
    if n["warning"]:
        return f"{amount(n['warning'], 'warning')}: to be mended before the figures are trusted.", "warning"
    if not looked and not findings:
        return "The doctor did not look at this run.", "warning"
    if n["advice"]:
        pieces = "one piece" if n["advice"] == 1 else f"{n['advice']} pieces"
        return f"Nothing was found wrong; {pieces} of advice.", "fine"
    return "Nothing was found wrong.", "fine"


def _verdict(report: Report) -> str:
    said, severity = verdict(report.findings, report.looked)
    looked = f'<p class="quiet">Looked at: {escaped("; ".join(report.looked))}.</p>' if report.looked else ""
    return f'<p class="verdict {severity}">{escaped(said)}</p>{looked}'


def _figures(figures: Sequence[Figure]) -> str:
    """The numbers that matter, with their course over the epochs."""
    shown = [f for f in figures if math.isfinite(f.value)]
    if not shown:
        return ""
    items = "".join(
        f"<div><dt>{escaped(named(f.name))}</dt><dd>{escaped(precise(f.name, f.value))}</dd>{_course(f)}</div>"
        for f in shown
    )
    return f'<dl class="figures">{items}</dl>'


def _course(figure: Figure) -> str:
    drawn = sparkline(f"{named(figure.name)} by epoch", figure.history)
    return f"<dd>{drawn}</dd>" if drawn else ""


# --- findings ---------------------------------------------------------------------------------------------------------


def _findings(report: Report) -> str:
    ordered = sorted(report.findings, key=lambda f: SEVERITIES.index(f.severity))
    return "".join(map(_finding, ordered))


def _finding(f: Finding) -> str:
    step = f"at step {f.step:,}" if f.step is not None else ""
    tip = f"tip {f.tip}" if f.tip else ""
    where = ", ".join(part for part in (step, tip) if part)
    advice = TIPS[f.tip].advice if f.tip in TIPS else ""
    source = "; ".join(part for part in (advice.rstrip("."), f.source) if part)
    fix = f'<div class="fix"><span>What to do</span><pre><code>{escaped(f.fix)}</code></pre></div>' if f.fix else ""
    quiet = f'<span class="quiet">{escaped(where)}</span>' if where else ""
    return (
        f'<article class="finding {f.severity}"><header><span class="severity">{f.severity.capitalize()}</span>'
        f"<h3>{escaped(f.code.replace('-', ' ').capitalize())}</h3>{quiet}</header>"
        f"<p>{escaped(_sentence(f.message))}</p>{evidence(f)}{fix}"
        + (f'<p class="quiet why">{escaped(source)}.</p>' if source else "")
        + "</article>"
    )


def _sentence(message: str) -> str:
    """A message with its first letter large."""
    return message[:1].upper() + message[1:]


# --- where it comes from ----------------------------------------------------------------------------------------------


def _configuration(report: Report) -> str:
    ordered = sorted(report.settings, key=lambda row: not row.get("overridden"))  # what is yours first
    rows = [outcome.settings_row(row) for row in ordered]
    yours = sum(bool(row.get("overridden")) for row in report.settings)
    caption = f"{amount(len(rows), 'setting')}, {yours or 'none'} of them yours"
    fits = table([dict(row) for row in report.fits], amount(len(report.fits), "fit"))
    return table(rows, caption) + fits


def _reproduce(report: Report) -> str:
    command = f"<pre><code>{escaped(report.command)}</code></pre>" if report.command else ""
    facts = pairs(report.facts)
    return command + (f'<div class="facts">{facts}</div>' if facts else "")


_SECTIONS: tuple[tuple[str, str, str, Callable[[Report], str]], ...] = (
    ("findings", "Findings", "", _findings),
    ("curves", "Curves", "", course.curves),
    ("layers", "Activations and gradients", "", course.layers),
    ("updates", "Update ratios", "How much a step changes a layer's weights.", course.updates),
    ("gaps", "Gaps", "", outcome.gaps),
    ("baselines", "Baselines", "", outcome.baselines),
    ("confusion", "Confusion", "", outcome.confusion),
    ("calibration", "Calibration", "", outcome.calibration),
    ("examples", "Worst examples", "", outcome.examples),
    ("configuration", "Configuration", "", _configuration),
    ("reproduce", "How to reproduce", "", _reproduce),
)
