"""The look of the page: colours for light, dark and paper, type, and room."""

# Text and lines stand out from paper and card by at least 4.5 to 1 (WCAG 2.2, 1.4.3); so does ink from the whole of heat.
# The series differ in lightness and in hue as well, so that people who see few colours tell them apart.
LIGHT = {
    "paper": "#f7f6f3",
    "card": "#ffffff",
    "ink": "#1b2029",
    "muted": "#59616e",
    "line": "#dfe1e5",
    "code": "#f1f2f4",
    "error": "#b3261e",
    "warning": "#8a4b00",
    "advice": "#1f5fa8",
    "fine": "#1c6b40",
    "s1": "#1c5a9e",
    "s2": "#c2410c",
    "s3": "#0f766e",
    "s4": "#86388a",
    "s5": "#7c5a00",
    "s6": "#525a66",
    "heat": "#86b6ea",
}
DARK = {
    "paper": "#101318",
    "card": "#191d24",
    "ink": "#e7e9ed",
    "muted": "#a2aab7",
    "line": "#333a45",
    "code": "#232933",
    "error": "#ff9a91",
    "warning": "#f2b65c",
    "advice": "#86bdf8",
    "fine": "#78d49d",
    "s1": "#6cb0f6",
    "s2": "#ff9f66",
    "s3": "#45cdb8",
    "s4": "#da9ede",
    "s5": "#e2c25c",
    "s6": "#b3bbc7",
    "heat": "#27609f",
}

RAMP = 8  # colours from the first of an order to its last, through the middle one below
_RAMPS = {"light": ("#a85f05", "#a3327d", "#26348b"), "dark": ("#ffc46b", "#f08bb0", "#7d9bff")}


def _between(a: str, b: str, share: float) -> str:
    """A colour between two, #rrggbb."""
    mixed = (round((1 - share) * int(a[i : i + 2], 16) + share * int(b[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{part:02x}" for part in mixed)


def _ramp(first: str, middle: str, last: str) -> dict[str, str]:
    """The colours d0, d1, ... of an order."""
    made = {}
    for i in range(RAMP):
        share = 2 * i / (RAMP - 1)
        made[f"d{i}"] = _between(first, middle, share) if share <= 1 else _between(middle, last, share - 1)
    return made


LIGHT |= _ramp(*_RAMPS["light"])
DARK |= _ramp(*_RAMPS["dark"])


def _variables(colours: dict[str, str]) -> str:
    return "".join(f"--{name}:{value};" for name, value in colours.items())


_BASE = """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif;font-variant-numeric:tabular-nums;overflow-wrap:break-word}
main,header.top,footer{max-width:1120px;margin:0 auto;padding:0 20px}
header.top{padding-top:40px}
h1{font-size:1.35rem;line-height:1.25;font-weight:650;margin:0}
h2{font-size:1.2rem;line-height:1.3;font-weight:650;margin:0 0 14px}
h3{font-size:1rem;line-height:1.35;font-weight:600;margin:0}
p{margin:0 0 10px;max-width:46rem}
.quiet{color:var(--muted);font-size:.9rem}
section{margin:48px 0 0}
section>h2+.quiet{margin:-8px 0 16px}
.verdict{font-size:1.5rem;line-height:1.3;font-weight:600;letter-spacing:-.01em;margin:18px 0 6px;max-width:44rem}
.verdict.error{color:var(--error)}.verdict.warning{color:var(--warning)}.verdict.fine{color:var(--fine)}
nav{display:flex;flex-wrap:wrap;gap:2px 18px;margin:22px 0 0;font-size:.9rem}
a{color:var(--advice);text-decoration:none}a:hover,a:focus-visible{text-decoration:underline}
.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,138px),1fr));gap:12px;margin:24px 0 0;padding:0}
.figures>div{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 14px;min-width:0}
.figures dt{color:var(--muted);font-size:.82rem;line-height:1.3}
.figures dd{margin:2px 0 0;font-size:1.15rem;white-space:nowrap;line-height:1.3;font-weight:600}
.figures svg{margin-top:6px;height:26px;width:100%}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,320px),1fr));gap:20px}
figure{margin:0;min-width:0;background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 14px 10px}
figure.wide{flex:1 1 320px;max-width:460px}
.beside{display:flex;flex-wrap:wrap;gap:24px 44px;align-items:flex-start}
.beside .scroll{margin:0}
figcaption{font-size:.92rem;font-weight:600;line-height:1.35;margin:0 0 8px}
figcaption span{display:block;font-weight:400;color:var(--muted);font-size:.85rem}
svg{display:block;width:100%;height:auto;overflow:visible}
svg text{font:11px system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;fill:var(--muted);
font-variant-numeric:tabular-nums}
svg .name,svg .value{fill:var(--ink)}
svg .over{paint-order:stroke;stroke:var(--card);stroke-width:4px;stroke-linejoin:round}
svg .grid-line{stroke:var(--line);stroke-width:1}
svg .base{stroke:var(--muted);stroke-width:1}
svg .rule{stroke:var(--muted);stroke-width:1;stroke-dasharray:3 3}
svg .band{fill:var(--fine);fill-opacity:.13}
svg .line{fill:none;stroke:var(--tone);stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}
svg .faint{stroke-width:1;opacity:.4}
svg .area{fill:var(--tone);fill-opacity:.2;stroke:none}
svg .dot,svg .bar{fill:var(--tone)}
svg .span{stroke:var(--tone);stroke-width:2;stroke-linecap:round}
svg .cell{fill:var(--heat)}
svg .frame{fill:none;stroke:var(--line);stroke-width:1}
.finding{background:var(--card);border:1px solid var(--line);border-left:4px solid var(--mark);border-radius:10px;
padding:16px 18px;margin:0 0 16px}
.finding.error{--mark:var(--error)}.finding.warning{--mark:var(--warning)}.finding.advice{--mark:var(--advice)}
.finding header{display:flex;flex-wrap:wrap;align-items:baseline;gap:2px 12px;margin-bottom:6px}
.finding .severity{color:var(--mark);font-weight:650}
.finding p{margin-bottom:10px}.finding p.why{margin:8px 0 0}
.evidence{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,280px),1fr));gap:6px 28px;margin:12px 0 2px;align-items:start}
.evidence figure{border:0;padding:0;background:none;max-width:440px}
.evidence figcaption{font-size:.85rem}
.evidence .pairs{grid-template-columns:repeat(auto-fill,minmax(118px,1fr));gap:6px 18px}
.facts{margin-top:16px}
.fix{margin:10px 0 0}
.fix span{display:block;color:var(--muted);font-size:.85rem;margin-bottom:3px}
pre{margin:0;background:var(--code);border-radius:7px;padding:10px 12px;white-space:pre-wrap;overflow-wrap:anywhere}
code,pre{font:.86rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
.pairs{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,150px),1fr));gap:8px 22px;margin:0}
.pairs>div{min-width:0}
.pairs dt{color:var(--muted);font-size:.82rem;line-height:1.3}
.pairs dd{margin:0;font-size:.92rem;line-height:1.4;overflow-wrap:anywhere}
.scroll{overflow-x:auto;max-width:100%;margin:0 0 20px;border-radius:6px}
.scroll:focus-visible{outline:2px solid var(--advice);outline-offset:2px}
table{border-collapse:collapse;font-size:.9rem;line-height:1.45}
caption{text-align:left;font-weight:600;padding:0 0 6px;white-space:nowrap}
th,td{text-align:left;vertical-align:top;padding:6px 22px 6px 0;border-bottom:1px solid var(--line)}
th{font-weight:500;color:var(--muted);font-size:.84rem;white-space:nowrap}
td.num,th.num{text-align:right}
section>h3{margin:0 0 10px}
.items td,.items th{padding:4px 18px 4px 0}.items td{max-width:15rem;overflow-wrap:anywhere}
.items th{white-space:normal}.items thead th{color:var(--ink);font-weight:600;min-width:5.5rem}
.items tbody th{position:sticky;left:0;background:var(--paper);max-width:11rem}.items caption{font-weight:400;color:var(--muted)}
.items .wrong,.items thead .wrong{color:var(--error)}.items .told td{font-weight:600}
.examples{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,var(--least,250px)),1fr));gap:16px;margin:0 0 28px;padding:0;list-style:none}
.examples.pictures{--least:150px}
.examples.texts{--least:330px}
.examples li{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 14px;min-width:0}
.examples img{display:block;width:100%;max-height:260px;object-fit:contain;image-rendering:auto;border-radius:6px;margin-bottom:8px;background:var(--code)}
.examples img.small{image-rendering:pixelated}
.examples .said{font-weight:600;line-height:1.4;margin:0}
.examples .wrong{color:var(--error)}
.examples blockquote{margin:8px 0 0;font-size:.92rem;white-space:pre-wrap;overflow-wrap:anywhere}
.examples .quiet{font-size:.84rem;line-height:1.4;margin:3px 0 0}
footer{margin-top:56px;padding-bottom:40px;color:var(--muted);font-size:.85rem}
@media (max-width:520px){.verdict{font-size:1.25rem}section{margin-top:38px}header.top{padding-top:24px}
main,header.top,footer{padding-left:16px;padding-right:16px}.examples.pictures{--least:130px}th,td{padding-right:14px}}
@media print{body{background:#fff;font-size:10.5pt}nav{display:none}section{margin-top:22pt}
main,header.top,footer{max-width:none;padding:0 1px}header.top{padding-top:0}
h2,h3,caption,thead{break-after:avoid}tr{break-inside:avoid}
figure,.finding,.examples li,.figures>div{break-inside:avoid}
.scroll{overflow:visible}table{font-size:9pt}th,td{padding-right:12pt}
.grid{grid-template-columns:repeat(2,minmax(0,1fr))}.figures{grid-template-columns:repeat(4,minmax(0,1fr))}
.items tbody th{position:static;background:none;max-width:none}footer{margin-top:14pt;padding:0}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}@page{margin:16mm}}
"""


def css() -> str:
    """The style sheet: the dark colours are for screens only, so that paper stays light."""
    tones = "".join(f".{name}{{--tone:var(--{name})}}" for name in LIGHT if name[0] in "sd" and name[1:].isdigit())
    return (
        f":root{{color-scheme:light dark;{_variables(LIGHT)}}}"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{_variables(DARK)}}}}}"
        f"{_BASE}{tones}"
    )
