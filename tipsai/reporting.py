"""What a report shows, gathered from the parts of a run. The page itself is made in tipsai.report."""

import datetime
import logging
import math
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tipsai import container
from tipsai.artifact import git_commit
from tipsai.callbacks import Recorder
from tipsai.core.errors import DataError, SettingError
from tipsai.core.evaluate import evaluating, predict_batch
from tipsai.core.state import Row
from tipsai.data.dataloaders import DataLoaders
from tipsai.data.loaders import ForeignLoader
from tipsai.doctor import Record
from tipsai.interpret import Interpretation
from tipsai.optim import n_parameters
from tipsai.report.contents import Confusion, Example, Figure, Looks, Report, Steps
from tipsai.report.picture import beside, data_uri, of_tensor
from tipsai.report.words import SPLITS
from tipsai.settings import Settings

log = logging.getLogger("tipsai")
EXAMPLES = 12  # pictures under a heading
READ = 6  # rows or texts, which take more room
FEW = 8  # numbers of a raw row that are shown
CONFUSED = 10  # pairs
BINS = 10
# Figures that come first, where a run has them; the rest follow in their own order.
FOREMOST = ("test_", "valid_", "train_loss")


def figures(values: Mapping[str, float], history: Sequence[Row]) -> list[Figure]:
    """The numbers that matter, those on test data first, with their course where the epochs have it."""

    def rank(name: str) -> tuple[int, bool]:
        place = next((i for i, start in enumerate(FOREMOST) if name.startswith(start)), len(FOREMOST))
        return place, name.endswith("_loss")

    names = sorted((name for name in values if name != "train_objective"), key=rank)
    made = []
    for name in names:
        course = [row[name] for row in history if name in row]
        made.append(Figure(name, float(values[name]), course if len(course) > 1 else ()))
    return made


def steps(recorder: Recorder, record: Record | None) -> Steps:
    """The figures of each step, of all fits."""
    clip = record.clip if record is not None else None
    n = len(recorder.losses)
    return Steps(recorder.losses, recorder.norms, recorder.lrs[:n], recorder.moms[:n], clip)


def looks(record: Record | None) -> Looks:
    """What the doctor saw of the layers in the last fit; nothing without."""
    if record is None:
        return Looks()
    held = (record.updates, record.gradients, record.quiet, record.saturated, record.spread)
    plain = ({name: [float(v) for v in values] for name, values in part.items()} for part in held)
    return Looks(list(record.steps), list(record.rates), *plain)


def settings(held: Settings) -> list[dict[str, Any]]:
    """A row a setting."""
    return [
        {"name": s.name, "value": s.value, "default": s.default, "source": s.source, "overridden": s.overridden}
        for s in held.values()
    ]


def subtitle(model: nn.Module, dls: DataLoaders) -> str:
    """The run in a line: the model and the size of the data."""
    sizes = [(name, getattr(getattr(dls, part), "n_items", None)) for part, name in SPLITS.items()]
    told = ", ".join(f"{n:,} {name}" for name, n in sizes if n)
    kind = type(getattr(model, "_orig_mod", model)).__name__
    return f"{kind} of {n_parameters(model):,} parameters" + (f"; {told} items" if told else "")


def facts(seed: int, device: torch.device, precision: str, data: str) -> dict[str, str]:
    """What a run can be made again with; what is not known is left out."""
    named = {
        "date": datetime.datetime.now().astimezone().isoformat(" ", "minutes"),
        "git commit": git_commit(),
        "seed": str(seed),
        "training data (fingerprint)": data,
        "device": _device(device),
        "precision": precision,
        "threads": str(torch.get_num_threads()) if device.type == "cpu" else "",
        "processor": platform.machine(),
        **container.versions(),
        "numpy": np.__version__,
    }
    return {name: value for name, value in named.items() if value}


def _device(device: torch.device) -> str:
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def command() -> str:
    """The command line that started this process; "" where it was typed at a prompt or in a notebook."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    if main is None or not sys.argv or not sys.argv[0] or "ipykernel" in sys.argv[0]:
        return ""
    script = Path(sys.argv[0])
    start = ["python", sys.argv[0]] if script.suffix == ".py" else [script.name]
    return shlex.join([*start, *sys.argv[1:]])


# --- the split --------------------------------------------------------------------------------------------------------


def outcome(interp: Interpretation) -> dict[str, Any]:
    """Confusion, calibration and the worst items of a split, as fields of a Report."""
    made: dict[str, Any] = {"examples": examples(interp)}
    unit = "pixels" if interp.kind == "masks" else "items"
    if interp.kind in ("classes", "masks") and len(interp.names) > 1:
        counts = interp.confusion()
        made["confusion"] = Confusion([str(n) for n in counts.index], counts.to_numpy().tolist(), unit)
        made["confused"] = interp.most_confused(n=CONFUSED).to_dict("records") if len(interp.names) > 2 else ()
    if interp.kind != "others":
        frame = interp.per_class().reset_index()
        several = len(frame) > 1 or interp.kind == "numbers"
        made["classes"] = frame.to_dict("records") if several else ()
    if interp.kind in ("classes", "labels"):
        made["calibration"] = interp.calibration(BINS).to_dict("records")
    return made


def examples(interp: Interpretation) -> dict[str, list[Example]]:
    """The items with the largest losses, and further ones whose target is suspected to be wrong."""
    blocks = interp.dls.blocks
    drawn = bool(blocks and blocks[0].draws) or _raw_pictures(interp) is not None
    n = EXAMPLES if drawn else READ
    made = {"Largest losses": _examples(interp, interp.top_losses(n))}
    if interp.kind == "classes":
        suspected = interp.label_errors(2 * n).rename(columns={"suggestion": "prediction"})
        doubted = set(suspected["position"])
        made["Largest losses"] = [_marked(item, item.told["position"] in doubted) for item in made["Largest losses"]]
        shown = [item.told["position"] for item in made["Largest losses"]]
        rest = suspected[~suspected["position"].isin(shown)].head(n)
        if len(rest):
            made["Further targets that may be wrong"] = _examples(interp, rest)
    return made


def _marked(item: Example, doubted: bool) -> Example:
    return replace(item, told={**item.told, "target may be wrong": True}) if doubted else item


def _examples(interp: Interpretation, frame: Any) -> list[Example]:
    """Rows of one of Interpretation's tables: up to the loss they say what the model made of an item, then comes the item."""
    rows = frame.to_dict("records")
    index = [int(row["position"]) for row in rows]
    columns = list(frame.columns)
    until = columns.index("loss") + 1
    pictures, raw = _pictures(interp, index), _raw_rows(interp, index)
    made = []
    for i, row in enumerate(rows):
        told = {name: row[name] for name in columns[:until] if name != "target_probability"}
        item = str(told.pop(interp.dls.item_column, ""))
        text = item if interp.dls.item_column == "text" else ""
        if item and not text:
            told["name"] = os.path.basename(item)
        rest = {name: row[name] for name in columns[until:]}
        if rest.keys() <= {"text", "tokens"}:
            text, rest = text or str(rest.get("text", rest.get("tokens", ""))), {}
        if raw is not None:
            rest = {f"x{j}": value for j, value in enumerate(raw[i].tolist())}
        wrong = interp.kind in ("classes", "labels") and row["target"] != row["prediction"]
        made.append(Example(told, _plain(rest), text, pictures[i] if pictures else "", bool(wrong)))
    return made


def _plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Values as a page shows them; what is missing has none."""
    return {str(name): None if value is None or value != value else value for name, value in row.items()}  # noqa: PLR0124


def _raw_rows(interp: Interpretation, index: list[int]) -> Tensor | None:
    """The numbers of hand-made data [n, d], where they are few; None otherwise."""
    if interp.dls.blocks is not None or isinstance(interp.loader, ForeignLoader) or not index:
        return None
    x = interp.loader.at(index).x[0]
    return x if x.ndim == 2 and x.shape[1] <= FEW else None


def _raw_pictures(interp: Interpretation) -> Tensor | None:
    """The first input of hand-made data [1, c, h, w] where it looks like a picture; None otherwise."""
    if interp.dls.blocks is not None or isinstance(interp.loader, ForeignLoader):
        return None
    x = interp.loader.at([0]).x[0]
    return x if x.ndim == 4 and x.shape[1] in (1, 3) and min(x.shape[2:]) >= FEW else None


def _pictures(interp: Interpretation, index: list[int]) -> list[str]:
    """Items as data URIs, with their targets and predictions where these are drawn; [] where items are no pictures."""
    if not index:
        return []
    if _raw_pictures(interp) is not None:
        x = interp.loader.at(index).x[0].float()
        low, high = float(x.min()), float(x.max())
        return [data_uri(of_tensor(one, low, high)) for one in x]
    blocks = interp.dls.blocks
    if not blocks or not blocks[0].draws or isinstance(interp.loader, ForeignLoader):
        return []
    device = next((p.device for p in interp.model.parameters()), torch.device("cpu"))
    (batch,) = interp.dls.as_evaluated([interp.loader.at(index)], device)
    said = None
    if blocks[1].draws:
        with evaluating(interp.model):
            said = blocks[1].decide(predict_batch(interp.model, batch, interp.output).float()).cpu()
    made = []
    for i, x in enumerate(batch.x[0].cpu()):
        pixels = blocks[0].pixels(x)
        if pixels is None:
            return []
        if said is not None:
            with_target = blocks[1].pixels(batch.y[0][i].cpu(), pixels)
            if blocks[1].beside:
                pixels = beside([with_target, blocks[1].pixels(said[i], pixels, True)])
            else:
                pixels = blocks[1].pixels(said[i], with_target, True)
        made.append(data_uri(pixels))
    return made


def gather(
    *,
    title: str,
    subtitle: str,
    findings: Sequence[Any],
    looked: Sequence[str],
    values: Mapping[str, float],
    history: Sequence[Row],
    recorder: Recorder,
    record: Record | None,
    interpret: Any,
    measured: Mapping[str, Any],
    held: Settings,
    fits: Sequence[Mapping[str, Any]],
    reproduce: Mapping[str, str],
    started: str | None,
) -> Report:
    """A Report of the parts of a run.

    Args:
        title: of the page.
        subtitle: the run in a line.
        findings: of the doctor.
        looked: at what.
        values: the run's figures, as metrics.json has them.
        history: those of each epoch.
        recorder: those of each step.
        record: what the doctor kept of the last fit; None without.
        interpret: makes the Interpretation of the validation split; None without one.
        measured: what checks measured, by code.
        held: the settings in force.
        fits: a row a fit.
        reproduce: see facts.
        started: the command line; that of this process where None.
    """
    made: dict[str, Any] = {}
    notes: list[str] = []
    if interpret is not None:
        try:
            made = outcome(interpret())
        except (SettingError, DataError) as error:  # such as a loss that is computed for a batch at a time
            notes.append(f"Items are not shown: {error}")
    else:
        notes.append("There is no validation split, so no items are shown.")
    return Report(
        title=title,
        subtitle=subtitle,
        findings=findings,
        looked=looked,
        figures=figures({k: v for k, v in values.items() if isinstance(v, int | float) and not math.isnan(v)}, history),
        history=history,
        steps=steps(recorder, record),
        looks=looks(record),
        gaps=measured.get("gaps") or {},
        baselines=measured.get("baselines") or {},
        settings=settings(held),
        fits=fits,
        facts=reproduce,
        command=command() if started is None else started,
        notes=notes,
        **made,
    )
