"""What the documents show runs as given: the README's blocks and the notebooks."""

import os
import re
import shlex
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
NOTEBOOKS = sorted((ROOT / "nbs").glob("*.ipynb"))
NOTEBOOK_SECONDS = 300


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Small models gain nothing from threads, and on a busy machine threads that wait for each other lose a lot."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def lay_out_pictures(folder: Path) -> None:
    """What the README's folders, tables and weights of pictures stand for: small stripes, and weights of no worth."""
    import pandas as pd
    import torch
    from PIL import Image
    from torchvision.models import resnet18

    from tipsai import toys

    made = toys.images(72, size=24, n_classes=3, seed=1)
    rows = []
    for i, (x_chw, label) in enumerate(zip(made.x, made.y.tolist(), strict=True)):
        kind = ("daisy", "rose", "tulip")[label]
        leaf = Image.fromarray((x_chw[0] > 128).byte().numpy())
        places = {
            f"{'more_flowers' if i % 6 == 5 else 'flowers'}/{kind}/{i}.png": x_chw,
            f"named/{kind}_{i}.png": x_chw,
            f"leaves/images/{i}.png": x_chw,
        }
        if i < 5:
            places[f"new_flowers/{i}.png"] = x_chw
        for name, picture in places.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture.permute(1, 2, 0).numpy()).save(folder / name)
        (folder / "leaves/masks").mkdir(exist_ok=True)
        leaf.save(folder / f"leaves/masks/{i}.png")
        tags = ("red wild", "red", "wild", "")[i % 4]
        rows.append((f"named/{kind}_{i}.png", kind, tags, 20 + i / 7, 6 + i % 12, 9 + i % 7, f"leaves/masks/{i}.png"))
    columns = ["file", "kind", "tags", "height", "centre_x", "centre_y", "mask"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "flowers.csv", index=False)
    torch.save(resnet18().state_dict(), folder / "resnet18.pth")


def lay_out_text(folder: Path) -> None:
    """A play of few words, and reviews of fewer."""
    lines = ("ROMEO: O, speak again.", "JULIET: Good night, good night!", "ROMEO: Good night.", "")
    moods = [f"{'Fine' if i % 2 else 'Dull'},a film,{'good' if i % 2 else 'bad'}\n" for i in range(60)]
    (folder / "reviews.csv").write_text("title,body,mood\n" + "".join(moods))
    (folder / "plays.txt").write_text("".join(lines[i * i % 4] + "\n" for i in range(400)))


def run_blocks(folder: Path) -> subprocess.CompletedProcess[str]:
    """All python blocks in one namespace, in order, in a process of their own; an error names its line of the README."""
    padded = []
    for block in blocks("python"):
        at = README[: README.index(block)].count("\n")
        padded.append("\n" * (at - sum(part.count("\n") for part in padded)) + block)
    lay_out_pictures(folder)
    lay_out_text(folder)
    script = folder / "readme.py"
    script.write_text("".join(padded), encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-W", "error", script.name], cwd=folder, capture_output=True, text=True, timeout=300
    )


def test_every_python_block_of_the_readme_runs(tmp_path):
    done = run_blocks(tmp_path)
    assert len(blocks("python")) >= 4
    assert done.returncode == 0, f"(line numbers are the README's)\n{done.stderr}"
    assert (tmp_path / "model.tips").exists()


def commands() -> list[list[str]]:
    """The README's own tipsai commands, each as words. "a && b" is two."""
    lines = [part.strip() for block in blocks("shell") for line in block.splitlines() for part in line.split("&&")]
    return [shlex.split(line) for line in lines if line.startswith("tipsai ")]


def test_the_set_up_commands_are_the_promised_ones():
    assert 'pip install -e ".[all]" && tipsai demo\n' in README
    assert 'pip install -e ".[dev]" && python -m pytest -n auto\n' in README
    assert 'pip install -e ".[dev]" && python -m pytest -n auto\n' in (ROOT / ".ci/run").read_text()
    assert os.access(ROOT / ".ci/run", os.X_OK)


def test_every_command_of_the_readme_runs(tmp_path):
    from tipsai import toys

    toys.table(150, seed=1).frame.to_csv(tmp_path / "flats.csv", index=False)
    toys.table(30, seed=2).frame.to_csv(tmp_path / "new_flats.csv", index=False)
    lay_out_pictures(tmp_path)
    lay_out_text(tmp_path)
    found = commands()
    assert {words[1] for words in found} >= {"demo", "train", "predict", "tips"}
    for words in found:
        if words[1] == "demo":
            continue  # the tests of the command line run it
        more = ["--epochs", "2"] if words[1] == "train" else []
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "tipsai.cli", *words[1:], *more],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stderr}"
    for name in ("predictions.csv", "runs/flats/metrics.json", "new_flowers.csv", "runs/flowers/metrics.json"):
        assert (tmp_path / name).exists()


def test_links_in_the_readme_lead_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path, monkeypatch):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Jupyter's own packages warn of is not ours
        import nbformat
        from nbclient import NotebookClient

        monkeypatch.setenv("PYTHONWARNINGS", "ignore:::zmq,ignore:::jupyter_client")
        notebook = nbformat.read(path, as_version=4)
        folder = {"metadata": {"path": str(tmp_path)}}
        NotebookClient(notebook, timeout=NOTEBOOK_SECONDS, kernel_name="python3", resources=folder).execute()
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            assert output.get("name") != "stderr", (
                f"the cell below writes to standard error\n{cell.source}\n{output.text}"
            )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_committed_with_outputs_that_a_code_host_can_show(path):
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.cells[0].cell_type == "markdown" and notebook.cells[0].source.startswith("# ")
    ran = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in ran] == list(range(1, len(ran) + 1)), "run it from top to bottom"
    outputs = [output for cell in ran for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 3, "pictures"
    text = path.read_text(encoding="utf-8")
    assert "application/vnd.jupyter.widget" not in text and "Traceback" not in text and "Warning:" not in text
    assert not re.search(r"/(home|root|Users|tmp|work)/", re.sub(r'"image/png": "[^"]*"', "", text)), "a machine's path"
    assert not any(output.get("name") == "stderr" for output in outputs)
