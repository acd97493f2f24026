"""One line from a table's loaders to a Learner."""

from collections.abc import Mapping, Sequence
from typing import Any

from tipsai.artifact import Builder
from tipsai.callbacks import MixUp
from tipsai.core import rng
from tipsai.core.errors import SettingError
from tipsai.data.block import weighted_loss
from tipsai.learner import Learner
from tipsai.losses import as_loss
from tipsai.optim import n_parameters, scale_lr
from tipsai.settings import Settings, choose
from tipsai.tabular.columns import Category
from tipsai.tabular.data import TabularDataLoaders
from tipsai.tabular.defaults import for_table, peak_lr
from tipsai.tabular.losses import MemberLoss
from tipsai.tabular.models import TabularModel

COMBINE = {"classification": "softmax", "regression": "mean", "multilabel": "sigmoid"}


def tabular_learner(
    dls: TabularDataLoaders,
    *,
    width: int | None = None,
    depth: int | None = None,
    dropout: float | None = None,
    n_members: int | None = None,
    n_bins: int | None = None,
    number_embedding: str | None = None,
    act: str | None = None,
    lr: float | None = None,
    wd: float | None = None,
    class_weights: str | Mapping[Any, float] | None = None,
    mixup: float = 0.0,
    loss_fn: Any = None,
    callbacks: Sequence[Any] = (),
    seed: int | None = None,
    **options: Any,
) -> Learner:
    """A Learner with a small strong network for tables. Arguments left out take the defaults of defaults.for_table.

    Args:
        dls: from TabularDataLoaders.
        width: units of a hidden layer.
        depth: hidden layers.
        dropout: share of units dropped in training.
        n_members: networks that are trained side by side and averaged.
        n_bins: quantile bins of a number's embedding.
        number_embedding: "piecewise" or "none".
        act: relu, leaky_relu, gelu, silu, mish or selu.
        lr: peak rate; by the size of the network and the batch by default.
        wd: weight decay.
        class_weights: "balanced", or a weight for each class, in the training loss (DA13).
        mixup: alpha of mixup after the embeddings; off by default. It wants several times the epochs (TR03).
        loss_fn: in place of the target's own.
        callbacks: for every fit.
        seed: fixes all randomness, the network's first weights included.
        **options: of Learner.
    """
    if not isinstance(dls, TabularDataLoaders):
        raise SettingError(
            f"dls is a {type(dls).__name__}; expected TabularDataLoaders, for instance TabularDataLoaders.from_df(df, target='...')."
        )
    assert dls.blocks is not None
    table, target = dls.blocks[0], dls.blocks[1]
    settings = Settings()
    given = {
        "width": width,
        "depth": depth,
        "dropout": dropout,
        "n_members": n_members,
        "n_bins": n_bins,
        "number_embedding": number_embedding,
        "act": act,
        "wd": wd,
    }
    if dls.train is None:
        raise SettingError("these loaders hold no rows to train on; make them with TabularDataLoaders.from_df.")
    rows = dls.train.rows  # type: ignore[attr-defined]
    chosen = choose(for_table(len(rows), dls.table.n_numbers), given, settings)
    bins, wd = chosen.pop("n_bins"), chosen.pop("wd")
    arguments = {
        "cardinalities": dls.table.cardinalities,
        "n_numbers": dls.table.n_numbers,
        "n_texts": dls.table.n_texts,
        "text_dim": Category.text_dim,
        "n_out": target.n_out,
        "edges": table.edges(rows.numbers, rows.missing, bins) if chosen["number_embedding"] == "piecewise" else None,  # type: ignore[attr-defined]
        "combine": COMBINE[dls.task],
        **chosen,
    }
    seed = rng.draw_seed() if seed is None else seed
    with rng.preserved():
        rng.seed_everything(rng.derive(seed, "model"))
        model = TabularModel(**arguments)
    base = as_loss(loss_fn) if loss_fn is not None else target.default_loss()
    if class_weights is not None:
        base = weighted_loss(target, class_weights, rows.y[0], loss_fn)
    extra = [MixUp(target, mixup, inside=True)] if mixup else []
    default_lr = None
    if options.get("opt", "adamw") == "adamw":
        default_lr = peak_lr(n_parameters(model)) * scale_lr(1.0, dls.bs, dls.base_bs or dls.bs)
    learn = Learner(
        dls,
        model,
        loss_fn=MemberLoss(base),
        lr=default_lr if lr is None else lr,
        callbacks=[*callbacks, *extra],
        seed=seed,
        wd=wd,
        **options,
    )
    learn.builder = Builder("tabular", arguments)
    learn.settings.update(settings)
    learn.settings.note("lr", learn.lr, default_lr or learn.lr, "TR01 for tables: defaults.peak_lr, TR06 for bs")
    learn.settings.note("loss_fn", type(base).__name__, type(target.default_loss()).__name__, "chosen from the target")
    learn.settings.note("mixup", mixup, 0.0, "TR03; off for tables")
    return learn
