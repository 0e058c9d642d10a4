"""Captions of images, for a model that reads only text."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from merge_ops.atomic import write_text
from merge_ops.errors import UserError
from merge_ops.recipe import Recipe
from objectives.data import Example
from objectives.evaluation import Evaluation
from objectives.generation import Generation
from studies.disk import with_room
from studies.evaluator import Evaluator

Captions = Mapping[str, Mapping[str, str]]
"""By objective and example id."""
PROMPT = "Describe the image in detail, with all text and numbers that it shows."
_LONGEST = 256  # tokens


def with_caption(example: Example, caption: str) -> Example:
    """The example with its image told in words."""
    if not example.images:
        return example
    question = f"Image description: {caption}\n\n{example.question}"
    return replace(example, question=question, images=())


def describe_images(
    evaluator: Evaluator,
    recipe: Recipe,
    examples: Mapping[str, Sequence[Example]],
    path: Path,
) -> Captions:
    """Let a model caption the images of each objective's examples, once; kept in a file.

    Args:
        evaluator: holds the live model.
        recipe: the model that describes.
        examples: by objective.
        path: where captions are kept; those of another model, prompt or other examples are made
            anew.
    """
    by = f"{evaluator.digest(recipe)} {_LONGEST} {PROMPT}"
    kept = _kept(path)
    if kept.get("by") == by and _complete(kept["captions"], examples):
        captions: Captions = kept["captions"]
        return captions
    evaluator.resident.become(recipe)
    asks = [
        Generation(name, {"test": shown}, max_new_tokens=_LONGEST, prompt=PROMPT)
        for name, own in examples.items()
        if (shown := [example for example in own if example.images])
    ]
    found: dict[str, dict[str, str]] = {name: {} for name in examples}
    told = Evaluation(evaluator.resident, asks, evaluator.engine).replies("test") if asks else ()
    for ask, replies in told:
        found[asks[ask.objective].name][ask.example.id] = replies[0].texts[0].strip()
    for name, own in examples.items():
        found[name] |= {e.id: "" for e in own if e.id not in found[name]}
    content = {"by": by, "prompt": PROMPT, "captions": found}
    text = json.dumps(content, indent=1) + "\n"
    with_room(partial(write_text, path, text), path.parent, evaluator.disk_wait)
    return found


def _kept(path: Path) -> dict[str, Any]:
    """What an earlier run wrote; empty where there is nothing, or it is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) and "captions" in content else {}


def read_captions(path: Path, examples: Mapping[str, Sequence[Example]]) -> Captions:
    """Captions from JSON lines of `id` and `caption`.

    Raises:
        UserError: it cannot be read, or an example with an image has none.
    """
    found: dict[str, str] = {}
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.strip():
                row = json.loads(line)
                found[str(row["id"])] = str(row["caption"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{path}: captions must be JSON lines of id and caption, but "
            f"{type(error).__name__}: {error}."
        ) from None
    missing = [e.id for own in examples.values() for e in own if e.images and e.id not in found]
    if missing:
        raise UserError(
            f"{path}: every image needs a caption, but {len(missing)} of the test split have "
            f"none, such as {missing[0]}."
        )
    return {name: {e.id: found.get(e.id, "") for e in own} for name, own in examples.items()}


def _complete(captions: Captions, examples: Mapping[str, Sequence[Example]]) -> bool:
    return all(e.id in captions.get(name, {}) for name, own in examples.items() for e in own)
