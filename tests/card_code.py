"""Runs the code of exported reward models' cards on pairs of the demo; no project is imported.

    python card_code.py ANSWERS PARQUET COUNT FOLDER...

ANSWERS gets, for each folder and pair, the score of the chosen response minus the rejected one's:
by the lines in the card, by the one-line loader, and by what that loader's model saved again.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq  # type: ignore[import-untyped]
import torch
from PIL import Image
from transformers import AutoModelForSequenceClassification

Row = Mapping[str, Any]


def turns(row: Row, role: str) -> list[dict[str, Any]]:
    """One conversation about a picture."""
    asked = [{"type": "image"}, {"type": "text", "text": row["question"]}]
    said = [{"type": "text", "text": row[role]}]
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]


def margins(rows: Sequence[Row], encode: Callable[..., Any], reward: Callable[..., Any]) -> Any:
    """One per pair."""
    images = [Image.open(BytesIO(row["image"]["bytes"])).convert("RGB") for row in rows]
    chosen, rejected = (
        reward(encode([turns(row, role) for row in rows], images=images))
        for role in ("chosen", "rejected")
    )
    return (chosen - rejected).tolist()


@torch.no_grad()
def answers(folder: Path, rows: Sequence[Row]) -> dict[str, Any]:
    os.chdir(folder)  # the card says folder = "."
    code = re.findall(r"```python\n(.*?)```", Path("README.md").read_text(), re.DOTALL)
    card: dict[str, Any] = {}
    exec(code[0], card)  # noqa: S102 (the point of it)
    found = {"card": margins(rows, card["encode"], card["reward"])}
    blank = Image.new("RGB", (32, 32))
    short = {"inputs": card["encode"]([turns(rows[0], "chosen")], images=[blank])}
    exec(code[1], short)  # noqa: S102
    assert short["scores"].shape == (1,)
    model = short["model"]

    def by(one: Any) -> Any:
        return margins(rows, card["encode"], lambda inputs: one(**inputs).logits[:, 0])

    model.save_pretrained(folder.with_name(f"{folder.name}-again"))
    auto: Any = AutoModelForSequenceClassification
    again, info = auto.from_pretrained(
        folder.with_name(f"{folder.name}-again"), trust_remote_code=True, output_loading_info=True
    )
    assert not info["missing_keys"]
    return {**found, "one_line": by(model), "again": by(again)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    out, parquet, count, *folders = sys.argv[1:]
    table = pq.read_table(parquet).slice(0, int(count)).to_pylist()
    result = {folder: answers(Path(folder), table) for folder in folders}
    assert not {"merge_ops", "objectives", "search", "studies"} & sys.modules.keys()
    Path(out).write_text(json.dumps(result))
