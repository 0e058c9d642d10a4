"""The coordinator's paths on a node that has the files elsewhere."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from merge_ops.recipe import Recipe
from merge_ops.yaml_file import read_yaml


def moved(reference: str, root: str) -> str:
    """A model's reference on this node: paths behind `root`, hub ids as they are."""
    return re.sub(r"(?:^|(?<=\+))(?=/)", lambda _: root, reference)


def relocated(recipe: Recipe, root: str) -> Recipe:
    """The coordinator's recipe with the paths of this node."""
    if not root:
        return recipe

    def at(reference: str | None) -> str | None:
        return None if reference is None else moved(reference, root)

    def all_at(named: Mapping[str, str]) -> dict[str, str]:
        return {key: moved(value, root) for key, value in named.items()}

    found = recipe.statistics
    return replace(
        recipe,
        models=tuple(replace(one, model=moved(one.model, root)) for one in recipe.models),
        base_model=at(recipe.base_model),
        target=at(recipe.target),
        reward_head=at(recipe.reward_head),
        towers=all_at(recipe.towers),
        tasks=all_at(recipe.tasks),
        template=moved(recipe.template, root),
        statistics=found and replace(found, path=moved(found.path, root)),
    )


def study_text(file: Path, needs: Sequence[str]) -> str:
    """The study file as JSON, which is YAML; every path that is shipped relative to it."""
    places = {str(Path(place).resolve()) for place in needs}

    def plain(part: str) -> str:
        try:
            there = str((file.parent / Path(part).expanduser()).resolve())
        except (OSError, RuntimeError, ValueError):
            return part
        return os.path.relpath(there, file.parent) if part and there in places else part

    def walk(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: walk(value) for key, value in node.items()}
        if isinstance(node, list):
            return [walk(value) for value in node]
        if not isinstance(node, str):
            return node
        whole = plain(node)
        return whole if whole != node else "".join(map(plain, re.split(r"([+:])", node)))

    return json.dumps(walk(read_yaml(file).data))
