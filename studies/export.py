"""A candidate as a normal Hugging Face folder that plain transformers loads."""

import shutil
import warnings
from dataclasses import replace
from pathlib import Path

from safetensors.torch import save_file

from merge_ops.atomic import check_free, new_folder
from merge_ops.errors import UserError
from merge_ops.hub import model_folder
from merge_ops.layout import Layout
from merge_ops.live_tensors import whole_state
from merge_ops.loading import DTYPES, HEAD_FILE
from merge_ops.lowering import lower_recipe, needs_target
from merge_ops.recipe import Recipe
from merge_ops.recipe_text import recipe_text, write_recipe
from merge_ops.recipe_yaml import read_recipe
from merge_ops.residency import Runtime, load_resident
from merge_ops.resident import ResidentModel
from merge_ops.view_export import check_dtypes, write_views
from merge_ops.view_recipes import view_of
from studies.console import warn
from studies.view_card import views_section

_PROCESSOR_FILES = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "spiece.model",
    "*.tiktoken",
    "*processor_config.json",
    "chat_template*",
)

_PLAIN_USE = """\
```python
import torch
from transformers import AutoProcessor, {kind}

folder = "."
model = {kind}.from_pretrained(folder)
processor = AutoProcessor.from_pretrained(folder)
```
"""

_REWARD_USE = """\
```python
import torch
from safetensors.torch import load_file
from transformers import AutoProcessor, {kind}

folder = "."
model = {kind}.from_pretrained(folder)
processor = AutoProcessor.from_pretrained(folder)
head = load_file(f"{{folder}}/reward_head.safetensors")["score.weight"]  # (1, hidden size)


def reward(inputs):  # of processor(..., return_tensors="pt"); returns one score per row
    hidden = model.base_model(**inputs).last_hidden_state  # (B, T, hidden size)
    mask = inputs["attention_mask"]
    last = (mask * torch.arange(1, mask.shape[1] + 1)).argmax(-1)  # last token that counts
    return (hidden[torch.arange(len(hidden)), last] @ head.T)[:, 0]
```
"""


def export(resident: ResidentModel, recipe: Recipe, out: Path, *, overwrite: bool = False) -> None:
    """Write the live model, which must have become `recipe`, to the folder `out`.

    The folder holds config, `model.safetensors`, tokenizer or processor, `recipe.yaml` and a model
    card; a reward model also `reward_head.safetensors` with `score.weight` of shape (1, hidden
    size); a recipe with views the unified model, and `emr_masks.safetensors`. It appears under its
    name only when it is whole.

    Raises:
        UserError: `out` exists and is not empty, and `overwrite` is not set; or the dtype is too
            coarse for views.
    """
    source = model_folder(recipe.kept_from())
    with new_folder(out, overwrite=overwrite) as scratch:
        state = whole_state(resident.module)  # offloaded weights too
        with warnings.catch_warnings():  # of the memory that offloaded weights take: they are here
            warnings.filterwarnings("ignore", message="Attempting to save a model with offloaded")
            resident.module.save_pretrained(scratch, state_dict=state)  # type: ignore[operator]
        for pattern in _PROCESSOR_FILES:
            for path in source.glob(pattern):
                shutil.copyfile(path, scratch / path.name)
        if recipe.template != "target":
            resident.processor.save_pretrained(scratch)
        if resident.score_head is not None:
            tensors = resident.score_head.state_dict()
            save_file(
                {f"score.{k}": v.contiguous().cpu() for k, v in tensors.items()},
                scratch / HEAD_FILE,
                metadata={"format": "pt"},
            )
        if recipe.has_views():
            write_views(resident, recipe, scratch)
        write_recipe(recipe, scratch / "recipe.yaml")
        (scratch / "README.md").write_text(_card(resident, recipe, scratch), encoding="utf-8")


def build_checkpoint(
    path: Path,
    out: Path,
    *,
    runtime: Runtime | None = None,
    dtype: str | None = None,
    task: str | None = None,
    overwrite: bool = False,
) -> tuple[Recipe, int]:
    """Build the model of a recipe file; returns the recipe and how many tensors were merged.

    Args:
        path: the recipe.
        out: folder of the checkpoint.
        runtime: where to compute; the CPU if left out.
        dtype: of the written weights; None for the recipe's.
        task: whose view to write as a plain checkpoint, of a recipe with views; None for the
            unified model with all masks.
        overwrite: replace `out` if it exists.

    Raises:
        UserError: the recipe or a model cannot be read, `out` exists, or there is no such task.
    """
    if dtype is not None and dtype not in DTYPES:
        raise UserError(f"--dtype must be one of {', '.join(DTYPES)}, but got {dtype!r}.")
    notes: list[str] = []
    recipe = read_recipe(path, notes)
    for note in notes:
        warn(f"note: {note}")
    if task is not None:
        recipe = view_of(recipe, task)
    if dtype is not None:
        recipe = replace(recipe, out_dtype=dtype)
    if recipe.has_views():
        check_dtypes(recipe)
    check_free(out, overwrite=overwrite)
    resident = load_resident(recipe, runtime or Runtime(report=warn), also=needs_target(recipe))
    layout = Layout(resident.layers, tuple(resident.merged_names))
    recipe = lower_recipe(recipe, layout, path)
    resident.become(recipe)
    export(resident, recipe, out, overwrite=overwrite)
    return recipe, len(resident.merged_names)


def _card(resident: ResidentModel, recipe: Recipe, folder: Path) -> str:
    """The model card: what was merged, how to load it, the recipe."""
    kind = type(resident.module).__name__
    use = (_REWARD_USE if resident.score_head is not None else _PLAIN_USE).format(kind=kind)
    parents = "\n".join(f"- `{Path(ref).name}` ({ref})" for ref in recipe.references())
    return (
        "---\nlibrary_name: transformers\ntags: [merge, mergetuna]\n---\n\n"
        f"# A {recipe.method} merge\n\n"
        f"Made by Mergetuna without training. Target: `{Path(recipe.kept_from()).name}`. "
        f"Merged tensors: {len(resident.merged_names)}.\n\n"
        f"{views_section(recipe)}"
        f"## Parents\n\n{parents}\n\n## Use\n\n{use}\n"
        f"## Recipe\n\nDigest (by the names above): `{recipe.digest()}`\n\n"
        f"```yaml\n{recipe_text(recipe, folder)}```\n"
    )
