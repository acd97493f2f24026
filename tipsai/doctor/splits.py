"""How the data are split: whether there is validation, what stands on both sides, how often the test was opened."""

import hashlib
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tipsai.core.state import Batch
from tipsai.doctor.check import Check, Figures, Verdict
from tipsai.doctor.context import Context, digests

# --- validation ---------------------------------------------------------------------------------------------------


def _validation(ctx: Context) -> Figures | None:
    return {
        "valid": 0 if ctx.dls.valid is None else ctx.dls.valid.n_items,
        "train": getattr(ctx.dls.train, "n_items", 0),
    }


def _judge_validation(f: Figures) -> Iterator[Verdict]:
    if not f["valid"]:
        yield Verdict(
            "warning",
            "there is no validation data, so nothing says how the model does on data it has not seen.",
            f,
            "Hold some out: DataLoaders.from_tensors((x, y), (x_valid, y_valid)); modalities draw a part themselves.",
        )


NO_VALIDATION = Check("no-validation", "data", "TR22", _validation, _judge_validation)

FEW_VALID = 16  # items; of so many an accuracy is known to some 25 points


def _judge_small(f: Figures) -> Iterator[Verdict]:
    if 0 < f["valid"] < FEW_VALID:
        yield Verdict(
            "warning",
            f"validation has {f['valid']} items: its figures are mostly chance (a share of them is known to {1.96 * 0.5 / f['valid'] ** 0.5:.0%} either "
            "way), and choices by them are, too.",
            f,
            "Hold more out, or train on several splits and judge all of them together.",
        )


SMALL_VALIDATION = Check("small-validation", "data", "TR22", _validation, _judge_small)


# --- the test -----------------------------------------------------------------------------------------------------


def _looks(ctx: Context) -> Figures | None:
    return {"looks": max(ctx.test_looks.values(), default=0)}


def _judge_looks(f: Figures) -> Iterator[Verdict]:
    if f["looks"] > 1:
        yield Verdict(
            "warning",
            f"the same test data were opened {f['looks']} times; whoever chooses by them tunes on them.",
            f,
            "Choose by validation, and take fresh test data for the last word.",
        )


TEST_LOOKS = Check("test-looks", "data", "DA14", _looks, _judge_looks, again=True)


# --- the same items on both sides -----------------------------------------------------------------------------------


def _file_digests(paths: Sequence[Any], most: int = 20_000) -> list[bytes] | None:
    """A digest of each file's contents; None where items are no files, or too much to read."""
    if not paths or len(paths) > most or not isinstance(paths[0], str | Path) or not os.path.isfile(paths[0]):
        return None
    return [hashlib.blake2b(Path(path).read_bytes(), digest_size=12).digest() for path in paths]


MOST_COLUMNS = 64  # that are counted; evenly spaced ones stand for all


def collision(x: Tensor, most: int = MOST_COLUMNS) -> float:
    """The logarithm of the chance that two rows coincide if their columns were independent, float [n, d].

    Of more columns than `most`, evenly spaced ones stand for all.
    """
    n, d = x.shape
    columns = x[:, :: max(1, d // most)]
    shares = [torch.unique(c, return_counts=True)[1].double() / n for c in columns.T]
    logs = [math.log(float((p * p).sum())) for p in shares]
    return sum(logs) * d / len(logs)


FINE = 0.3  # distinct values over distinct rows: rows that agree in SEVERAL such columns are copies
SEVERAL = 3
DEPENDENT = 3.0  # columns that go together make coincidences more likely: the logarithm is taken for a third


def _rare(ctx: Context, batch: Batch, n: int, m: int) -> bool:
    """Whether it is unlikely that any of n rows and any of m coincide, by a sample of them."""
    if ctx.tokens() is not None:
        return False  # short texts come again by themselves
    distinct = list({digest: i for i, digest in enumerate(digests(batch.x))}.values())
    flat = _each_once(ctx, batch.x)[distinct]
    some = flat[:, :: max(1, flat.shape[1] // MOST_COLUMNS)]
    fine = sum(len(torch.unique(column)) > FINE * len(flat) for column in some.T)
    return fine >= SEVERAL or collision(flat) / DEPENDENT < math.log(1e-3 / n / m)


def _each_once(ctx: Context, x: Sequence[Tensor]) -> Tensor:
    """Inputs as float64 [n, d]; of a table's columns, which may stand in several inputs, the first part alone."""
    parts = ctx.dls.blocks[0].column_parts() if ctx.dls.blocks else {}
    if not parts:
        return torch.cat([t.reshape(len(t), -1).double() for t in x], 1)
    first = [found[0] for found in parts.values() if found]
    return torch.stack([x[i].reshape(len(x[i]), -1)[:, at.start].double() for i, at in first], 1)


def _twins(ctx: Context) -> Figures | None:
    if ctx.dls.train is None or ctx.dls.valid is None:
        return None
    train_files, valid_files = (_file_digests(ctx.dls.items.get(name, ())) for name in ("train", "valid"))
    rare = True  # files that are equal byte for byte are copies
    if train_files is None or valid_files is None:
        train, valid = ctx.sample("train"), ctx.sample("valid")
        if train is None or valid is None or not train.x:
            return None
        if [t.shape[1:] for t in train.x] != [t.shape[1:] for t in valid.x]:
            return None
        everything = _whole(ctx)
        train_files, valid_files = digests((everything or train).x), digests(valid.x)
        rare = all(_rare(ctx, part, len(train_files), len(valid_files)) for part in (train, valid))
    known = set(train_files)
    return {
        "valid": len(valid_files),
        "train": len(train_files),
        "in both": sum(d in known for d in valid_files),
        "twins within training": 1 - len(known) / len(train_files),
        "coincidence is unlikely": rare,
    }


def _whole(ctx: Context, most: int = 1 << 28) -> Batch | None:
    """All training rows, where they lie in memory and are not too many; else None."""
    data = getattr(ctx.dls.train, "rows", None)
    if data is None or sum(t.nbytes for t in data.tensors()) > most or ctx.dls.batch_tfms:
        return None
    return data.take(slice(0, len(data)))  # type: ignore[no-any-return]


def _judge_twins(f: Figures) -> Iterator[Verdict]:
    share, within = f["in both"] / f["valid"], f["twins within training"]
    copies = share if f["coincidence is unlikely"] else share - 2 * within  # of discrete data some coincide by nature
    least = (2, 0.005) if f["coincidence is unlikely"] else (5, 0.02)
    if f["in both"] < least[0] or copies < least[1]:
        return
    yield Verdict(
        "warning",
        f"{f['in both']:,} of {f['valid']:,} validation items stand in the training data as well ({share:.1%}); "
        "what a model knows by heart makes validation look too good.",
        f,
        "Drop duplicates before splitting, for instance frame.drop_duplicates(), or split by what they belong to.",
    )


DUPLICATES = Check("duplicates", "data", "DA15", _twins, _judge_twins)


# --- nearly the same ----------------------------------------------------------------------------------------------

NEIGHBOURS = 10
CHANCE, NEAREST = 3e-3, 0.35  # that one is so near, and how near at most, over the distance to the tenth neighbour
SAMPLE_NEAR = 1500  # items of each split; their distances are a table


def _near(ctx: Context) -> Figures | None:
    """How many validation items have a training item, or a picture's mirror image, far nearer than chance would put one.

    Of points spread smoothly in D dimensions the nearest is nearer than a share r of the distance to the tenth neighbour
    with a chance of some 10 * r^D. D is estimated from the distances to the fifth and the tenth.
    """
    train, valid = ctx.sample("train"), ctx.sample("valid")
    if train is None or valid is None or not train.x or not train.x[0].is_floating_point():
        return None
    if train.x[0].shape[1:] != valid.x[0].shape[1:] or min(train.n_rows, valid.n_rows) < 10 * NEIGHBOURS:
        return None
    seen, new = (part.x[0][:SAMPLE_NEAR] for part in (train, valid))
    a, b = seen.flatten(1), new.flatten(1)
    scale = a.std(0)
    kept = scale > 0
    if not kept.any():
        return None
    # values that hardly vary would count as much as others, and pixels have one scale as it is
    scale = torch.ones_like(scale) if seen.ndim == 4 else scale.clamp(min=0.3 * float(scale[kept].median()))
    a, b = a[:, kept] / scale[kept], b[:, kept] / scale[kept]
    nearest = torch.cdist(b, a).topk(NEIGHBOURS, 1, largest=False).values
    distinct = nearest[nearest[:, 0] > 0]  # equal ones are another check's
    far, middle = distinct[:, -1], distinct[:, NEIGHBOURS // 2 - 1]
    usable = (far > middle) & (middle > 0)
    if usable.sum() < 5 * NEIGHBOURS:
        return None
    dimension = math.log(2) / max(1e-6, float((far / middle)[usable].log().median()))
    share = min(NEAREST, (CHANCE / NEIGHBOURS) ** (1 / dimension))
    turned = 0
    if seen.ndim == 4:
        mirrored = torch.cdist(new.flip(-1).flatten(1)[:, kept] / scale[kept], a).amin(1)
        turned = int(((mirrored < share * nearest[:, -1]) & (nearest[:, 0] >= share * nearest[:, -1])).sum())
    return {
        "near": int((distinct[:, 0] < share * far).sum()) + turned,
        "mirrored": turned,
        "valid": len(distinct),
        "dimension": dimension,
        "how near": share,
        "expected": NEIGHBOURS * share**dimension,
    }


def _judge_near(f: Figures) -> Iterator[Verdict]:
    share, expected = f["near"] / f["valid"], f["expected"]
    if share < 0.03 + 5 * expected:
        return
    mirrored = f", of {f['mirrored']:,} the mirror image" if f["mirrored"] else ""
    yield Verdict(
        "warning",
        f"{f['near']:,} of {f['valid']:,} validation items have a training item that is nearly the same{mirrored} ({share:.1%}; "
        f"chance would give {expected:.1%}).",
        f,
        "Split before augmenting, and by what items belong to: a patient, a recording, a house.",
    )


NEAR_DUPLICATES = Check("near-duplicates", "data", "DA15", _near, _judge_near, unless=("duplicates",))


# --- windows that overlap -------------------------------------------------------------------------------------------

MOST_SHIFT = 8  # places by which one window is later than another
OVERLAPPING = 0.1  # of the validation items


def _overlap(ctx: Context) -> Figures | None:
    """How many validation items are a training item moved on by some places, as windows of one series are."""
    train, valid = ctx.sample("train"), ctx.sample("valid")
    if train is None or valid is None or not train.x or not 2 <= train.x[0].ndim <= 3:
        return None
    seen, new = _whole(ctx) or train, valid.x[0]
    old = seen.x[0]
    t = old.shape[1]
    if t < 8 or old.shape[1:] != new.shape[1:] or len(train.x) > 1 or ctx.tokens() is not None:
        return None
    best, shift = 0, 0
    found = torch.zeros(len(new), dtype=torch.bool)
    for k in range(1, min(MOST_SHIFT, t // 2) + 1):
        for later, earlier in ((new[:, : t - k], old[:, k:]), (new[:, k:], old[:, : t - k])):
            known = set(digests((earlier.contiguous(),)))
            hits = torch.tensor([d in known for d in digests((later.contiguous(),))])
            if int(hits.sum()) > best:
                best, shift = int(hits.sum()), k
            found |= hits
    flat = train.x[0].reshape(train.n_rows, -1).double()
    rare = collision(flat) / 2 / DEPENDENT < math.log(1e-3 / len(old) / len(new))
    return {"overlapping": int(found.sum()), "valid": len(new), "by": shift, "coincidence is unlikely": rare}


def _judge_overlap(f: Figures) -> Iterator[Verdict]:
    share = f["overlapping"] / f["valid"]
    if f["coincidence is unlikely"] and share > OVERLAPPING:
        yield Verdict(
            "warning",
            f"{f['overlapping']:,} of {f['valid']:,} validation items are a training item moved on by a few places (mostly {f['by']}): windows of one "
            f"series that overlap ({share:.0%}). Validation knows what training saw.",
            f,
            "Cut the series in time before making windows, and leave a gap of one window between the parts.",
        )


OVERLAP = Check("overlapping-windows", "data", "DA15", _overlap, _judge_overlap, unless=("duplicates",))

CHECKS = (NO_VALIDATION, SMALL_VALIDATION, TEST_LOOKS, DUPLICATES, NEAR_DUPLICATES, OVERLAP)
