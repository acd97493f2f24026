"""What the doctor looks at in a table: spellings and categories that are new; and what stands on both sides of the split."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tipsai.core.errors import listing
from tipsai.data.processor import key
from tipsai.doctor.check import Check, Figures, Verdict
from tipsai.doctor.context import Context
from tipsai.tabular import groups, leaks, sides
from tipsai.tabular.columns import Boolean, Category
from tipsai.tabular.seen import processors, raw_rows, raw_targets, value_counts
from tipsai.tabular.spellings import OFTEN, RATIO, same_words, typos

SHOWN = 6  # pairs of spellings in a message

# --- spellings ------------------------------------------------------------------------------------------------------

LEAST_COMPARED = 3  # rows of a spelling, from which on its targets can tell it from another
WORTH_MENDING = 10  # rows of a single value that may be a misspelling: it may as well be a rare one
DIFFERENT = 4.0  # standard errors between the targets of two values that do not mean the same


def _spellings(ctx: Context) -> Figures | None:
    raw = raw_rows(ctx, "train")
    if raw is None:
        return None
    y = groups.centred(raw_targets(ctx, "train", raw))
    found: dict[str, Any] = {}
    for name, processor in processors(ctx).items():
        if not isinstance(processor, Category) or isinstance(processor, Boolean) or name not in raw.frame:
            continue
        counts = value_counts(raw.frame[name])
        digits = sum(any(map(str.isdigit, value)) for value in counts)
        if 2 * digits > len(counts) or len(counts) < 2:
            continue  # codes, of which a letter more or less is another one
        same, near = same_words(counts), typos(counts)
        if near:
            names = raw.frame[name].map(key).to_numpy()
            near = {rare: main for rare, main in near.items() if not _told_apart(y, names, rare, main)}
        if same or near:
            often = max(counts[other] * RATIO > counts[main] for other, main in (same | near).items())
            rare_values = sum(n < OFTEN for n in counts.values())
            found[name] = {
                "same": same,
                "typos": near,
                "values": len(counts),
                "rare values": rare_values,
                "rows": sum(counts[other] for other in same | near),
                "all rows": counts.total(),
                "read as one": processor.text and not often,
            }
    return {"columns": found}


def _told_apart(y: groups.Floats, names: NDArray[Any], rare: str, main: str) -> bool:
    """Whether two values differ in the target, so that they mean something else, as ISLAND and INLAND do."""
    few, many = y[names == rare], y[names == main]
    if len(few) < LEAST_COMPARED:
        return False
    error = np.sqrt(many.var(0) * (1 / len(few) + 1 / len(many)) + 1e-12)
    return bool((np.abs(few.mean(0) - many.mean(0)) / error).max() > DIFFERENT)


def _judge_spellings(f: Figures) -> Iterator[Verdict]:
    sure, perhaps = dict[str, Any](), dict[str, Any]()
    for name, c in f["columns"].items():
        n = len(c["typos"])
        if c["same"] or n >= 3 or (n == 2 and c["rare values"] <= 4):
            sure[name] = c
        elif n == 2 or c["rows"] >= WORTH_MENDING:
            perhaps[name] = c
    for columns, is_sure in ((sure, True), (perhaps, False)):
        if not columns:
            continue
        name, c = max(columns.items(), key=lambda item: item[1]["rows"])
        pairs = c["same"] | c["typos"]
        told = ", ".join(f"{other!r} ~ {main!r}" for other, main in list(pairs.items())[:SHOWN])
        more = f" and {len(pairs) - SHOWN} more" if len(pairs) > SHOWN else ""
        others = f" So it is in {listing(other for other in columns if other != name)}." if len(columns) > 1 else ""
        read = " They are read as one by their spelling; a model elsewhere would not." if c["read as one"] else ""
        yield Verdict(
            "warning" if is_sure and not all(c["read as one"] for c in columns.values()) else "advice",
            f"column {name!r} {'holds' if is_sure else 'may hold'} several spellings of the same value, in {c['rows']:,} of "
            f"{c['all rows']:,} rows: {told}{more}.{others}{read}",
            {"columns": columns},
            f"df[{name!r}] = df[{name!r}].replace({dict(list(pairs.items())[:SHOWN])!r})",
        )


SPELLINGS = Check(
    "dirty-categories",
    "data",
    "TA02",
    _spellings,
    _judge_spellings,
    "Cerda and Varoquaux 1907.01860; Damerau 1964 for what a typo is",
)


# --- new categories -------------------------------------------------------------------------------------------------

Z = 4.0
MOSTLY = 0.5
WORTH_A_WORD, MUCH = 0.05, 0.2  # share of rows beyond what chance gives


def _unseen(ctx: Context) -> Figures | None:
    """The share of rows whose category training has not seen, beside that of training rows whose value occurs once.

    The latter is what rows drawn alike would give. Source: Good, Biometrika 40, 1953.
    """
    raw = raw_rows(ctx, "train")
    if raw is None:
        return None
    found: dict[str, dict[str, Any]] = {}
    for name, processor in processors(ctx).items():
        if not isinstance(processor, Category) or isinstance(processor, Boolean):
            continue
        counts = value_counts(raw.frame[name])
        once = sum(n == 1 for n in counts.values()) / max(1, counts.total())
        for split in ("valid", "test"):
            other = raw_rows(ctx, split)
            if other is None:
                continue
            there = value_counts(other.frame[name])
            new = [value for value in there if value not in counts and processor._code(value) == Category.UNKNOWN]
            n = there.total()
            if n >= 20:
                unseen = sum(there[value] for value in new)
                found[f"{name} in {split}"] = {
                    "column": name,
                    "split": split,
                    "unseen": unseen,
                    "rows": n,
                    "expected": once,
                    "spelling counts": processor.text,
                    "such as": sorted(new, key=lambda value: -there[value])[:3],
                }
    return {"found": found}


def _judge_unseen(f: Figures) -> Iterator[Verdict]:
    worst: dict[str, dict[str, Any]] = {}  # by severity
    for c in f["found"].values():
        share, expected = c["unseen"] / c["rows"], c["expected"]
        error = (max(expected, 1 / c["rows"]) * (1 - expected) / c["rows"]) ** 0.5
        beyond = share - expected
        if share > MOSTLY:
            severity = "advice" if c["spelling counts"] and beyond < WORTH_A_WORD else "warning"
        elif beyond > max(WORTH_A_WORD, Z * error) and share > 2 * expected:
            severity = "warning" if beyond > MUCH else "advice"
        else:
            continue
        held = worst.get(severity)
        if held is None or share > held["unseen"] / held["rows"]:
            worst[severity] = c
    for severity, c in worst.items():
        share = c["unseen"] / c["rows"]
        yield Verdict(
            severity,  # type: ignore[arg-type]
            f"column {c['column']!r} holds values that training never saw in {share:.0%} of {c['rows']:,} {c['split']} rows, such as "
            f"{listing(c['such as'])}; rows drawn alike would give {c['expected']:.0%}. A model learns nothing of them by name.",
            f,
            f"Leave it out, ignore=[{c['column']!r}], or put in its place what it stands for, such as a coarser group."
            if share > MOSTLY
            else f"See whether {c['split']} comes from another source or time; kinds={{{c['column']!r}: 'skip'}} leaves the column out.",
        )


UNSEEN = Check("unknown-categories", "data", "TA02", _unseen, _judge_unseen, "Good 1953 for what chance gives")

CHECKS = (SPELLINGS, UNSEEN, *leaks.CHECKS, *sides.CHECKS)
