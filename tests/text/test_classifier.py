"""Classifiers of text: features, the linear model, rows and loaders, and learners from a table to an artifact."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import At, Boom, boom, copied, same
from hypothesis import given, settings
from hypothesis import strategies as st

from tipsai import load_learner
from tipsai.core import loop
from tipsai.core.errors import ColumnError, DataError, SettingError
from tipsai.text import (
    TextAugmentation,
    TextDataLoaders,
    language_model_learner,
    linear,
    text_classifier_learner,
    words_that_matter,
)
from tipsai.text.blocks import TextBlock
from tipsai.text.ngrams import NGrams
from tipsai.text.rows import Ragged, TextLoader, TextRows

RNG = np.random.default_rng(0)
GOOD, BAD = "good great fine lovely superb".split(), "bad awful poor dreadful boring".split()
FILL = "the a film was and very it plot actor scene".split()


def reviews(n=200, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        words = [*rng.choice(FILL, rng.integers(3, 9)), str(rng.choice(GOOD if i % 2 else BAD))]
        rng.shuffle(words)
        rows.append(
            {"title": words[0], "body": " ".join(words[1:]), "mood": "good" if i % 2 else "bad", "stars": i % 2 + 0.5}
        )
    return pd.DataFrame(rows)


def loaders(frame=None, **options):
    frame = reviews() if frame is None else frame
    return TextDataLoaders.from_df(frame, **{"text": ["title", "body"], "target": "mood", "bs": 16} | options)


def learner(dls=None, **options):
    return text_classifier_learner(
        loaders() if dls is None else dls, **{"dim": 8, "seed": 0, "device": "cpu", "metrics": ["accuracy"]} | options
    )


# --- n-grams ------------------------------------------------------------------------------------------------------------


def test_features_are_words_pairs_and_parts():
    grams = NGrams(min_count=1).fit(["Good film!", "good plot"])
    assert {"good", "film", "!", "good film", "film !", "good plot"} <= set(grams.words_)
    assert {" g", "go", "good ", "lm "} <= set(grams.parts_) and all(2 <= len(part) <= 5 for part in grams.parts_)
    ids, weights = grams.encode("good film")
    assert sorted(set(ids)) == ids.tolist()
    words = ids < len(grams.words_)
    assert np.linalg.norm(weights[words]) == pytest.approx(1) == np.linalg.norm(weights[~words])
    by_name = dict(zip([grams.words_[i] for i in ids[words]], weights[words], strict=True))
    assert by_name["film"] == by_name["good film"] > by_name["good"]  # what is rarer weighs more
    assert sorted(grams.decode((ids, weights))) == ["film", "good"]


def test_what_training_never_saw_has_no_feature():
    grams = NGrams().fit(["good film", "good plot"])
    ids, weights = grams.encode("zzz qqq")
    assert len(ids) == len(weights) == 0
    assert len(grams.encode("")[0]) == 0


def test_ngrams_come_back_from_plain_data():
    grams = NGrams(most=50).fit(reviews()["body"])
    assert len(grams.words_) == 50
    again = NGrams.from_dict(json.loads(json.dumps(grams.to_dict())))
    for left, right in zip(grams.encode("a good film, bad plot"), again.encode("a good film, bad plot"), strict=True):
        np.testing.assert_array_equal(left, right)


# --- the linear model ---------------------------------------------------------------------------------------------------


def some_bags(n=30, v=12, seed=0):
    rng = np.random.default_rng(seed)
    features = []
    for _ in range(n):
        ids = np.sort(rng.choice(v, rng.integers(0, 6), replace=False)).astype(np.int32)
        features.append((ids, rng.random(len(ids)).astype(np.float32)))
    dense = np.zeros((n, v))
    for row, (ids, weights) in zip(dense, features, strict=True):
        row[ids] = weights
    return TextRows([np.zeros(0)] * n, features).bags(), dense


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.floats(0.1, 10.0))
def test_the_linear_model_is_the_least_squares_solution(seed, strength):
    bags, dense = some_bags(seed=seed)
    y = np.random.default_rng(seed).normal(size=(30, 2))
    w, bias = linear.ridge(bags, torch.tensor(y, dtype=torch.float32), 12, strength)
    exact = np.linalg.solve(dense.T @ dense + strength * np.eye(12), dense.T @ (y - y.mean(0)))
    np.testing.assert_allclose(bias, y.mean(0), atol=1e-5)
    np.testing.assert_allclose(w, exact, atol=0.01 * np.abs(exact).max())
    np.testing.assert_allclose(bags.times(w), dense @ w.numpy(), atol=1e-5)


@pytest.mark.parametrize("kind", ["numbers", "classes", "labels"])
def test_held_out_scores_come_from_other_texts(kind):
    bags, _ = some_bags(n=40)
    g = torch.Generator().manual_seed(0)
    y = torch.randn(40, 1, generator=g) if kind == "numbers" else torch.rand(40, 3, generator=g) < 0.5
    y = y.int().argmax(1) if kind == "classes" else y
    before = linear._held_out(bags, _told(y), 12, seed=0)
    changed = y.clone()
    changed[7] = changed[7] + 1 if kind != "labels" else ~changed[7]
    after = linear._held_out(bags, _told(changed % 3 if kind == "classes" else changed), 12, seed=0)
    for old, new in zip(before, after, strict=True):
        assert torch.equal(old[7], new[7])
    assert (before[0] != after[0]).any(1).sum() >= 30
    assert bool((before[1] != after[1]).any()) == (kind != "numbers")


def _told(y):
    return torch.nn.functional.one_hot(y, 3).bool() if y.dtype == torch.int64 else y


def test_naive_bayes_counts():
    """Two texts of each of two classes, two features: log ratios as reckoned by hand."""
    rows = [(np.array(ids, np.int32), np.ones(len(ids), np.float32)) for ids in ([0], [0, 1], [1], [1])]
    bags = TextRows([np.zeros(0)] * 4, rows).bags()
    y = torch.tensor([[True, False], [True, False], [False, True], [False, True]])
    a = linear.SMOOTHING
    inside, outside = np.array([2 + a, 1 + a]) / (3 + 2 * a), np.array([a, 2 + a]) / (2 + 2 * a)
    expected = np.log(inside / outside)
    np.testing.assert_allclose(linear.bayes(bags, y, 2), np.stack([expected, -expected], 1), rtol=1e-5)


def test_taking_texts_takes_their_features():
    bags, dense = some_bags()
    index = torch.tensor([5, 0, 5, 29])
    w = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(bags.take(index).times(w), dense[index] @ w.numpy(), atol=1e-5)


def test_the_blend_makes_scores_probabilities():
    """Factors and biases come back that scores were divided by; what is noise gets next to nothing."""
    g = torch.Generator().manual_seed(0)
    shift = torch.tensor([0.5, 0.0, -0.5])
    logits = 3 * torch.randn(4000, 3, generator=g)
    scores = (logits / 10, torch.randn(4000, 3, generator=g))
    y = torch.multinomial((logits + shift).softmax(1), 1, generator=g)[:, 0]
    (factor, noise), bias = linear.blend(scores, y)
    assert factor == pytest.approx(10, rel=0.15) and abs(noise) < 0.2
    np.testing.assert_allclose(bias - bias.mean(), shift, atol=0.15)
    yes = torch.rand(4000, 3, generator=g) < (logits + shift).sigmoid()
    (factor, noise), bias = linear.blend(scores, yes)
    assert factor == pytest.approx(10, rel=0.15) and abs(noise) < 0.2
    np.testing.assert_allclose(bias, shift, atol=0.15)


# --- rows and loaders ---------------------------------------------------------------------------------------------------


def test_ragged_rows_are_padded():
    rows = Ragged([np.array([1, 2, 3]), np.array([], int), np.array([4])], np.int32)
    assert rows.padded(np.array([2, 0])).tolist() == [[4, 0, 0], [1, 2, 3]]
    assert rows.padded(np.array([1])).tolist() == [[0]]


@given(st.integers(1, 150), st.integers(1, 9), st.integers(0, 3))
def test_every_text_comes_once_an_epoch(n, bs, epoch):
    words = [np.full(int(k), 2) for k in np.random.default_rng(n).integers(0, 40, n)]
    loader = TextLoader(TextRows(words, [(np.zeros(0, np.int32), np.zeros(0, np.float32))] * n), bs)
    assert sorted(loader.order(1, epoch).tolist()) == list(range(n))
    assert torch.equal(loader.order(1, epoch), loader.order(1, epoch))


def test_batches_are_of_similar_length_and_differ_between_epochs():
    lengths = RNG.integers(1, 100, 2000)
    rows = TextRows([np.full(int(k), 2) for k in lengths], [(np.zeros(0, np.int32), np.zeros(0, np.float32))] * 2000)
    loader = TextLoader(rows, 16)
    padded = sum(batch.x[0].numel() for batch in loader.batches(seed=0))
    assert padded < 1.1 * lengths.sum()
    firsts = [int(loader.order(0, epoch)[0]) for epoch in range(20)]
    assert len(set(firsts)) > 15


# --- learning -----------------------------------------------------------------------------------------------------------


def test_training_starts_from_the_linear_model_and_ends_better_than_guessing():
    learn = learner()
    first = learn.validate()
    assert first["valid_accuracy"] > 0.9 and first["valid_loss"] < 0.5 * math.log(2)
    learn.fit_one_cycle(2, progress=False)
    assert learn.validate()["valid_accuracy"] > 0.9


def test_the_network_learns_what_order_tells():
    """Of two words in the same text the first decides: no bag of n-grams within reach tells, the network can."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(600):
        a, b, c = rng.choice(FILL, 3)
        first, second = ("up", "down") if i % 2 else ("down", "up")
        rows.append({"text": f"{a} {first} {b} {second} {c}", "y": "yes" if i % 2 else "no"})
    dls = loaders(pd.DataFrame(rows), text="text", target="y")
    learn = learner(dls, dim=16, dropout=0.0, hidden=0.0)
    before = learn.validate()["valid_accuracy"]
    learn.fit_one_cycle(12, 1e-2, progress=False)
    assert before < 0.8 and learn.validate()["valid_accuracy"] > 0.9


def test_validation_texts_are_learned_from_and_judged_by_a_model_that_has_not_seen_them():
    before, after = loaders(), loaders()
    y = after.valid.rows.y[0]
    y[3] = 1 - y[3]
    first, second = learner(before), learner(after)
    assert not torch.equal(first.model.linear, second.model.linear)
    apart = (before.valid.rows.beside - after.valid.rows.beside).abs().amax(1) > 1e-4
    assert apart.sum() >= 30
    # the one whose label changed is moved by the blend of all texts alone
    told = torch.equal(before.valid.rows.beside[3].argmax(), after.valid.rows.beside[3].argmax())
    assert told and len(before.valid.rows) == 40


def test_validation_texts_that_were_given_are_not_learned_from():
    given = loaders(reviews()[:150], valid_df=reviews()[150:])
    flipped = loaders(reviews()[:150], valid_df=reviews()[150:])
    flipped.valid.rows.y = (1 - flipped.valid.rows.y[0],)
    assert torch.equal(learner(given).model.linear, learner(flipped).model.linear)
    assert given.valid.rows.beside is None


@pytest.mark.parametrize("target", ["mood", "stars"])
def test_a_network_of_what_is_chance_counts_for_nothing(target):
    """Targets at random: whatever the network learns of them, validation is not worse than the linear model alone."""
    frame = reviews(120)
    frame[target] = np.random.default_rng(1).permutation(frame[target])
    learn = learner(loaders(frame, target=target), metrics=[], dropout=0.0)
    alone = learn.validate()["valid_loss"]
    learn.fit_one_cycle(6, lr=0.02, progress=False)
    share = float(learn.model.share)
    assert share < 0.5 and learn.history[-1]["valid_loss"] == learn.validate()["valid_loss"] <= alone + 1e-6
    learn.model.share.fill_(1.0)
    assert learn.validate()["valid_loss"] > alone
    assert learn.best_share() == pytest.approx(share)


def test_training_never_sees_the_linear_model_fitted_on_the_same_text():
    learn = learner()
    words, beside = next(iter(learn.dls.train)).x
    assert beside.shape == (16, 2) and words.dtype == torch.int64
    words, grams, weights = next(iter(learn.dls.train.plain())).x
    assert grams.shape == weights.shape
    sample = next(iter(learn.dls.train.sample(10, 0)))
    assert len(sample.x) == 3  # what is said of training texts is what prediction would say


@pytest.mark.parametrize("target", ["mood", "stars", ["a", "b"]])
def test_every_task_trains_and_reloads_to_equal_predictions(target, tmp_path):
    frame = reviews(80).assign(a=lambda f: f["mood"] == "good", b=lambda f: f["title"].str.len() > 3)
    dls = loaders(frame, target=target, task="regression" if target == "stars" else None)
    learn = learner(dls, metrics=())
    first = learn.validate()["valid_loss"]
    learn.fit_one_cycle(1, progress=False)
    assert learn.validate()["valid_loss"] < first + 0.2
    learn.export(tmp_path / "m.tips")
    again = load_learner(tmp_path / "m.tips", device="cpu")
    new = reviews(10, seed=5).drop(columns=["mood", "stars"])
    pd.testing.assert_frame_equal(again.predict(new), learn.predict(new), atol=1e-6)
    assert (again.dls.task, again.builder) == (dls.task, learn.builder)


@pytest.mark.parametrize("at", [3, 11])
def test_a_stopped_run_goes_on_bit_for_bit(at, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "FETCH_SECONDS", -1.0)
    whole, part, rest = learner(), learner(), learner()
    whole.fit_one_cycle(2, progress=False)
    how = {"checkpoint": tmp_path / "c", "checkpoint_seconds": 0, "progress": False}
    with pytest.raises(Boom):
        part.fit_one_cycle(2, callbacks=[At(at, boom, "before_batch")], **how)
    rest.fit_one_cycle(2, resume=True, callbacks=[At(10**6, boom, "before_batch")], **how)
    assert same(copied(whole.model), copied(rest.model))


def test_new_texts_of_any_form():
    learn = learner()
    learn.fit_one_cycle(0.3, progress=False)
    one = learn.predict("a superb film")
    assert list(one.columns) == ["prediction", "p_bad", "p_good"] and one["prediction"][0] == "good"
    several = learn.predict(["a superb film", None, "", "Ω unseen", "a dreadful plot " * 5000])
    assert len(several) == 5 and several["prediction"][4] == "bad" and np.isfinite(several["p_good"]).all()
    frame = pd.DataFrame({"body": ["superb"], "title": ["film"], "more": [1]}, index=["r"])
    assert learn.predict(frame).index.tolist() == ["r"]
    with pytest.raises(ColumnError, match="no column 'title'"):
        learn.predict(pd.DataFrame({"body": ["x"]}))


def test_show_batch_has_the_text_beside_what_the_network_sees():
    frame = loaders().show_batch(4)
    assert list(frame.columns) == ["target", "text", "tokens"]
    for text, tokens in zip(frame["text"], frame["tokens"], strict=True):
        assert text.split() == tokens.split("|")


def test_interpret_names_the_texts_that_are_wrong():
    frame = reviews(120)
    frame.loc[7, "mood"] = "good" if frame.loc[7, "mood"] == "bad" else "bad"
    learn = learner(loaders(frame, valid_df=frame, target="mood"))
    wrong = learn.interpret().most_wrong(2)
    assert len(wrong) >= 1 and wrong["text"][0] == "\n".join(frame.loc[wrong["position"][0], ["title", "body"]])


def sayings():
    return TextDataLoaders.language_model(
        [row["title"] + " " + row["body"] for row in reviews(80).to_dict("records")], block_size=16, bs=8
    )


def test_a_language_model_becomes_the_encoder(tmp_path):
    lm = language_model_learner(sayings(), n_layers=2, n_heads=2, dim=16, seed=0, device="cpu")
    lm.fit_one_cycle(1, progress=False)
    dls = loaders(tokenizer=lm.dls.tokenizer)
    learn = text_classifier_learner(dls, encoder=lm, seed=0, device="cpu", metrics=["accuracy"])
    assert same(learn.model.network.body.state_dict(), lm.model.state_dict())
    assert len(learn.layer_groups) == 4 and learn.lr[0] < learn.lr[-1]
    learn.fine_tune(1, progress=False)
    assert not same(learn.model.network.body.state_dict(), lm.model.state_dict())
    learn.export(tmp_path / "m.tips")
    again = load_learner(tmp_path / "m.tips", device="cpu")
    pd.testing.assert_frame_equal(again.predict(["a good film"]), learn.predict(["a good film"]), atol=1e-6)


def test_padding_changes_no_encoding():
    lm = language_model_learner(sayings(), n_layers=1, n_heads=2, dim=16, seed=0, device="cpu")
    learn = text_classifier_learner(loaders(tokenizer=lm.dls.tokenizer), encoder=lm, seed=0, device="cpu")
    body = learn.model.network.eval()
    x = torch.randint(1, 10, (2, 6), generator=torch.Generator().manual_seed(0))
    padded = torch.cat([x, torch.zeros(2, 5, dtype=torch.int64)], 1)
    torch.testing.assert_close(body(padded), body(x))
    assert torch.isfinite(body(torch.zeros(1, 3, dtype=torch.int64))).all()


def test_an_encoder_that_does_not_fit_is_refused():
    lm = language_model_learner(sayings(), n_layers=1, n_heads=2, dim=16, seed=0, device="cpu")
    with pytest.raises(SettingError, match=r"another tokenizer than dls; make them with tokenizer=lm\.dls\.tokenizer"):
        text_classifier_learner(loaders(), encoder=lm)
    with pytest.raises(SettingError, match="encoder is given, so 'dim' would be ignored"):
        text_classifier_learner(loaders(tokenizer=lm.dls.tokenizer), encoder=lm, dim=8)
    with pytest.raises(SettingError, match="encoder is a str; expected what language_model_learner made"):
        text_classifier_learner(loaders(), encoder="lm.tips")


def test_training_texts_are_augmented_and_others_are_not():
    aug = TextAugmentation(
        synonyms={"film": ["movie"]}, p_synonym=1.0, back_translation=(str.upper, str.title), p_back=0.5
    )
    dls = loaders(pd.concat([reviews(), reviews().replace("film", "movie", regex=True)]), aug=aug)
    said = [dls.block.decode(row) for batch in dls.train.batches(seed=1) for row in batch.x[0]]
    assert not any("film" in text for text in said) and any("movie" in text for text in said)
    plain = [dls.block.decode(row) for batch in dls.train.plain().batches() for row in batch.x[0]]
    assert any("film" in text for text in plain)
    again = [batch.x[0] for batch in dls.train.batches(seed=1, start=3)]
    whole = [batch.x[0] for batch in dls.train.batches(seed=1)]
    assert all(torch.equal(a, b) for a, b in zip(whole[3:], again, strict=True))
    learner(dls).fit_one_cycle(1, progress=False)


def test_the_words_that_decide_are_named():
    learn = learner()
    learn.fit_one_cycle(1, progress=False)
    frame = words_that_matter(learn, "the plot was a superb film")
    assert frame["word"].tolist() == "the plot was a superb film".split()
    assert frame.loc[frame["effect"].idxmax(), "word"] == "superb"
    against = words_that_matter(learn, "the plot was a superb film", label="bad")
    np.testing.assert_allclose(np.sign(against["effect"][4]), -1)
    with pytest.raises(SettingError, match="there is no class 'fine'; expected one of 'bad', 'good'"):
        words_that_matter(learn, "a film", label="fine")
    with pytest.raises(SettingError, match="the text has no words"):
        words_that_matter(learn, "   ")


def test_class_weights_count():
    frame = pd.concat([reviews(100)[lambda f: f["mood"] == "good"], reviews(20)[lambda f: f["mood"] == "bad"]])
    weighted = learner(loaders(frame), class_weights="balanced")
    assert weighted.loss_fn.class_weight[0] > weighted.loss_fn.class_weight[1]
    with pytest.raises(SettingError, match="class_weights needs a classification"):
        learner(loaders(target="stars", task="regression"), class_weights="balanced", metrics=())


# --- sources, refused and accepted --------------------------------------------------------------------------------------


def test_a_file_and_folders(tmp_path):
    reviews(60).to_csv(tmp_path / "r.csv", index=False)
    dls = TextDataLoaders.from_file(tmp_path / "r.csv", "body", "mood", test=tmp_path / "r.csv", valid=0.5)
    assert len(dls.items["valid"]) == 30 and len(dls.items["test"]) == 60
    for part, n in (("train", 12), ("valid", 4)):
        for i, row in reviews(n).iterrows():
            place = tmp_path / "folder" / part / row["mood"]
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{i}.txt").write_text(row["body"])
    dls = TextDataLoaders.from_folder(tmp_path / "folder")
    assert {name: len(texts) for name, texts in dls.items.items()} == {"train": 12, "valid": 4}
    assert dls.blocks[1].outputs == ["bad", "good"]
    dls = TextDataLoaders.from_folder(tmp_path / "folder" / "train")
    assert {name: len(texts) for name, texts in dls.items.items()} == {"train": 10, "valid": 2}


def test_missing_texts_are_empty_and_said(said):
    frame = reviews(60)
    frame.loc[3, ["title", "body"]] = [None, ""]
    learner(loaders(frame, valid_df=reviews(10))).fit_one_cycle(1, progress=False)
    assert "1 of 60 training texts are empty" in said()


@pytest.mark.parametrize(
    ("change", "options", "error", "words"),
    [
        (lambda f: f.assign(mood="good"), {}, DataError, "always 'good'; there is nothing to learn"),
        (lambda f: f.assign(title=None, body=""), {}, DataError, "there is no text in 'title', 'body'"),
        (lambda f: f, {"text": "boddy"}, ColumnError, "no column 'boddy'. Did you mean 'body'?"),
        (lambda f: f, {"text": ["mood", "body"]}, SettingError, "expected columns of their own"),
        (lambda f: f, {"valid_df": reviews(9), "valid": 0.1}, SettingError, "both valid_df and a split are given"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(change, options, error, words):
    with pytest.raises(error, match=words):
        loaders(change(reviews(40)), **options)


def test_wrong_loaders_are_refused(tmp_path):
    with pytest.raises(SettingError, match="expected labelled texts"):
        text_classifier_learner(TextDataLoaders.language_model("a b c\n" * 200))
    with pytest.raises(DataError, match="there is no folder"):
        TextDataLoaders.from_folder(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no folders with text files"):
        TextDataLoaders.from_folder(tmp_path / "empty")


def test_a_block_comes_back_from_plain_data():
    block = loaders().blocks[0]
    again = TextBlock.from_dict(json.loads(json.dumps(block.to_dict())))
    left, right = (b.encode("a good film\nbad plot") for b in (block, again))
    np.testing.assert_array_equal(left[0], right[0])
    np.testing.assert_array_equal(left[1][0], right[1][0])
    np.testing.assert_allclose(left[1][1], right[1][1])
