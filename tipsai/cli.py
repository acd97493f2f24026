"""The command line: a thin face over the library. Progress goes to standard error, results to standard output."""

import argparse
import contextlib
import dataclasses
import json
import logging
import os
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tipsai import __version__, faces, run_folder
from tipsai.core.errors import (
    DataError,
    OutputError,
    SettingError,
    TipsaiError,
    nearest,
    require_positive,
)

if TYPE_CHECKING:
    from tipsai.learner import Learner

log = logging.getLogger("tipsai")
LONGEST = 2.0  # times the planned steps that a fit with a time limit may take, where they were timed while the machine was slow
INTERRUPTED_STATUS = 130  # 128 + SIGINT, as shells have it
TASKS = ("classification", "regression", "multilabel", "segmentation")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit status: 0, 1 where a check found an error, 2 for a user's mistake, 130 after Ctrl-C."""
    began = time.perf_counter()
    args = _parser().parse_args(argv)
    args.began = began
    args.command_line = shlex.join(["tipsai", *(sys.argv[1:] if argv is None else argv)])
    try:
        with _log_to_stderr():
            status = int(args.run(args))
        sys.stdout.flush()  # a reader who has gone shows now, and not when Python ends
        return status
    except TipsaiError as error:
        print(f"tipsai: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("tipsai: interrupted", file=sys.stderr)
        return INTERRUPTED_STATUS
    except BrokenPipeError:
        # Whoever read our output has gone (| head). Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


@contextlib.contextmanager
def _log_to_stderr() -> Iterator[None]:
    """The library's messages go to standard error; afterwards logging is as it was, for those who call main themselves."""
    before = log.handlers[:], log.level, log.propagate
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.handlers[:], log.propagate = [handler], False
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.handlers[:], log.propagate = before[0], before[2]
        log.setLevel(before[1])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tipsai", description="Train models right the first time: the tips run.")
    parser.add_argument("--version", action="version", version=f"tipsai {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="train on a table, a folder of pictures, or text")
    train.set_defaults(run=_train)
    _take_data(train)
    length = train.add_mutually_exclusive_group()
    length.add_argument(
        "--epochs",
        type=float,
        metavar="N",
        help="passes over the data; by the size of the data by default, and for a language model by time",
    )
    length.add_argument(
        "--minutes",
        type=float,
        metavar="M",
        help="the time that the command may take: the schedule fits into it; by default 2.5 of training for a language model",
    )
    train.add_argument("--out", metavar="DIR", help="by default runs/<data>-<date>-<time>")
    train.add_argument("--resume", action="store_true", help="go on with the interrupted run in --out")
    train.add_argument("--json", action="store_true", help="print metrics.json on standard output")
    train.add_argument(
        "--check",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="look at data and untrained model first; on by default",
    )
    train.add_argument("--silent", action="append", metavar="CODE", help="a check to leave out, such as imbalance")

    check = commands.add_parser("check", help="look at data and untrained model, and say what is wrong with them")
    check.set_defaults(run=_check)
    _take_data(check)
    check.add_argument("--silent", action="append", metavar="CODE", help="a check to leave out, such as imbalance")
    check.add_argument("--json", action="store_true", help="print the findings as JSON on standard output")

    predict = commands.add_parser("predict", help="predict rows or pictures with a trained model")
    predict.set_defaults(run=_predict)
    predict.add_argument("artifact", metavar="ARTIFACT", help="a model.tips")
    predict.add_argument("input", metavar="INPUT", help="a table, a picture or a folder of pictures")
    predict.add_argument("--out", metavar="FILE", help="a .csv, or a folder for masks; standard output by default")
    predict.add_argument(
        "--tta", action="store_true", help="the mean over several views of each picture: slower, and a little better"
    )

    generate = commands.add_parser("generate", help="write text with a trained language model")
    generate.set_defaults(run=_generate)
    generate.add_argument("artifact", metavar="ARTIFACT", help="a model.tips")
    generate.add_argument("--prompt", default="\n", metavar="TEXT", help="what the text begins with")
    generate.add_argument("--n", type=int, default=500, metavar="N", help="tokens at most; 500 by default")
    generate.add_argument(
        "--temperature", type=float, default=0.8, metavar="X", help="0.8 by default; 0 never surprises"
    )
    generate.add_argument("--top-k", type=int, metavar="N", help="draw among the N most probable tokens")
    generate.add_argument("--top-p", type=float, default=1.0, metavar="X", help="draw among those that make up X")
    generate.add_argument("--stop", metavar="TEXT", help="end where this text comes")
    generate.add_argument("--seed", type=int, metavar="N", help="repeats a text")

    demo = commands.add_parser("demo", help="train on data that is already on this machine, and show what comes out")
    demo.set_defaults(run=_demo)
    demo.add_argument("--json", action="store_true", help="print the figures as JSON on standard output")

    tips = commands.add_parser("tips", help="the tips, and where each is applied")
    tips.set_defaults(run=_tips)
    tips.add_argument("code", nargs="?", metavar="CODE", help="such as TR08")
    return parser


def _take_data(parser: argparse.ArgumentParser) -> None:
    """The arguments that say what the data are, and what is to be made of them."""
    parser.add_argument(
        "data", metavar="DATA", help="a table (.csv, .tsv, .parquet), a folder of pictures, or text (.txt, .md, ...)"
    )
    parser.add_argument(
        "--target", action="append", metavar="COL", help="the column to predict; give it again for several targets"
    )
    parser.add_argument("--test", metavar="DATA", help="what to test on, once, after training")
    parser.add_argument("--task", choices=TASKS, help="inferred from the data by default")
    parser.add_argument("--lr", type=float, metavar="X", help="peak learning rate")
    parser.add_argument("--bs", type=int, metavar="N", help="rows, pictures or windows of text a batch")
    parser.add_argument("--seed", type=int, metavar="N", help="drawn and recorded by default")
    parser.add_argument("--device", metavar="D", help="auto, cpu, cuda, ...")
    parser.add_argument(
        "--kind",
        action="append",
        metavar="COL=KIND",
        help="number, category, boolean, date, identifier or skip, where the inferred kind is wrong",
    )
    parser.add_argument("--ignore", action="append", metavar="COL", help="a column to leave out")
    parser.add_argument("--image", metavar="COL", help="the column with the paths of pictures, from the table's folder")
    parser.add_argument("--size", type=int, metavar="N", help="pixels of a picture's side as the model sees it")
    parser.add_argument("--arch", metavar="NAME", help="a backbone, such as resnet18; by the pictures by default")
    parser.add_argument(
        "--width",
        type=int,
        metavar="N",
        help="channels of the built-in network for pictures; 64, or fewer where --minutes are few",
    )
    parser.add_argument(
        "--pretrained", action=argparse.BooleanOptionalAction, default=None, help="start from weights of ImageNet"
    )
    parser.add_argument("--weights", metavar="FILE", help="start from these weights of --arch, .pth or .safetensors")
    parser.add_argument(
        "--text", action="append", metavar="COL", help="the column with the text to classify; give it again for several"
    )
    parser.add_argument(
        "--tokenizer", metavar="NAME", help="char, byte, word, bpe, or a tokenizer.json; by the text by default"
    )


# --- train --------------------------------------------------------------------------------------------------------


def _train(args: argparse.Namespace) -> int:
    from tipsai.callbacks import TimeLimit
    from tipsai.doctor.check import counted, tell
    from tipsai.verification import verify

    given = {name: getattr(args, name) for name in run_folder.REMEMBERED}
    out, config = run_folder.open_run(given, args.out, args.resume)
    if (out / "metrics.json").exists():
        log.info("the run in %s is complete", out)
        return _report(out, run_folder.read_json(out / "metrics.json"), args.json)
    if config["epochs"] is not None:
        require_positive("--epochs", config["epochs"])
    if config["minutes"] is not None:
        require_positive("--minutes", config["minutes"])
    if config["seed"] is None:
        from tipsai.core import rng

        config["seed"] = rng.draw_seed()  # before the split, which must be the same when the run is resumed
    learn = faces.face(faces.of_data(config)).learner(config)
    learn.doctor.silence(args.silent or ())
    # What was wrong with the data was said when they were read, and is not said again.
    if args.check and not args.resume:
        tell(finding for finding in learn.check() if finding not in learn.dls.findings)
    if not config.get("n_epochs"):
        asked = config["epochs"]
        config |= {"n_epochs": asked} if asked else _budget(learn, config["minutes"], args.began)
    config["n_steps"] = max(1, round(config["n_epochs"] * len(learn.dls.train or ())))
    run_folder.write_json(out / "config.json", config)
    fit = learn.fit_one_cycle if learn.transfer.probe is None else learn.fine_tune
    limit = [TimeLimit(config["seconds"], config.get("longest", 1.0))] if config.get("seconds") else []
    fit(config["n_epochs"], callbacks=limit, checkpoint=out / "checkpoint.tips", resume=args.resume)
    if learn.stop_reason == "interrupted":
        log.warning("go on with: the same command, --out %s --resume", out)
        return INTERRUPTED_STATUS
    figures = learn.results() | (learn.test() if learn.dls.test is not None else {})
    told = {finding.code for finding in (*learn.dls.findings, *learn.doctor.found)}
    learn.export(out / "model.tips")
    learn.doctor.found += verify(learn, out / "model.tips")
    tell(finding for finding in learn.findings if finding.code not in told)
    run_folder.write_csv(out / "history.csv", learn.history)
    learn.report(out / "report.html", title=Path(config["data"]).name, figures=figures, command=args.command_line)
    run_folder.write_json(out / "metrics.json", figures)  # last: a run with this file is complete
    (out / "checkpoint.tips").unlink(missing_ok=True)
    return _report(out, figures, args.json, f"doctor: {counted(learn.findings) or 'nothing found wrong'}")


def _budget(learn: "Learner", minutes: float | None, began: float) -> dict[str, float]:
    """How many passes fit into so many minutes or, without, suit the data: n_epochs.

    Where the time is limited also the seconds for them, and the longest fit as a multiple of this. The user's minutes are the
    command's, from when it began; those that a kind of data has by default are training's.
    """
    rule = learn.transfer.n_epochs or learn.dls.n_epochs
    limit = learn.dls.minutes if minutes is None else minutes
    if limit is None:
        assert rule is not None  # every modality has one
        return {"n_epochs": rule}
    from tipsai.experiment.budget import epochs_within

    fitting, seconds = epochs_within(learn, limit, None if minutes is None else began)
    most = learn.dls.most_epochs
    if minutes is None and rule is not None:
        most = min(most, rule)
    n_epochs = min(fitting, most)
    if n_epochs == learn.dls.most_epochs:
        log.info("%g epochs, in less time: more passes over so little would learn it by heart", n_epochs)
    elif n_epochs == fitting:
        n_steps = round(n_epochs * len(learn.dls.train or ()))
        log.info("%.4g minutes are enough for %.4g epochs (%d steps)", limit, n_epochs, n_steps)
    return {"n_epochs": n_epochs, "seconds": seconds, "longest": min(LONGEST, most / n_epochs)}


def _report(out: Path, figures: dict[str, float], as_json: bool, doctor: str = "") -> int:
    if as_json:
        print(run_folder.as_json(figures))
    else:
        from tipsai.core.text import table

        print(
            table(
                [[name, "nan" if value is None else f"{value:.6g}"] for name, value in figures.items()],
                ["figure", "value"],
            )
        )
        print(f"\n{doctor}" if doctor else "")
        print(f"model and history: {out}")
        print(f"report: {out / 'report.html'}")
    return 0


# --- check --------------------------------------------------------------------------------------------------------


def _check(args: argparse.Namespace) -> int:
    """Exit status 1 if anything is an error."""
    config = {name: getattr(args, name, None) for name in run_folder.REMEMBERED}
    if config["seed"] is None:
        config["seed"] = 0  # the same split, and the same findings, every time
    learn = faces.face(faces.of_data(config)).learner(config)
    learn.doctor.silence(args.silent or ())
    found = learn.check()
    for code, why in found.failed.items():
        log.warning("the check %s could not be made: %s", code, why)
    if args.json:
        print(json.dumps([dataclasses.asdict(finding) for finding in found], indent=1, default=str))
    else:
        print(found)
    return int(any(finding.severity == "error" for finding in found))


# --- predict ------------------------------------------------------------------------------------------------------


def _predict(args: argparse.Namespace) -> int:
    from tipsai.container import writing
    from tipsai.load import load_learner

    ending = Path(args.out).suffix.lower() if args.out is not None else ".csv"
    if ending not in (".csv", ""):
        raise SettingError(f"--out is {args.out}; expected a name that ends in .csv.")
    learn = load_learner(args.artifact)
    name = faces.of_model(args.artifact, learn.builder.name if learn.builder is not None else None)
    if args.tta and name != "vision":
        raise SettingError(
            f"--tta is for pictures, and {args.artifact} holds a model of {faces.WORDS[name]}; leave it out."
        )
    face, out = faces.face(name), args.out
    options: dict[str, Any] = {"tta": True} if args.tta else {}
    if not ending:
        options["masks"] = _folder_of_masks(args.out, getattr(learn.dls, "task", ""))
        out = Path(args.out) / "predictions.csv"
    made = face.predict(learn, args.input, **options)
    if out is None:
        made.to_csv(sys.stdout, index=False)
    else:
        with writing(out) as file:
            made.to_csv(file, index=False)
        log.info("%s rows with predictions: %s", f"{len(made):,}", out)
    return 0


def _folder_of_masks(name: str, task: str) -> Path:
    """--out without the ending .csv.

    Raises:
        SettingError: the model predicts no masks.
        OutputError: something is there already.
    """
    if task != "segmentation":
        raise SettingError(
            f"--out is {name}; expected a name that ends in .csv. A folder takes masks, and these are none."
        )
    folder = Path(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"--out {name} is there already and is no empty folder; give a new one for the masks.")
    return folder


# --- generate -----------------------------------------------------------------------------------------------------


def _generate(args: argparse.Namespace) -> int:
    from tipsai.load import load_learner

    learn = load_learner(args.artifact)
    if not hasattr(learn, "stream"):
        raise DataError(f"{args.artifact} holds no language model; tipsai predict is for other models.")
    how = {name: getattr(args, name) for name in ("temperature", "top_k", "top_p", "stop", "seed")}
    made = learn.stream(args.prompt, args.n, **how)
    sys.stdout.write(args.prompt)
    for text in made:
        sys.stdout.write(text)
        sys.stdout.flush()
    print()
    return 0


# --- demo and tips ------------------------------------------------------------------------------------------------


def _demo(args: argparse.Namespace) -> int:
    figures = [row for name in faces.FACES for row in faces.face(name).demo()]
    if args.json:
        print(json.dumps(figures, indent=1))
        return 0
    from tipsai.core.text import table

    shown = {str: "{}", int: "{:,}", float: "{:.4g}"}
    rows = [[shown[type(v)].format(v) for v in row.values()] for row in figures]
    print(table(rows, list(figures[0])))
    return 0


def _tips(args: argparse.Namespace) -> int:
    from tipsai.tips import TIPS

    if args.code is None:
        for tip in TIPS.values():
            print(f"{tip.code}  {tip.advice}")
        return 0
    if args.code.upper() not in TIPS:
        raise SettingError(
            f"there is no tip {args.code!r}.{nearest(args.code.upper(), TIPS)} 'tipsai tips' lists them all."
        )
    chosen = TIPS[args.code.upper()]
    print(f"{chosen.code}  {chosen.advice}\n      {chosen.applied}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
