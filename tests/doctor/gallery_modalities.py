"""Faults and healthy runs of tables, texts and pictures, through the loaders and learners that each modality brings. See faults.py."""

import string

import numpy as np
import pandas as pd
import torch
from doctor.faults import draws, fault, healthy, learner, mlp, seeded, split
from torch import nn

from tipsai import group_split, time_split, toys
from tipsai.tabular import TabularDataLoaders, tabular_learner
from tipsai.text import TextDataLoaders, language_model_learner, text_classifier_learner
from tipsai.text.tokenizers import WordTokenizer
from tipsai.vision import Augmentation, ImageDataLoaders, vision_learner

# --- tables ---------------------------------------------------------------------------------------------------------

CITIES = ["Amsterdam", "Barcelona", "Copenhagen", "Florence", "Helsinki", "Marseille", "Stockholm", "Zurich"]


def table(dls, seed, **options):
    return tabular_learner(dls, width=32, depth=1, n_members=2, seed=seed, device="cpu", **options)


def sales(seed, n=800, cities=CITIES):
    """What was sold where: numbers, a city that matters, and an amount."""
    rng = np.random.default_rng(seed)
    city = rng.integers(0, len(cities), n)
    size, price = rng.gamma(4.0, 2.0, n).round(2), rng.normal(10, 3, n).round(2)
    amount = 20 + 3 * size - 2 * price + 4.0 * city + rng.normal(0, 4, n)
    return pd.DataFrame({"size": size, "price": price, "city": np.array(cities)[city], "amount": amount.round(2)})


def misspelt(word, rng):
    """A word with one letter left out, doubled, exchanged with its neighbour, or replaced; not the first."""
    at = int(rng.integers(1, len(word) - 1))
    return [
        word[:at] + word[at + 1 :],
        word[:at] + word[at] + word[at:],
        word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        word[:at] + str(rng.choice(list(string.ascii_lowercase))) + word[at + 1 :],
    ][int(rng.integers(4))]


@fault("missing-codes")
def missing_prices_written_as_a_number(seed):
    frame = sales(seed)
    frame.loc[np.random.default_rng(seed).random(len(frame)) < 0.1, "price"] = -999
    return table(TabularDataLoaders.from_df(frame, "amount"), seed)


@fault("dirty-categories")
def cities_with_typos(seed):
    frame, rng = sales(seed), np.random.default_rng(seed)
    frame["city"] = [misspelt(city, rng) if rng.random() < 0.08 else city for city in frame["city"]]
    return table(TabularDataLoaders.from_df(frame, "amount"), seed)


@fault("dirty-categories")
def one_misspelling_again_and_again(seed):
    frame = sales(seed, cities=CITIES[:4])
    wrong = (frame["city"].isin(CITIES[:2])) & (np.random.default_rng(seed).random(len(frame)) < 0.05)
    frame["city"] = frame["city"].where(~wrong, frame["city"].str.replace("a", "e"))
    return table(TabularDataLoaders.from_df(frame, "amount"), seed)


@fault("dirty-categories")
def cities_in_small_and_large_letters(seed):
    frame = sales(seed, cities=["Paris", "London", "New York"])
    large = np.random.default_rng(seed).random(len(frame)) < 0.3
    frame["city"] = frame["city"].where(~large, frame["city"].str.upper().str.replace(" ", "-"))
    return table(TabularDataLoaders.from_df(frame, "amount"), seed)


def shops(seed, n_shops=60, rows=12, spread=14.0):
    """Sales of shops, each with a level of its own that no other column shows."""
    rng = np.random.default_rng(seed)
    shop = np.repeat(np.arange(n_shops), rows)
    frame = sales(seed, len(shop))
    frame["amount"] += rng.normal(0, spread, n_shops)[shop]
    names = np.array([f"{a}{b}{i}" for i, (a, b) in enumerate(rng.choice(list(string.ascii_uppercase), (n_shops, 2)))])
    frame["shop"] = names[shop]
    return frame.iloc[rng.permutation(len(frame))].reset_index(drop=True)


@fault("unknown-categories")
def shops_that_training_never_saw(seed):
    dls = TabularDataLoaders.from_df(
        shops(seed), "amount", splitter=lambda df: group_split(df["shop"], valid=0.25, seed=seed)
    )
    return table(dls, seed)


@fault("unknown-categories")
def a_test_of_other_cities(seed):
    other = sales(seed + 100, 300, [*CITIES[:3], "Lisbon", "Warsaw", "Budapest"])
    return table(TabularDataLoaders.from_df(sales(seed), "amount", test_df=other), seed)


@fault("groups-across-split")
def shops_on_both_sides(seed):
    return table(TabularDataLoaders.from_df(shops(seed, 80, 8), "amount", seed=seed), seed)


def patients(seed, n_patients=120, visits=6):
    """Visits of patients, whose age and height stay, and whose diagnosis does."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(n_patients), visits)
    age, height = rng.integers(20, 90, n_patients), rng.normal(170, 9, n_patients).round(1)
    ill = rng.random(n_patients) < 1 / (1 + np.exp(-(age - 55) / 20))
    pressure = rng.normal(120, 10, len(patient)) + 6 * ill[patient]
    columns = {
        "patient": patient * 7 + 1000,
        "age": age[patient],
        "height": height[patient],
        "pressure": pressure.round(1),
    }
    frame = pd.DataFrame(columns | {"ill": np.where(ill, "yes", "no")[patient]})
    return frame.iloc[rng.permutation(len(frame))].reset_index(drop=True)


@fault("groups-across-split")
def patients_on_both_sides_by_number(seed):
    return table(TabularDataLoaders.from_df(patients(seed), "ill", seed=seed), seed)


@fault("groups-across-split")
def patients_on_both_sides_left_out_of_the_inputs(seed):
    return table(TabularDataLoaders.from_df(patients(seed), "ill", ignore=["patient"], seed=seed), seed)


@fault("groups-across-split")
def patients_of_the_test_are_new(seed):
    frame = patients(seed, 160).rename(columns={"patient": "of"})
    later = frame["of"] > frame["of"].quantile(0.75)
    return table(TabularDataLoaders.from_df(frame[~later], "ill", test_df=frame[later], seed=seed), seed)


@fault("dates-across-split")
def random_validation_before_a_later_test(seed):
    toy = toys.table(900, "regression", seed=seed)
    frame = toy.frame.sort_values("listed")
    return table(TabularDataLoaders.from_df(frame[:700], toy.target, test_df=frame[700:]), seed)


@healthy
def table_of_classes(seed):
    toy = toys.table(800, seed=seed)
    return table(TabularDataLoaders.from_df(toy.frame, toy.target), seed, metrics=["accuracy"])


@healthy
def table_of_amounts_with_a_test(seed):
    toy = toys.table(900, "regression", seed=seed)
    return table(TabularDataLoaders.from_df(toy.frame[:700], toy.target, test_df=toy.frame[700:]), seed)


@healthy
def table_split_by_time(seed):
    toy = toys.table(900, "regression", seed=seed)
    dls = TabularDataLoaders.from_df(toy.frame, toy.target, splitter=lambda df: time_split(df["listed"], valid=0.2))
    return table(dls, seed)


@healthy
def table_with_many_first_names(seed):
    """Names that are near each other, and mean what they say: no typos."""
    names = [
        "Maria",
        "Marie",
        "Mario",
        "Marta",
        "Martin",
        "Marvin",
        "Anna",
        "Anne",
        "Hanna",
        "Hannah",
        "Johann",
        "Johanna",
    ]
    names += ["Christina", "Christine", "Christian", "Stefan", "Stefanie", "Stephan", "Daniel", "Daniela", "Danielle"]
    rng = np.random.default_rng(seed)
    frame = sales(seed)
    chances = 1 / np.arange(1, len(names) + 1) ** 1.3
    frame["seller"] = rng.choice(rng.permutation(names), len(frame), p=chances / chances.sum())
    return table(TabularDataLoaders.from_df(frame, "amount"), seed)


@healthy
def table_with_codes(seed):
    """Product codes and years, a letter or digit apart."""
    rng = np.random.default_rng(seed)
    frame = sales(seed)
    chances = 1 / np.arange(1, 31) ** 1.5
    frame["product"] = rng.choice(
        [f"A{i}" if i % 2 else f"AB-{i}" for i in range(30)], len(frame), p=chances / chances.sum()
    )
    frame["year"] = rng.integers(1960, 2020, len(frame)).astype(str)
    frame["postcode"] = rng.integers(1000, 1200, len(frame))
    return table(TabularDataLoaders.from_df(frame, "amount"), seed)


@healthy
def table_of_patients_split_by_patient(seed):
    dls = TabularDataLoaders.from_df(
        patients(seed, 200, 4),
        "ill",
        ignore=["patient"],
        splitter=lambda df: group_split(df["patient"], valid=0.25, seed=seed),
    )
    return table(dls, seed)


@healthy
def table_whose_rows_repeat(seed):
    """Survey answers: a dozen kinds of rows, each with both answers."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"age": rng.choice(["young", "middle", "old"], 800), "town": rng.choice(list("abcd"), 800)})
    chance = 0.2 + 0.5 * (frame["age"] == "old") + 0.2 * (frame["town"] == "a")
    frame["agrees"] = np.where(rng.random(800) < chance, "yes", "no")
    return table(TabularDataLoaders.from_df(frame, "agrees"), seed, metrics=["balanced_accuracy"])


@healthy
def table_of_few_uneven_rows(seed):
    frame = sales(seed, 150)
    frame["dear"] = np.where(frame["amount"] > frame["amount"].quantile(0.8), "yes", "no")
    return table(TabularDataLoaders.from_df(frame.drop(columns="amount"), "dear"), seed, metrics=["balanced_accuracy"])


# --- texts ----------------------------------------------------------------------------------------------------------


def words(rng, n=400):
    """Made-up words of two to four syllables, all different."""
    syllables = [a + b for a in "bcdfglmnprstv" for b in "aeiou"]
    made = dict.fromkeys("".join(rng.choice(syllables, rng.integers(2, 5))) for _ in range(3 * n))
    return np.array(list(made)[:n])


def texts(seed, n=400, length=25, vocabulary=None, k=2):
    """Texts of Zipf's law whose topic shows in a third of their words."""
    rng = np.random.default_rng(seed)
    known = words(np.random.default_rng(7)) if vocabulary is None else vocabulary
    own = np.array_split(known[: len(known) // 2], k)
    chances = 1 / np.arange(1, len(known) + 1)
    topic = rng.integers(0, k, n)
    made = []
    for i in topic:
        size = max(5, int(rng.poisson(length)))
        common = rng.choice(known, size, p=chances / chances.sum())
        about = rng.choice(own[i], size)
        made.append(" ".join(np.where(rng.random(size) < 0.35, about, common)))
    topic = np.where(rng.random(n) < 0.1, rng.integers(0, k, n), topic)  # some are in doubt
    return pd.DataFrame({"text": made, "topic": np.array(["arts", "law", "trade", "sport"])[topic]})


def classifier(dls, seed, **options):
    return text_classifier_learner(dls, dim=64, seed=seed, device="cpu", **options)


def writer(dls, seed):
    return language_model_learner(dls, n_layers=1, n_heads=2, dim=32, seed=seed, device="cpu")


@fault("unknown-tokens")
def validation_texts_of_another_language(seed):
    other = texts(seed + 50, 120, vocabulary=words(np.random.default_rng(1000 + seed)))
    return classifier(TextDataLoaders.from_df(texts(seed), "text", "topic", valid_df=other), seed)


@fault("unknown-tokens")
def a_tokenizer_made_for_other_texts(seed):
    known, strange = words(np.random.default_rng(7)), words(np.random.default_rng(1000 + seed))
    other = texts(seed, vocabulary=np.concatenate([known[::2], strange[:200]]))
    tokenizer = WordTokenizer(lower=True, spaces=False).fit(other["text"].tolist())
    return classifier(TextDataLoaders.from_df(texts(seed), "text", "topic", tokenizer=tokenizer), seed)


@fault("unknown-tokens")
def characters_that_training_never_saw(seed):
    text, other = toys.text(6000, seed).text, [toys.text(800, seed + 1).text.upper()]
    dls = TextDataLoaders.language_model(text, valid=other, tokenizer="char", block_size=16, bs=8)
    return writer(dls, seed)


@fault("long-texts-cut")
def texts_that_are_cut(seed):
    return classifier(TextDataLoaders.from_df(texts(seed, length=60), "text", "topic", longest=30), seed)


@fault("repeated-texts")
def texts_sent_again_in_capitals(seed):
    frame = texts(seed)
    again = frame.head(60).assign(text=lambda df: df["text"].str.upper() + "!")
    return classifier(
        TextDataLoaders.from_df(frame, "text", "topic", valid_df=pd.concat([texts(seed + 9, 60), again])), seed
    )


@fault("leaking-words")
def texts_that_begin_with_their_label(seed):
    frame = texts(seed).assign(text=lambda df: "section " + df["topic"] + ": " + df["text"])
    return classifier(TextDataLoaders.from_df(frame, "text", "topic"), seed)


@fault("validation-text-in-training")
def a_part_of_the_training_text_as_validation(seed):
    text = toys.text(12_000, seed).text
    return writer(
        TextDataLoaders.language_model(text, valid=[text[4000:6000]], tokenizer="char", block_size=16, bs=8), seed
    )


@healthy
def texts_with_topics(seed):
    return classifier(TextDataLoaders.from_df(texts(seed), "text", "topic"), seed, metrics=["accuracy"])


@healthy
def texts_of_which_a_fifth_is_missing(seed):
    """Nothing tells what the missing ones are about: equal inputs, different targets."""
    frame = texts(seed, k=2)
    rng = np.random.default_rng(seed)
    frame["text"] = np.where(rng.random(len(frame)) < 0.2, "", frame["text"])
    return classifier(TextDataLoaders.from_df(frame, "text", "topic"), seed, metrics=["accuracy"])


@healthy
def few_texts_with_a_test(seed):
    frame = texts(seed, 260, k=3)
    return classifier(TextDataLoaders.from_df(frame[:200], "text", "topic", test_df=frame[200:]), seed)


@healthy
def running_text_of_characters(seed):
    dls = TextDataLoaders.language_model(toys.text(8000, seed).text, tokenizer="char", block_size=16, bs=8)
    return writer(dls, seed)


@healthy
def running_text_of_words(seed):
    text = "\n".join(texts(seed, 200, k=1)["text"])
    return writer(TextDataLoaders.language_model(text, tokenizer="word", block_size=16, bs=8), seed)


# --- pictures -------------------------------------------------------------------------------------------------------


def stripes(seed, n=300, side=12, **options):
    """Three directions, of which mirroring turns one into another."""
    toy = toys.images(n, side, 3, seed=seed)
    return ImageDataLoaders.from_arrays((toy.x, toy.y.numpy()), bs=16, aug=Augmentation.small(flip=0), **options)


def pictures(dls, seed, **options):
    return vision_learner(dls, **({"width": 8, "depth": 1} | options), seed=seed, device="cpu")


class Body(nn.Module):
    """A small network that counts as one that brings weights."""

    def __init__(self, channels=3):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(channels, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU())

    def forward(self, x):
        return self.layers(x)


@fault("small-pictures")
def pictures_made_tiny(seed):
    return pictures(stripes(seed, 100, 128, size=16), seed)


@fault("no-pretrained-weights")
def few_pictures_without_weights(seed):
    return pictures(stripes(seed, 100, 64), seed)


@fault("far-from-pretraining")
def weights_of_photographs_for_grey_pictures(seed):
    toy = toys.images(160, 32, 3, seed=seed)
    grey = toy.x.float().mean(1, keepdim=True).byte()
    dls = ImageDataLoaders.from_arrays((grey, toy.y.numpy()), bs=16, aug=Augmentation.small(flip=0))
    return vision_learner(dls, seeded(seed, lambda: Body(1)), pretrained=True, seed=seed, device="cpu", lr=3e-3)


@fault("augmentation-changes-labels")
def mirrored_stripes_of_another_direction(seed):
    toy = toys.images(400, 16, 3, seed=seed)
    return pictures(ImageDataLoaders.from_arrays((toy.x, toy.y.numpy()), bs=16), seed)


@healthy
def pictures_of_stripes(seed):
    return pictures(stripes(seed), seed, metrics=["accuracy"])


@healthy
def pictures_at_their_own_size(seed):
    """Below 96 pixels, but they have no more than 20."""
    return pictures(stripes(seed, 200, 20), seed)


@healthy
def pictures_on_weights_of_photographs(seed):
    dls = stripes(seed, 160, 24)
    return vision_learner(dls, seeded(seed, Body), pretrained=True, seed=seed, device="cpu", lr=3e-3)


# --- figures that part ----------------------------------------------------------------------------------------------


@fault("metric-and-guards", epochs=30)
def mean_absolute_error_falls_at_the_cost_of_the_squared_one(seed):
    """A model that told the mean of skewed amounts goes on towards their median."""
    g = draws(seed)
    x = torch.randn(3000, 6, generator=g)
    y = x @ torch.randn(6, 1, generator=g) * 0.3 - torch.rand(3000, 1, generator=g).log()
    model = mlp(seed, 6, 1)
    learner(split(x, y), model, seed, loss_fn=nn.MSELoss()).fit_one_cycle(8, progress=False)
    options = {"metrics": ["mae", "rmse"], "opt": torch.optim.AdamW, "lr": 5e-5}
    return learner(split(x, y, 128), model, seed, loss_fn=nn.L1Loss(), **options)
