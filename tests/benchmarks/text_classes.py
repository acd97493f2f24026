"""Classifiers of text by the default call, beside linear models of scikit-learn, on the same folds.

    TIPSAI_DATA=path/to/data python tests/benchmarks/text_classes.py [--folds 5]                  # AG News, 7,600 rows
    python tests/benchmarks/text_classes.py --data packages tweets ...                            # what defaults are chosen on
    python tests/benchmarks/text_classes.py --folder place                                        # where those lie

The rivals are TF-IDF with logistic regression, with ComplementNB, and a linear SVM on parts of words; the best of them is
the one with the highest mean over the folds, which favours it. The difference is a mean over folds with its 95% interval.

Other data, for choosing defaults: one-line descriptions of Debian's packages by section (from `apt-cache dumpavail`), and
the tweets, product reviews and newspaper sentences of Hutto and Gilbert 2014, "VADER", in the source package vaderSentiment
of PyPI (additional_resources/hutto_ICWSM_2014.tar.gz), by the sign of their mean rating.
"""

import argparse
import collections
import math
import os
import re
import statistics
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.naive_bayes import ComplementNB
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from tipsai.text import TextDataLoaders, text_classifier_learner

DATA = Path(os.environ.get("TIPSAI_DATA", "../shared/data"))
T95 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78}  # Student's t by degrees of freedom
RATED = {"tweets": "tweets", "products": "amazonReviewSnippets", "newspaper": "nytEditorialSnippets"}
LEFT_OUT = {
    "libdevel",
    "debug",
    "oldlibs",
    "doc",
    "metapackages",
}  # sections that say what a package is, not what it is about


def ag_news(folder):
    frame = pd.read_csv(DATA / "ag_news.csv")
    return frame[["title", "description"]], frame["label"].astype(str)


def packages(folder):
    listing = subprocess.run(["apt-cache", "dumpavail"], check=True, capture_output=True, text=True).stdout
    rows = []
    for record in listing.split("\n\n"):
        found = dict(re.findall(r"^(Section|Description): (.*)$", record, re.MULTILINE))
        if len(found) == 2:
            rows.append((found["Description"], found["Section"].split("/")[-1]))
    common = [s for s, _ in collections.Counter(s for _, s in rows).most_common() if s not in LEFT_OUT][:12]
    frame = pd.DataFrame(rows, columns=["text", "label"])
    frame = frame[frame["label"].isin(common)].sample(7000, random_state=0)
    return frame[["text"]], frame["label"]


def rated(name):
    def read(folder):
        lines = (folder / f"{RATED[name]}_GroundTruth.txt").read_text(encoding="utf-8", errors="replace").splitlines()
        rows = [line.split("\t") for line in lines]
        kept = [(row[2], float(row[1]) > 0) for row in rows if len(row) > 2 and abs(float(row[1])) >= 0.4]
        frame = pd.DataFrame(kept, columns=["text", "label"])
        return frame[["text"]], frame["label"].map({True: "good", False: "bad"})

    return read


SETS = {"ag_news": ag_news, "packages": packages} | {name: rated(name) for name in RATED}
RIVALS = {
    "logistic regression": lambda: make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000)),
    "ComplementNB": lambda: make_pipeline(TfidfVectorizer(), ComplementNB()),
    "SVM on parts of words": lambda: make_pipeline(
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=2), LinearSVC(C=0.5)
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=list(SETS), default=["ag_news"])
    parser.add_argument("--folds", type=int, default=5, help="of five, so many are run")
    parser.add_argument("--folder", type=Path, default=Path(), help="of the rated sentences")
    args = parser.parse_args()
    for name in args.data:
        texts, labels = SETS[name](args.folder)
        joined = texts.agg(" ".join, axis=1)
        found: dict[str, list[float]] = {"tipsai": []}
        seconds = []
        folds = StratifiedKFold(5, shuffle=True, random_state=0).split(joined, labels)
        for seed, (rest, test) in zip(range(args.folds), folds, strict=False):
            began = time.perf_counter()
            frame = texts.assign(label=labels)
            dls = TextDataLoaders.from_df(frame.iloc[rest], list(texts.columns), "label", test_df=frame.iloc[test])
            learn = text_classifier_learner(dls, metrics=["accuracy"], seed=seed)
            learn.fit_one_cycle(progress=False)
            seconds.append(time.perf_counter() - began)
            found["tipsai"].append(learn.test()["test_accuracy"])
            for rival, make in RIVALS.items():
                model = make().fit(joined.iloc[rest], labels.iloc[rest])
                found.setdefault(rival, []).append(
                    float((model.predict(joined.iloc[test]) == labels.iloc[test]).mean())
                )
        best = max(RIVALS, key=lambda rival: statistics.mean(found[rival]))
        gains = np.subtract(found["tipsai"], found[best]).tolist()
        half = math.nan
        if len(gains) > 1:
            half = T95.get(len(gains) - 1, 2.0) * statistics.stdev(gains) / math.sqrt(len(gains))
        print(f"{name}, {len(labels):,} texts, {len(seconds)} folds, {max(seconds):.0f} s a fold at most")
        for model, values in found.items():
            print(f"  {model:<24} {statistics.mean(values):.4f}")
        print(f"  tipsai over {best}: {statistics.mean(gains):+.4f} ± {half:.4f}", flush=True)


if __name__ == "__main__":
    main()
