"""What the doctor looks at in a table: spellings, categories that are new, groups and dates on both sides of the split."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from tipsai.core.errors import listing
from tipsai.data.processor import key
from tipsai.doctor.check import Check, Figures, Verdict
from tipsai.doctor.context import Context
from tipsai.doctor.inputs import judge_placeholders, placeholder
from tipsai.doctor.leaks import judge_identifier, n_items, numbers_items
from tipsai.frame.values import distinct, is_number, numbers_of
from tipsai.tabular import groups
from tipsai.tabular.columns import Boolean, Category, Date, Number, to_dates
from tipsai.tabular.raw import Raw
from tipsai.tabular.spellings import OFTEN, RATIO, same_words, typos

SHOWN = 6  # pairs of spellings in a message
LEAKAGE = "Kapoor and Narayanan, Leakage and the reproducibility crisis, Patterns 4, 2023"


def _raw(ctx: Context, split: str) -> Raw | None:
    """A sample of a split's rows as they were read; None where the data are no table, or a reloaded one."""
    kept: Mapping[str, Raw] = getattr(ctx.dls, "raw", {})
    return kept.get(split)


def _columns(ctx: Context) -> Mapping[str, Any]:
    """The processors of the input columns."""
    return ctx.dls.blocks[0].columns if ctx.dls.blocks else {}  # type: ignore[attr-defined]


def _counts(column: pd.Series, name_of: Any = key) -> Counter[str]:
    """How often each value of a column occurs, by its name."""
    codes, found = distinct(column)
    made: Counter[str] = Counter()
    for value, n in zip(found, np.bincount(codes[codes >= 0], minlength=len(found)).tolist(), strict=True):
        made[name_of(value)] += n
    return Counter({name: n for name, n in made.items() if n})


def _targets(ctx: Context, split: str, raw: Raw) -> torch.Tensor:
    """The encoded targets of the raw rows."""
    rows = getattr(ctx.dls, split).rows
    found: torch.Tensor = rows.y[0][torch.from_numpy(raw.places)]
    return found


# --- spellings ------------------------------------------------------------------------------------------------------

LEAST_COMPARED = 3  # rows of a spelling, from which on its targets can tell it from another
WORTH_MENDING = 10  # rows of a single value that may be a misspelling: it may as well be a rare one
DIFFERENT = 4.0  # standard errors between the targets of two values that do not mean the same


def _spellings(ctx: Context) -> Figures | None:
    raw = _raw(ctx, "train")
    if raw is None:
        return None
    y = groups.centred(_targets(ctx, "train", raw))
    found: dict[str, Any] = {}
    for name, processor in _columns(ctx).items():
        if not isinstance(processor, Category) or isinstance(processor, Boolean) or name not in raw.frame:
            continue
        counts = _counts(raw.frame[name])
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
    raw = _raw(ctx, "train")
    if raw is None:
        return None
    found: dict[str, dict[str, Any]] = {}
    for name, processor in _columns(ctx).items():
        if not isinstance(processor, Category) or isinstance(processor, Boolean):
            continue
        counts = _counts(raw.frame[name])
        once = sum(n == 1 for n in counts.values()) / max(1, counts.total())
        for split in ("valid", "test"):
            other = _raw(ctx, split)
            if other is None:
                continue
            there = _counts(other.frame[name])
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


# --- groups ---------------------------------------------------------------------------------------------------------

FEWEST = 20  # groups
LARGEST = 50  # rows a group on average; more make a category that will be met again
NAMED_LARGEST = 1000
ALIKE = 0.15  # agreement of the target in a group
ALIKE_NUMBERS = 0.3  # likewise where a number that is not named like groups would have to name some
UNIFORM = 0.8
CLOSE = 0.8  # distance of a group's inputs over that of any
_GROUP_NAME = re.compile(
    r"(^|[_\s.-])(patient|subject|user|customer|client|person|people|household|house|family|store|shop|site|hospital|clinic|"
    r"doctor|school|class|device|machine|engine|sensor|session|visit|trip|author|writer|speaker|player|team|donor|animal|"
    r"plot|field|station|scene|video|recording|document|source|group|batch|account|card|company|seller|driver|vehicle|"
    r"participant|respondent|id|ids|uuid|key|no|nr|number)s?($|[_\s.-])",
    re.IGNORECASE,
)


def named_like_groups(name: str) -> bool:
    """Whether a column's name says that it names things which have several rows: "patient_id", "shopNo"."""
    return bool(_GROUP_NAME.search(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)))


def _groups(ctx: Context) -> Figures | None:
    train, valid, test = (_raw(ctx, split) for split in ("train", "valid", "test"))
    if train is None or valid is None:
        return None
    y = groups.centred(torch.cat([_targets(ctx, "train", train), _targets(ctx, "valid", valid)]))
    variance = float((y**2).sum(1).mean())
    found: dict[str, Any] = {}
    for name in train.frame.columns.intersection(valid.frame.columns):
        column = pd.concat([train.frame[name], valid.frame[name]], ignore_index=True)
        codes, values = _group_codes(column, _columns(ctx).get(name))
        there = np.flatnonzero(codes >= 0)
        n = np.bincount(codes[there], minlength=1)
        most = NAMED_LARGEST if named_like_groups(str(name)) else LARGEST
        if (n > 1).sum() < FEWEST or n[n > 1].sum() < 100 or n[n > 0].mean() > most:
            continue
        side = there < len(train.frame)
        known = np.zeros(len(n), bool)
        known[codes[there[side]]] = True
        seen = float(known[codes[there[~side]]].mean()) if (~side).any() else 0.0
        if seen < 0.5:
            continue  # the split goes by these groups, or there is little that could leak
        group = np.unique(codes[there], return_inverse=True)[1]
        kept = y[there] if values is None else groups.without_trend(y[there], values[there])
        alike = groups.agreement(kept, group, variance)
        named = named_like_groups(str(name))
        if alike < (ALIKE if named or values is None else ALIKE_NUMBERS):
            continue
        chance = groups.by_chance(kept, group, variance)
        if alike <= chance.max() or alike < chance.mean() + 5 * chance.std():
            continue
        apart = None if name in _columns(ctx) else _inputs_apart(ctx, train, valid, there, group)
        if apart is not None and apart > CLOSE:
            continue  # nothing that the model sees tells the group
        found[str(name)] = {
            "groups": int((n > 0).sum()),
            "rows a group": float(n[n > 0].mean()),
            "agreement": alike,
            "by chance at most": float(chance.max()),
            "valid rows of groups in training": seen,
            "test rows of groups in training": _seen_in_test(name, test, train, valid),
            "inputs apart": apart,
            "named like one": named,
        }
    return {"columns": found, "drawn at random": bool(getattr(ctx.dls, "drawn", False))}


def _group_codes(column: pd.Series, processor: Any) -> tuple[NDArray[np.int64], groups.Floats | None]:
    """The number of each row's group, -1 where there is none, and of numbers the values; all -1 where it names no groups."""
    none = np.full(len(column), -1, np.int64), None
    if isinstance(processor, Date | Boolean) or pd.api.types.is_datetime64_any_dtype(column.dtype):
        return none
    codes, found = distinct(column)
    if len(found) < FEWEST:
        return none
    if all(is_number(value) for value in found[:200]) and not isinstance(processor, Category):
        values, _, _ = numbers_of(column)
        present = values[~np.isnan(values)]
        if not len(present) or (present != np.round(present)).any():
            return none
        return codes.astype(np.int64), np.where(np.isnan(values), 0.0, values)
    return codes.astype(np.int64), None


def _inputs_apart(ctx: Context, train: Raw, valid: Raw, there: NDArray[np.int64], group: NDArray[np.int64]) -> float:
    parts = [
        (rows.numbers[at], rows.codes[at])
        for rows, at in (
            (ctx.dls.train.rows, torch.from_numpy(train.places)),  # type: ignore[union-attr]
            (ctx.dls.valid.rows, torch.from_numpy(valid.places)),  # type: ignore[union-attr]
        )
    ]
    numbers, codes = (torch.cat(part)[torch.from_numpy(there)] for part in zip(*parts, strict=True))
    return groups.inputs_alike(numbers, codes, group)


def _seen_in_test(name: str, test: Raw | None, train: Raw, valid: Raw) -> float | None:
    """The share of test rows whose group has rows before the test; None without a test. Its targets stay closed."""
    if test is None or name not in test.frame:
        return None
    known = _counts(train.frame[name]).keys() | _counts(valid.frame[name]).keys()
    there = _counts(test.frame[name])
    return sum(n for value, n in there.items() if value in known) / max(1, there.total())


def _judge_groups(f: Figures) -> Iterator[Verdict]:
    for name, c in sorted(f["columns"].items(), key=lambda item: -item[1]["agreement"]):
        in_test = c["test rows of groups in training"]
        if in_test is not None and in_test >= MOSTLY:
            continue  # new data bring the same groups
        new_ones = in_test is not None and in_test < MUCH
        if not (f["drawn at random"] or new_ones):
            continue  # whoever divided the rows may have had a reason
        sure = new_ones or c["named like one"] or c["agreement"] > UNIFORM
        told = f"; of {1 - in_test:.0%} of the test rows it is new" if new_ones else ""
        yield Verdict(
            "warning" if sure else "advice",
            f"column {name!r} names groups ({c['groups']:,} of {c['rows a group']:.1f} rows) that stand on both sides of the split: "
            f"{c['valid rows of groups in training']:.0%} of the validation rows have one of theirs in training{told}. Within a group "
            f"targets agree by {c['agreement']:.2f} (0 is chance, 1 the same), so that validation looks better than new groups will.",
            f,
            f"If new data will bring new {name}, split by it: "
            f"from_df(..., splitter=lambda df: tipsai.group_split(df[{name!r}], valid=0.2)).",
        )
        return


GROUPS = Check(
    "groups-across-split",
    "data",
    "DA15",
    _groups,
    _judge_groups,
    LEAKAGE + ": L3.2, rows that are not independent",
)


# --- dates ----------------------------------------------------------------------------------------------------------

INNER = (0.05, 0.95)  # quantiles: a few stray dates do not count


def _dates(ctx: Context) -> Figures | None:
    found: dict[str, Any] = {}
    train = _raw(ctx, "train")
    if train is None or _raw(ctx, "valid") is None:
        return None
    for name, processor in _columns(ctx).items():
        if not isinstance(processor, Date):
            continue
        ranges: dict[str, Any] = {}
        for split in ("train", "valid", "test"):
            raw = _raw(ctx, split)
            if raw is None:
                continue
            when, _ = to_dates(raw.frame[name], processor.dayfirst_)
            when = np.sort(when[~np.isnat(when)])
            if len(when) < 10:
                break
            ranges[split] = {
                "low": when[int(INNER[0] * len(when))],
                "middle": when[len(when) // 2],
                "high": when[int(INNER[1] * len(when))],
                "last": when[-1],
                "distinct": len(np.unique(when)),
            }
        if {"train", "valid"} <= ranges.keys() and ranges["train"]["distinct"] >= FEWEST:
            found[name] = ranges
    return {"columns": found}


def _judge_dates(f: Figures) -> Iterator[Verdict]:
    for name, r in f["columns"].items():
        inside = r["train"]["low"] <= r["valid"]["middle"] <= r["train"]["high"]
        later = "test" in r and r["test"]["low"] > r["train"]["high"]
        if not inside or ("test" in r and not later):
            continue
        days = {split: (str(part["low"])[:10], str(part["high"])[:10]) for split, part in r.items()}
        fix = f"from_df(..., splitter=lambda df: tipsai.time_split(df[{name!r}], valid=0.2))."
        if later:
            yield Verdict(
                "warning",
                f"test rows are later by {name!r} ({days['test'][0]} to {days['test'][1]}) than training rows ({days['train'][0]} to "
                f"{days['train'][1]}), and validation rows are not ({days['valid'][0]} to {days['valid'][1]}): validation does not "
                "show how the model does on what comes later.",
                {"ranges": days, "column": name},
                f"Validate on the latest rows: {fix}",
            )
        else:
            yield Verdict(
                "advice",
                f"training and validation rows are of the same time by {name!r} ({days['train'][0]} to {days['train'][1]}). If the model is "
                "for later rows, validation looks better than they will.",
                {"ranges": days, "column": name},
                f"Then validate on the latest rows: {fix}",
            )
        return


DATES = Check("dates-across-split", "data", "DA15", _dates, _judge_dates, LEAKAGE + ": L3.1, temporal leakage")


# --- identifiers ----------------------------------------------------------------------------------------------------


def _numbers(ctx: Context) -> dict[str, torch.Tensor]:
    """The columns of numbers as they were read, of a sample of the training rows: what the model sees of them is drawn in."""
    raw = _raw(ctx, "train")
    if raw is None:
        return {}
    names = [name for name, processor in _columns(ctx).items() if isinstance(processor, Number) and name in raw.frame]
    return {name: torch.tensor(numbers_of(raw.frame[name])[0]) for name in names}


def _numbered(ctx: Context) -> Figures | None:
    found = _numbers(ctx)
    return {"columns": [name for name, c in found.items() if numbers_items(c, n_items(ctx))]} if found else None


NUMBERED = Check("numbered-rows", "data", "DA15", _numbered, judge_identifier, unless=("identifier",))


# --- numbers that stand for nothing ---------------------------------------------------------------------------------


def _placeholders(ctx: Context) -> Figures | None:
    found = {name: placeholder(column) for name, column in _numbers(ctx).items()}
    return {"columns": {name: value for name, value in found.items() if value is not None}}


PLACEHOLDERS = Check("missing-by-number", "data", "DA12", _placeholders, judge_placeholders, unless=("missing-codes",))

CHECKS = (SPELLINGS, UNSEEN, GROUPS, DATES, NUMBERED, PLACEHOLDERS)
