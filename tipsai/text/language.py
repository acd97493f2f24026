"""One line from running text to a Learner of a language model."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from tipsai.artifact import Builder
from tipsai.core import rng
from tipsai.core.errors import SettingError, listing
from tipsai.learner import Learner
from tipsai.optim import OptSpec, n_parameters, scale_lr
from tipsai.schedule import Cycle
from tipsai.settings import Settings, choose
from tipsai.text import defaults
from tipsai.text.generate import stream, until, written
from tipsai.text.losses import KnownPerplexity
from tipsai.text.running import RunningText
from tipsai.text.transformer import Transformer


def language_model_learner(
    dls: RunningText,
    model: nn.Module | None = None,
    *,
    n_layers: int | None = None,
    n_heads: int | None = None,
    dim: int | None = None,
    dropout: float | None = None,
    act: str | None = None,
    tied: bool | None = None,
    separate: bool = False,
    opt: OptSpec | None = None,
    lr: float | Sequence[float] | None = None,
    wd: float | None = None,
    seed: int | None = None,
    **options: Any,
) -> "LanguageModelLearner":
    """A Learner with a small transformer. Arguments left out take the defaults of defaults.LanguageModel.

    Args:
        dls: from TextDataLoaders.language_model or from_tokens.
        model: a module of one's own in its place: tokens int64 [b, t] to logits [b, t, v], or to an object that has
            `logits`, as models of Hugging Face return it.
        n_layers, n_heads, dim, dropout, act, tied: see text.transformer.Transformer.
        separate: whether attention stays within a document.
        opt: "muon", "adamw", ...; see Learner.
        lr: the peak rate; by the size of the model by default.
        wd: weight decay.
        seed: fixes all randomness, the first weights included.
        **options: of Learner.

    Raises:
        SettingError: an argument is out of range, or would be ignored.
    """
    if not isinstance(dls, RunningText) or dls.train is None:
        raise SettingError(
            f"dls is a {type(dls).__name__}; expected running text, from TextDataLoaders.language_model(path)."
        )
    settings = Settings()
    network = {"n_layers": n_layers, "n_heads": n_heads, "dim": dim, "dropout": dropout, "act": act, "tied": tied}
    chosen = choose(defaults.LanguageModel(), network | {"opt": opt, "wd": wd}, settings)
    opt, wd = chosen.pop("opt"), chosen.pop("wd")
    seed = rng.draw_seed() if seed is None else seed
    arguments: dict[str, Any] = {}
    if model is None:
        arguments = {
            "n_tokens": dls.tokenizer.n_tokens,
            "block_size": dls.block_size,
            **chosen,
            "unseen": dls.unseen(),
            "separator": dls.tokenizer.end if separate else None,
        }
        with rng.preserved():
            rng.seed_everything(rng.derive(seed, "model"))
            model = Transformer(**arguments)
    elif separate or any(value is not None for value in network.values()):
        ignored = [name for name, value in (network | {"separate": separate or None}).items() if value is not None]
        raise SettingError(f"model is given, so {listing(ignored)} would be ignored; leave it out.")
    unknown = dls.tokenizer.unknown
    if unknown is not None and any(n["unknown"] for name, n in dls.counts.items() if name != "train"):
        given = options.get("metrics", ())
        options["metrics"] = [*([given] if isinstance(given, str) else given), KnownPerplexity(unknown)]
    default_lr = None
    if opt == "muon":
        default_lr = defaults.peak_lr(n_parameters(model)) * scale_lr(1.0, dls.bs, dls.base_bs or dls.bs)
    learn = LanguageModelLearner(dls, model, opt=opt, lr=default_lr if lr is None else lr, wd=wd, seed=seed, **options)
    if arguments:
        learn.builder = Builder("transformer", arguments)
        learn.settings.update(settings)
    learn.settings.note(
        "lr", learn.lr, default_lr or learn.lr, "TR01 for language models: defaults.peak_lr, TR06 for bs"
    )
    return learn


def logits_of(made: Any) -> Any:
    """What a model returns as logits: of an object, as Hugging Face's models return it, its `logits`."""
    return made if isinstance(made, Tensor) else made.logits


class LanguageModelLearner(Learner):
    """A Learner that writes, too."""

    dls: RunningText
    cycle = Cycle(0.1)  # 0.01 nats a character less than after a rise of 0.25

    def __init__(
        self, dls: RunningText, model: nn.Module, *, output: Callable[[Any], Any] | None = None, **options: Any
    ) -> None:
        super().__init__(dls, model, output=logits_of if output is None else output, **options)

    def stream(self, prompt: str = "\n", n: int = 200, *, stop: str | None = None, **how: Any) -> Iterator[str]:
        """A text that goes on from a prompt, as it is written.

        Args:
            prompt: what it begins with, which is not given again.
            n: tokens at most.
            stop: a text that ends it, and is not given.
            **how: temperature, top_k, top_p, seed, cached; see tipsai.text.generate.stream.
        """
        coder = self.dls.tokenizer
        context: list[int] = coder.encode(prompt).tolist() or [coder.end]
        how |= {"block_size": self.dls.block_size, "end": coder.end, "output": self.output}
        text = written(coder, context, stream(self.model, context, n, **how))
        return text if stop is None else until(text, stop)

    def generate(self, prompt: str = "\n", n: int = 200, **how: Any) -> str:
        """The prompt and up to n tokens that follow it; for the other arguments see stream."""
        return prompt + "".join(self.stream(prompt, n, **how))
