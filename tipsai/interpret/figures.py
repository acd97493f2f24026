"""What stands above a picture in a figure."""

from collections.abc import Mapping, Sequence
from typing import Any

from tipsai.data.show import short


def captions(kind: str, rows: Sequence[Mapping[Any, Any]], drawn: bool) -> tuple[list[str], list[bool]]:
    """A text for each item, and whether the model is wrong about it, which colours the text.

    Args:
        kind: see Interpretation.
        rows: what is known of the items.
        drawn: whether targets are drawn, and so need no words.
    """
    texts, wrong = [], []
    for row in rows:
        loss = f"loss {row['loss']:.2f}"
        if kind == "classes":
            text = f"{short(row['target'], 13)} → {short(row['prediction'], 13)}\n{row['probability']:.0%}, {loss}"
            wrong.append(row["target"] != row["prediction"])
        elif kind == "labels":
            said = "yes" if row["target"] else "no"
            text = f"{short(row.get('label', ''), 16)}: {said}\n{row['probability']:.0%} yes, {loss}"
            wrong.append(row["target"] != row["prediction"])
        elif kind == "numbers" and not drawn:
            text = f"{row['target']:.4g} → {row['prediction']:.4g}"
        else:
            text = f"IoU {row['iou']:.2f}" if "iou" in row else loss
        texts.append(text)
    return texts, wrong
