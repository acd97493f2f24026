"""What a report is made of, as plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tipsai.core.finding import Finding
from tipsai.core.state import Row


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that matters, such as the validation accuracy.

    Attributes:
        name: as in metrics.json.
        value: the number.
        history: what it was epoch by epoch, where that is known.
    """

    name: str
    value: float
    history: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Steps:
    """What training was like, an entry an optimizer step.

    Attributes:
        losses: the objective.
        norms: the gradient's global norm before clipping; empty without.
        lrs: the learning rate, of the last steps if there are fewer than losses.
        moms: momentum, or beta 1, likewise.
        clip: the norm that gradients were clipped at.
    """

    losses: Sequence[float] = ()
    norms: Sequence[float] = ()
    lrs: Sequence[float] = ()
    moms: Sequence[float] = ()
    clip: float | None = None


Layers = Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True)
class Looks:
    """What a few steps of the last fit showed of the layers, in their order from input to output.

    Attributes:
        steps: that were looked at.
        rates: the learning rate at each.
        updates: by weight, the norm of a step over that of the weights, one a look.
        gradients: by weight, the gradient's norm, one a look.
        dead: by activation, the share of units that said nothing, one a look.
        saturated: by activation, the share of outputs near an end of their range, one a look.
        spread: by activation, the standard deviation of its outputs, one a look.
    """

    steps: Sequence[int] = ()
    rates: Sequence[float] = ()
    updates: Layers = field(default_factory=dict)
    gradients: Layers = field(default_factory=dict)
    dead: Layers = field(default_factory=dict)
    saturated: Layers = field(default_factory=dict)
    spread: Layers = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Example:
    """An item as a person looks at it.

    Attributes:
        told: target, prediction, loss and the like.
        row: its columns, where it is a row of a table.
        text: where it is a text.
        picture: a data URI, where it is a picture.
        wrong: whether the prediction is not the target.
    """

    told: Mapping[str, Any]
    row: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""
    picture: str = ""
    wrong: bool = False


@dataclass(frozen=True, slots=True)
class Confusion:
    """How many items of each class are taken for each.

    Attributes:
        names: of the classes.
        counts: a row a target, a column a prediction.
        unit: what is counted.
    """

    names: Sequence[str]
    counts: Sequence[Sequence[int]]
    unit: str = "items"


Table = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that a page shows. What is left empty has no section.

    Attributes:
        title: of the page.
        subtitle: model, data and time in a line.
        findings: what the doctor found, the gravest first.
        looked: what the doctor looked at, such as "training".
        figures: the numbers that matter, the foremost first.
        history: the figures of each epoch.
        steps: the figures of each step.
        looks: what was seen of the layers.
        gaps: {"measure", "splits": {split: [value, low, high, n]}, "gaps": {name: [value, low, high]}} (MO03).
        baselines: {"measure", "model": [value, low, high], "baselines": {name: value}, "better": {name: [difference, low,
            high]}} (MO09).
        split: the split that confusion, calibration and examples are of.
        confusion: what is taken for what.
        confused: the pairs confused most, rows of target, prediction, count, share_of_target.
        classes: a row a class, label or number: how well it is met.
        calibration: a row a bin: confidence, accuracy, n, low, high (DA01).
        examples: items by a heading.
        settings: rows of name, value, default, source, overridden.
        fits: a row a fit, how it was asked for.
        facts: what the run can be made again with, such as versions and the seed, by name.
        command: that started it.
        notes: what could not be shown, and why.
    """

    title: str = "A training run"
    subtitle: str = ""
    findings: Sequence[Finding] = ()
    looked: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    history: Sequence[Row] = ()
    steps: Steps = field(default_factory=Steps)
    looks: Looks = field(default_factory=Looks)
    gaps: Mapping[str, Any] = field(default_factory=dict)
    baselines: Mapping[str, Any] = field(default_factory=dict)
    split: str = "validation"
    confusion: Confusion | None = None
    confused: Table = ()
    classes: Table = ()
    calibration: Table = ()
    examples: Mapping[str, Sequence[Example]] = field(default_factory=dict)
    settings: Table = ()
    fits: Table = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    notes: Sequence[str] = ()
