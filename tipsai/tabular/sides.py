"""What stands on both sides of a table's split (DA15): groups, and the same time."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from tipsai.doctor.check import Check, Figures, Verdict
from tipsai.doctor.context import Context
from tipsai.frame.values import distinct, is_number, numbers_of
from tipsai.tabular import groups
from tipsai.tabular.columns import Boolean, Category, Date, to_dates
from tipsai.tabular.raw import Raw
from tipsai.tabular.seen import processors, raw_rows, raw_targets, value_counts

LEAKAGE = "Kapoor and Narayanan, Leakage and the reproducibility crisis, Patterns 4, 2023"
MOSTLY, FEW = 0.5, 0.2  # of the test rows

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
    train, valid, test = (raw_rows(ctx, split) for split in ("train", "valid", "test"))
    if train is None or valid is None:
        return None
    y = groups.centred(torch.cat([raw_targets(ctx, "train", train), raw_targets(ctx, "valid", valid)]))
    variance = float((y**2).sum(1).mean())
    found: dict[str, Any] = {}
    for name in train.frame.columns.intersection(valid.frame.columns):
        column = pd.concat([train.frame[name], valid.frame[name]], ignore_index=True)
        codes, values = _group_codes(column, processors(ctx).get(name))
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
        apart = None if name in processors(ctx) else _inputs_apart(ctx, train, valid, there, group)
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
    known = value_counts(train.frame[name]).keys() | value_counts(valid.frame[name]).keys()
    there = value_counts(test.frame[name])
    return sum(n for value, n in there.items() if value in known) / max(1, there.total())


def _judge_groups(f: Figures) -> Iterator[Verdict]:
    for name, c in sorted(f["columns"].items(), key=lambda item: -item[1]["agreement"]):
        in_test = c["test rows of groups in training"]
        if in_test is not None and in_test >= MOSTLY:
            continue  # new data bring the same groups
        new_ones = in_test is not None and in_test < FEW
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
    train = raw_rows(ctx, "train")
    if train is None or raw_rows(ctx, "valid") is None:
        return None
    for name, processor in processors(ctx).items():
        if not isinstance(processor, Date):
            continue
        ranges: dict[str, Any] = {}
        for split in ("train", "valid", "test"):
            raw = raw_rows(ctx, split)
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

CHECKS = (GROUPS, DATES)
