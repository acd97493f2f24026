"""One line from labelled texts to a Learner of a classifier."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from tipsai.artifact import Builder
from tipsai.core import rng
from tipsai.core.errors import SettingError, listing
from tipsai.core.evaluate import evaluating
from tipsai.core.state import Row
from tipsai.core.step import autocast
from tipsai.data.block import weighted_loss
from tipsai.data.loaders import RowLoader
from tipsai.learner import Learner
from tipsai.optim import scale_lr
from tipsai.settings import Settings, choose
from tipsai.text import defaults, linear
from tipsai.text.classifier import TextClassifier, groups
from tipsai.text.labelled import LabelledText
from tipsai.text.language import LanguageModelLearner
from tipsai.text.rows import TextLoader, TextRows
from tipsai.text.tokenizers import described

SHARES = tuple(i / 10 for i in range(11))


def text_classifier_learner(
    dls: LabelledText,
    *,
    encoder: LanguageModelLearner | None = None,
    dim: int | None = None,
    dropout: float | None = None,
    hidden: float | None = None,
    act: str | None = None,
    lr: float | Sequence[float] | None = None,
    wd: float | None = None,
    class_weights: str | Mapping[Any, float] | None = None,
    seed: int | None = None,
    **options: Any,
) -> "TextClassifierLearner":
    """A Learner of a linear model of n-grams and a small network of tokens beside it.

    The linear model is fitted here, in closed form. In training the network learns what that lacks: beside each text
    stands what a linear model says that was fitted on other texts. So its mistakes are those that it makes on new texts.
    How much the network counts is found on validation texts: of few texts it learns much that is chance.

    Validation texts that tipsai drew itself are learned from, too, but by the linear model alone, and are judged by one
    that has not seen them; so the figures are honest, and no text is lost. Texts that you gave to validate are not.

    Args:
        dls: from TextDataLoaders.from_df, from_file or from_folder.
        encoder: a language model to start from, in place of a small network; dls need its tokenizer. Train with
            fine_tune, or unfreeze its layer groups one after the other.
        dim, dropout, hidden, act: of the network; see text.classifier.Convolutions.
        lr: the peak rate of the network.
        wd: weight decay.
        class_weights: "balanced", or a weight for each class, in the training loss (DA13).
        seed: fixes all randomness, the first weights included.
        **options: of Learner.

    Raises:
        SettingError: an argument is out of range, or would be ignored.

    Source: held-out predictions as inputs: Wolpert 1992, "Stacked generalization"; language models as encoders: Howard
    and Ruder 1801.06146.
    """
    if not isinstance(dls, LabelledText) or not isinstance(dls.train, TextLoader) or dls.blocks is None:
        raise SettingError(
            f"dls is a {type(dls).__name__}; expected labelled texts, for instance TextDataLoaders.from_df(df, text='...', target='...')."
        )
    settings, target = Settings(), dls.blocks[1]
    given = {"dim": dim, "hidden": hidden, "act": act}
    chosen = choose(defaults.Classifier(), given | {"dropout": dropout, "wd": wd}, settings)
    wd, dropout = chosen.pop("wd"), chosen.pop("dropout")
    arguments: dict[str, Any] = {"n_grams": dls.block.grams.n, "n_out": target.n_out, "dropout": dropout}
    if encoder is None:
        inside = {"n_tokens": dls.block.tokenizer.n_tokens, "dropout": dropout, **chosen}
        arguments |= {"network": "convolutions", "arguments": inside}
    else:
        arguments |= {"network": "encoder", "arguments": _arguments(encoder, dls, given)}
        options.setdefault("splitter", groups)
        for name in given:
            del settings[name]  # of a network that is not built
    seed = rng.draw_seed() if seed is None else seed
    with rng.preserved():
        rng.seed_everything(rng.derive(seed, "model"))
        model = TextClassifier(**arguments)
    if encoder is not None:
        model.network.body.load_state_dict(encoder.model.state_dict())  # type: ignore[union-attr]
    _fit_linear(model, dls, rng.derive(seed, "folds"))
    if class_weights is not None:
        options["loss_fn"] = weighted_loss(target, class_weights, dls.train.rows.y[0], options.get("loss_fn"))
    default_lr: Any = defaults.CLASSIFIER_LR * scale_lr(1.0, dls.bs, dls.base_bs or dls.bs)
    if encoder is not None:
        n = len(groups(model))
        default_lr = [default_lr / defaults.ENCODER_SPREAD ** (1 - i / (n - 1)) for i in range(n)]
    learn = TextClassifierLearner(dls, model, lr=default_lr if lr is None else lr, wd=wd, seed=seed, **options)
    learn.builder = Builder("text_classifier", arguments)
    learn.settings.update(settings)
    learn.settings.note("lr", learn.lr, default_lr, "defaults.CLASSIFIER_LR, TR06 for bs")
    return learn


class TextClassifierLearner(Learner):
    """A Learner of a TextClassifier, which also learns how much the network counts beside the linear model."""

    def _epoch_figures(self) -> Row:
        self.model.share.fill_(self.best_share())  # type: ignore[operator]
        return self.validate()

    def best_share(self) -> float:
        """The share of what the network adds that gives the least loss on the validation texts: 0, 0.1, ... 1."""
        judge, model = self.evaluator, self.model
        assert isinstance(model, TextClassifier)
        totals = [0.0] * len(SHARES)
        with evaluating(model), autocast(self.precision, self.device):
            for batch in self.dls.feed("valid", self.device).batches():
                beside, found = model.parts(*batch.x)
                for i, share in enumerate(SHARES):
                    pred, seen = judge.in_units(beside + share * found, batch)
                    totals[i] += float(judge.loss_fn.report(pred, *seen.y)[0])
        return SHARES[totals.index(min(totals))]


def _arguments(encoder: LanguageModelLearner, dls: LabelledText, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a language model's transformer; SettingError unless it can be the encoder of these texts."""
    if not isinstance(encoder, LanguageModelLearner) or encoder.builder is None:
        raise SettingError(
            f"encoder is a {type(encoder).__name__}; expected what language_model_learner made, with its own transformer."
        )
    if described(encoder.dls.tokenizer) != described(dls.block.tokenizer):
        raise SettingError(
            "the language model has another tokenizer than dls; make them with tokenizer=lm.dls.tokenizer."
        )
    ignored = [name for name, value in given.items() if value is not None]
    if ignored:
        raise SettingError(f"encoder is given, so {listing(ignored)} would be ignored; leave it out.")
    return encoder.builder.arguments


def _fit_linear(model: TextClassifier, dls: LabelledText, seed: int) -> None:
    """Fits the linear model, and puts beside each text that it learns from what one says that has not seen it.

    Validation texts that were drawn at random are learned from too: what is beside them keeps validation honest.
    """
    loaders = [dls.train, dls.valid] if dls.drawn else [dls.train]
    parts = [loader.rows for loader in loaders if isinstance(loader, RowLoader) and isinstance(loader.rows, TextRows)]
    bags, y = linear.joined([rows.bags() for rows in parts]), torch.cat([rows.y[0] for rows in parts])
    fitted = linear.fit(bags, y, model.head.out_features, len(model.linear), seed)
    model.set_linear(fitted.weights, fitted.bias)
    first = 0
    for rows in parts:
        rows.beside = fitted.unseen[first : first + len(rows)]
        first += len(rows)
