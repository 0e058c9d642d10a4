"""What the model card of an export says about views: the unified model, or one task's."""

from merge_ops.recipe import Recipe
from merge_ops.references import short_name
from merge_ops.view_files import MASKS_FILE
from merge_ops.view_recipes import view_name

_WHOLE = """\
## Views

`model.safetensors` holds the unified model theta_0 + tau_u of EMR-Merging (Huang et al.,
arXiv:2405.17461). Each task has its own view of it,

    theta_0 + rescaler * mask * tau_u,    tau_u = unified - theta_0,

which also needs the base model theta_0: `{base}`. Tasks, by number:

{tasks}

`{masks}` holds for task number i and every merged tensor NAME of `model.safetensors`:

- `mask.i.NAME`, uint8, ceil(n / 8) bytes for n entries: entry k, row by row, is the bit of value
  2 ** (k % 8) in byte k // 8; `numpy.unpackbits(x, bitorder="little", count=n)` reads it.
- `rescaler.i.NAME`, float32, one number.

Its metadata names the tasks (`tasks`, JSON), the dtype in which tau_u is taken and the sha256 of
the base. Tensors that are not in it are the same in all views.

```python
from pathlib import Path

from merge_ops.views import apply_view

model = apply_view(Path("."), {first!r}, base={base!r})
```

This equals the view that was scored bit for bit wherever unified - theta_0 is exact (one sign,
within a factor of two, or one of them 0), elsewhere within two rounding steps of the larger, times
the rescaler. `mergetuna merge recipe.yaml --task NAME --out DIR` writes a view as a plain
checkpoint, from the experts themselves.

"""

_ONE = """\
## View

This is {what} of an EMR merge (Huang et al., arXiv:2405.17461) of the tasks {tasks}.

"""


def views_section(recipe: Recipe) -> str:
    """The section about views, or nothing where the recipe names no tasks."""
    if recipe.has_views():
        numbered = "\n".join(
            f"- {i}: `{task}`, expert `{short_name(model)}`"
            for i, (task, model) in enumerate(recipe.tasks.items())
        )
        return _WHOLE.format(
            base=recipe.base_model,
            tasks=numbered,
            masks=MASKS_FILE,
            first=next(iter(recipe.tasks)),
        )
    task = view_name(recipe)
    if task is None:
        return ""
    what = "the unified model, without masks," if task == "unified" else f"the view of `{task}`"
    return _ONE.format(what=what, tasks=", ".join(f"`{name}`" for name in recipe.tasks))
