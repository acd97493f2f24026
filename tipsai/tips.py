"""The tips as data: what each says in a line, and where tipsai applies it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tip:
    """One piece of advice.

    Attributes:
        code: such as "TR08".
        advice: the tip itself.
        applied: what tipsai does about it, and where.
    """

    code: str
    advice: str
    applied: str


TIPS = {
    tip.code: tip
    for tip in (
        Tip(
            "TR01",
            "3e-4 suits Adam on larger models; smaller ones take more.",
            "default: Learner(lr=None), tipsai.optim.size_factor; tool: learn.lr_find()",
        ),
        Tip(
            "TR02",
            "Learn one example by heart, then a few, before anything else.",
            "check fit-few: learn.check() trains a copy on eight examples, without regularisation",
        ),
        Tip(
            "TR03",
            "Mixup trains on blends of two examples; it resists wrong labels.",
            "default: with CutMix in fits of 40 epochs and more of the built-in network for pictures; "
            "tool: vision_learner(mixup=0.4, cutmix=1.0), tabular_learner(mixup=0.4), tipsai.MixUp",
        ),
        Tip(
            "TR04",
            "Mixed precision frees memory: raise the batch size, and the learning rate with it.",
            "default: Learner(precision='auto'), bf16 on a GPU that has it; check memory-mostly-empty, in training on CUDA",
        ),
        Tip(
            "TR05",
            "Overfit the training data first, then regularise.",
            "check gaps, after training: which of the two stages a run is in, and the next step",
        ),
        Tip(
            "TR06",
            "When the batch grows, so should the rate: by its root for Adam, in proportion for SGD.",
            "tool: tipsai.scale_lr; default: a table's rate follows bs; check steps-left-out, in training, for accumulation that keeps nothing",
        ),
        Tip(
            "TR07",
            "1cycle: the rate rises, then falls by cosine; momentum does the opposite.",
            "default: learn.fit_one_cycle",
        ),
        Tip(
            "TR08",
            "The first loss must be what guessing gives.",
            "default: built-in models start there; tool: tipsai.init_bias; checks first-loss, outputs, loss-for-targets, loss-direction, loss-broadcast, "
            "padding-in-loss, same-units, loss-without-floor",
        ),
        Tip(
            "TR09",
            "Too high a rate makes the loss explode or swing, too low a one makes it crawl.",
            "check learning-rate, in training: loss, steps and default say which, and by what factor",
        ),
        Tip(
            "TR10",
            "Schedules: cosine, steps, warm-up, flat then cosine, restarts.",
            "tool: tipsai.schedule, learn.fit_schedule, tipsai.plot.schedule",
        ),
        Tip(
            "TR11",
            "AdamW by default; no decay on biases, norms and embeddings.",
            "default: Learner(opt='adamw', wd=0.01), tipsai.optim.undecayed; tool: opt='muon' for matrices",
        ),
        Tip(
            "TR12",
            "Clip gradients.",
            "default: fit(clip=1.0); learn.recorder.clipped_share says how often; check always-clipped",
        ),
        Tip(
            "TR13",
            "Stop early; regularise by dropout and weight decay.",
            "tool: tipsai.EarlyStopping, fit(final='best'), Learner(wd=...); check random-evaluation finds dropout that stays on; "
            "dropout-rate, weight-decay, weights-vanish; few-steps",
        ),
        Tip(
            "TR14",
            "Accumulated gradients equal those of the large batch.",
            "default: fit(accumulate=n), exact for ragged groups and weighted losses; checks accumulation, batch-norm-small-batch, evaluation-differs",
        ),
        Tip(
            "TR16",
            "Compile, and find the bottleneck.",
            "check data-starves-training: the share of time in which training waits for data",
        ),
        Tip(
            "TR17",
            "Make runs reproducible and write everything down.",
            "default: Learner(seed=...), fit(checkpoint=...), the artifact's manifest, learn.report(): how to reproduce",
        ),
        Tip(
            "TR18",
            "Early, metrics move together, later they part: choose the one that matters, and guard the rest.",
            "tool: fit(final='best', monitor=...); check metric-and-guards, in training",
        ),
        Tip(
            "TR22",
            "Do not decide by training accuracy.",
            "default: a training figure is refused as monitor; checks no-validation, small-validation",
        ),
        Tip(
            "DA01",
            "Look at what the model gets most confidently wrong, and at what it is least sure of.",
            "tool: learn.interpret(): most_wrong, top_losses, least_certain, label_errors, calibration, by_slice, importance; check label-errors",
        ),
        Tip(
            "DA02",
            "Look at what every stage puts out.",
            "tool: DataBlock.summary, dls.show_batch, ImageDataLoaders.show_transforms; check long-texts-cut",
        ),
        Tip(
            "DA03",
            "Pictures below 96 pixels behave differently; what 128 teaches carries over to larger ones.",
            "default: a network of their own for pictures of up to 96 pixels; tool: vision_learner(progressive=True), dls.resized; check small-pictures",
        ),
        Tip("DA04", "Make toy problems whose best score is known.", "tool: tipsai.toys"),
        Tip(
            "DA05",
            "Augment only what leaves the label as it was.",
            "checks augmentation-changes-labels, augmentation-flips (after training); tool: "
            "tipsai.vision.invariances; Augmentation(flip=0) is for test-time augmentation too",
        ),
        Tip(
            "DA06",
            "Augmentation shows known invariances, it adds no information.",
            "tool: tipsai.vision.invariances(learn) gives the agreement of predictions under each transform",
        ),
        Tip(
            "DA07",
            "Put the geometric transforms together into one resampling, on the device.",
            "default: ImageDataLoaders, tipsai.vision.augment: one warp a picture, the last resize included",
        ),
        Tip(
            "DA08",
            "Training data may be of another kind, but validation must be like the test.",
            "check valid-test-shift: a classifier tries to tell validation from test; valid-test-shift-embedded (thorough), class-mix",
        ),
        Tip("DA09", "Shuffle between epochs.", "default: training loaders; check order"),
        Tip(
            "DA10",
            "Process new data exactly as the training data.",
            "default: processors are fitted once and travel in the artifact; tipsai.verification.verify (tipsai train); checks validation-scale, "
            "class-numbering",
        ),
        Tip(
            "DA11",
            "Augment in training, not in validation.",
            "default: item_aug and batch transforms; evaluation of pictures gets the plain view; check augmented-validation",
        ),
        Tip(
            "DA12",
            "Normalise the inputs.",
            "default: a table's numbers robustly; pictures by the backbone's statistics, or the training pictures'; "
            "checks input-scale, constant-inputs, non-finite-data, missing-codes",
        ),
        Tip(
            "DA13",
            "Mind imbalanced classes.",
            "tool: tabular_learner(class_weights='balanced'), metrics 'balanced_accuracy', 'f1_macro'; check imbalance",
        ),
        Tip(
            "DA14",
            "Do not tune on the test set.",
            "default: only learn.test() opens it, and counts the looks; check test-looks",
        ),
        Tip(
            "DA15",
            "Look for leaks: items on both sides of the split, columns that give the target away.",
            "checks duplicates, near-duplicates, leaking-column, known-afterwards, identifier, targets-in-inputs; "
            "overlapping-windows; of tables target-mean, groups-across-split, dates-across-split; "
            "of texts repeated-texts, leaking-words, validation-text-in-training",
        ),
        Tip(
            "DA16",
            "Read data by several workers, ahead of the training.",
            "default: ImageDataLoaders.from_folder(n_workers=None), by the processors at hand, and they stay for the "
            "whole fit; batches lie in pinned memory, and the next one is copied to the device during a step",
        ),
        Tip(
            "DA17",
            "Augment pictures: flips, rotation, crops, brightness and contrast.",
            "default: ImageDataLoaders(aug='auto'), by the size of the pictures; tool: tipsai.vision.Augmentation",
        ),
        Tip(
            "DA18",
            "Augment text: synonyms, words left out or swapped, translation there and back.",
            "tool: TextDataLoaders.from_df(aug=TextAugmentation(...)), tipsai.text.augment",
        ),
        Tip(
            "MO01",
            "Look at activations: dead and saturated units.",
            "check silent-units, in training: a few steps are looked at closely; learn.report() draws them over time",
        ),
        Tip(
            "MO02",
            "A step should change the weights by about a thousandth to a hundredth.",
            "check update-ratio, in training; learn.report() draws the ratios over time",
        ),
        Tip(
            "MO03",
            "Mind three gaps: training error is bias, validation's beyond it variance, the test's beyond that an overfitted validation set.",
            "checks gaps and test-gap, after training: each with its interval",
        ),
        Tip(
            "MO04",
            "Read the curves.",
            "checks overfitting (validation rises while training falls), gaps (what a plateau comes from); learn.plot_history(), learn.report()",
        ),
        Tip(
            "MO05",
            "Vanishing and exploding gradients: residual connections, initialisation, clipping.",
            "checks gradient-depth and gradients-in-training: norms of the first and the last layer; "
            "gradient-through-time: of recurrent layers; non-finite-values names the layer",
        ),
        Tip(
            "MO06",
            "Check the gradient flow.",
            "check gradient-flow: parameters without gradient, frozen at random, or missing from the optimizer; zero-gradient",
        ),
        Tip(
            "MO07",
            "Outputs may depend only on what they should.",
            "checks mixes-items (other rows of the batch), sees-the-future (later tokens), ignored-inputs, padding-counts, no-positions, "
            "embedding-too-small, linear-layers",
        ),
        Tip(
            "MO08",
            "Look at what was learned.",
            "tool: learn.plot_embedding; tipsai.vision.show.first_layer_filters, feature_maps",
        ),
        Tip(
            "MO09",
            "Compare with simple baselines.",
            "check baselines, after training: guessing, a linear model, neighbours, pairs of tokens; zeroed-inputs (thorough), ignores-input; tipsai demo",
        ),
        Tip(
            "MO11",
            "Follow training in TensorBoard or its kin.",
            "tool: tipsai.TensorBoardLogger, CSVLogger, FunctionLogger",
        ),
        Tip(
            "AR01",
            "Batch norm for pictures, layer norm for sequences; skip connections for depth.",
            "default: tipsai.vision.models.SmallResNet, tipsai.text.Transformer; tool: vision_learner(width=..., depth=...)",
        ),
        Tip(
            "AR02",
            "Activations: ReLU, leaky ReLU, GELU, SiLU.",
            "tool: act= of tabular_learner, vision_learner and language_model_learner",
        ),
        Tip(
            "AR03",
            "Start from pre-trained weights, with lower rates for them; the fewer the data, the more.",
            "default: vision_learner for pictures above 96 pixels, a rate for each layer group; tool: learn.fine_tune, freeze_to; "
            "checks no-pretrained-weights, far-from-pretraining",
        ),
        Tip(
            "AR04",
            "Watch for negative transfer.",
            "check negative-transfer (thorough): the same model from scratch, on an equal small budget",
        ),
        Tip(
            "AR05",
            "Start simple, with proven architectures.",
            "default: vision_learner: small_resnet for pictures of up to 96 pixels, else resnet18",
        ),
        Tip(
            "LM01",
            "Tie the token embedding and the output layer.",
            "default: language_model_learner(tied=True)",
        ),
        Tip(
            "LM02",
            "A language model's compute is about 6 times its parameters times its tokens; the trade-off is yours.",
            "tool: tipsai.text.plan(n_parameters), plan(hours=...): tokens, FLOPs and hours on this machine",
        ),
        Tip(
            "LM03",
            "Log loss predicts how useful a language model is.",
            "default: loss, perplexity and bits a byte of every split; the last compares across tokenizers",
        ),
        Tip(
            "LM04",
            "Single tasks scale unpredictably with compute; loss does not.",
            "tool: tipsai.text.scaling_fit fits loss against compute with its interval, and declines task metrics",
        ),
        Tip(
            "LM05",
            "Tokens that training never saw must get a probability near zero.",
            "default: language_model_learner masks their logits, and gives perplexity with and without unknown tokens; check unknown-tokens: "
            "their rate in each split against what new text of the kind would have; validation-tokens, for tokens of one's own",
        ),
        Tip(
            "TA01",
            "Embedding size of a category: min(600, round(1.6 * n^0.56)).",
            "default: tipsai.tabular.embedding_size",
        ),
        Tip(
            "TA02",
            "Encode nominal text by its spelling, so that typos and unseen values mean something.",
            "default: TabularDataLoaders.from_df(text=True); checks dirty-categories, unknown-categories",
        ),
    )
}
