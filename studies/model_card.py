"""The model card of an export: what it is, how to load it, scores, lineage, licences, recipe."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from merge_ops.recipe import Recipe
from merge_ops.recipe_text import recipe_text
from merge_ops.resident import ResidentModel
from studies.licences import common_licence, licence_section
from studies.parents import Parent, find_parents
from studies.reward_code import REWARD_FILE
from studies.view_card import views_section

_PLAIN_USE = """\
```python
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
model = {kind}.from_pretrained(folder).eval()
processor = AutoProcessor.from_pretrained(folder)
head = load_file(f"{{folder}}/reward_head.safetensors", device=str(model.device))


@torch.no_grad()
def reward(inputs):  # what a processor gives for B conversations; returns B scores
    hidden = model.base_model(**inputs).last_hidden_state  # (B, T, hidden size)
    mask = inputs["attention_mask"]  # (B, T), padded on either side
    last = (mask * torch.arange(1, mask.shape[1] + 1).to(mask)).argmax(-1)  # that counts
    hidden = hidden[torch.arange(len(hidden)).to(last), last]  # (B, hidden size)
    return torch.nn.functional.linear(hidden, head["score.weight"], head.get("score.bias"))[:, 0]


def encode(conversations, **images):  # turns of the user and the assistant; images=[...] if any
    texts = [processor.apply_chat_template(turns, tokenize=False) for turns in conversations]
    return processor(
        text=texts, add_special_tokens=False, padding=True, return_tensors="pt", **images
    )
```

`reward(encode([chosen, rejected], images=[image, image]))` scores the two responses of a pair.
"""

_ONE_LINE_USE = """\

Or in one line, which runs the code in `{file}` (read it first; it is short):

```python
from transformers import AutoModelForSequenceClassification

model = AutoModelForSequenceClassification.from_pretrained(".", trust_remote_code=True)
scores = model(**inputs).logits[:, 0]
```
"""

_SPLITS = {
    "selection": "seen by the search",
    "confirm": "the winner was chosen on it, so a little too high",
    "test": "for reporting alone",
}


def model_card(resident: ResidentModel, recipe: Recipe, folder: Path) -> str:
    """The text of README.md for the live model, which has become `recipe`.

    Args:
        resident: the live model.
        recipe: with the provenance that is reported.
        folder: of the checkpoint, already holding its other files.
    """
    parents = find_parents(recipe)
    target = next(parent.name for parent in parents if "target" in parent.roles)
    sections = {
        "Use": _use(resident, folder) + _template(recipe),
        "Scores": _scores(resident, recipe.provenance),
        "Parents": _lineage(parents),
        "Licences": licence_section(parents),
        "Recipe": (
            f"Digest (by the models' references): `{recipe.digest()}`\n\n"
            f"```yaml\n{recipe_text(recipe, folder)}```"
        ),
    }
    vocabulary = "".join(f"- {line}\n" for line in resident.vocabulary)
    texts = [f"## {title}\n\n{text.strip()}\n\n" for title, text in sections.items() if text]
    methods = " and ".join(recipe.methods())
    return (
        f"---\n{_front_matter(resident, parents)}\n---\n\n# A {methods} merge\n\n"
        f"Made by Mergetuna without training. Target: `{target}`. "
        f"Merged tensors: {len(resident.merged_names)}.\n\n{vocabulary}\n"
        f"{views_section(recipe)}{''.join(texts)}".rstrip()
        + "\n"
    )


def _front_matter(resident: ResidentModel, parents: Sequence[Parent]) -> str:
    from huggingface_hub import ModelCardData

    hub = [parent.reference.partition("@")[0] for parent in parents if not parent.is_local]
    tags = ["merge", "mergetuna"] + (["reward-model"] if resident.score_head is not None else [])
    licence: dict[str, Any] = dict(common_licence(parents))
    data = ModelCardData(
        library_name="transformers",
        tags=tags,
        base_model=hub or None,
        base_model_relation="merge" if hub else None,
        **licence,
    )
    return str(data.to_yaml())


def _use(resident: ResidentModel, folder: Path) -> str:
    kind = type(resident.module).__name__
    if resident.score_head is None:
        return _PLAIN_USE.format(kind=kind)
    text = _REWARD_USE.format(kind=kind)
    coded = (folder / REWARD_FILE).exists()
    return text + (_ONE_LINE_USE.format(file=REWARD_FILE) if coded else "")


def _template(recipe: Recipe) -> str:
    """Whose chat template the folder holds."""
    facts = recipe.provenance.get("chat_template")
    if not isinstance(facts, Mapping):
        return ""
    return (
        f"\nConversations are formatted by the chat template of the {facts['of']} "
        f"(`{facts['source']}`), which lies in this folder; sha256 `{facts['sha256']}`.\n"
    )


def _lineage(parents: Sequence[Parent]) -> str:
    """A line per parent: its part, where it came from itself, its sum."""
    lines = []
    for parent in parents:
        line = f"- `{parent.name}`: {', '.join(parent.roles)}"
        if parent.made_from:
            line += f"; its card says that it was made from {', '.join(parent.made_from)}"
        lines.append(line + (f"; sha256 `{parent.sha256}`" if parent.sha256 else ""))
    return "\n".join(lines)


def _scores(resident: ResidentModel, provenance: Mapping[str, Any]) -> str:
    """What the recipe's provenance says of scores; empty where it says nothing."""
    rows = []
    for split, meaning in _SPLITS.items():
        found = provenance.get(split)
        if not isinstance(found, Mapping) or "score" not in found:
            continue
        rows.append(f"| {split}: {meaning} | all | {_share(found['score'])} |")
        parts = found.get("objectives")
        if isinstance(parts, Mapping) and len(parts) > 1:
            rows += [f"| {split} | {name} | {_share(value)} |" for name, value in parts.items()]
    if not rows:
        return ""
    head = ["| split | objective | % [95 %] |", "| --- | --- | ---: |"]
    return "\n".join([*head, *rows, "", *_circumstances(resident, provenance)])


def _share(value: object) -> str:
    """A score in per cent, with its interval where it is known."""
    if isinstance(value, Mapping):
        low, high = (_share(value.get(key)) for key in ("low", "high"))
        interval = f" [{low}, {high}]" if {"low", "high"} <= value.keys() else ""
        return _share(value.get("value")) + interval
    return f"{100 * value:.1f}" if isinstance(value, (int, float)) else "unknown"


def _circumstances(resident: ResidentModel, provenance: Mapping[str, Any]) -> list[str]:
    """How the scores came about: the study, looks at the test split, the dtype."""
    lines = []
    if "study" in provenance:
        lines.append(f"Study `{provenance['study']}`, trial {provenance.get('trial')}.")
    test = provenance.get("test")
    if isinstance(test, Mapping) and "reads" in test:
        lines.append(f"The test split had been read {test['reads']} times in that study's folder.")
    runtime = provenance.get("runtime")
    scored = runtime.get("dtype") if isinstance(runtime, Mapping) else None
    written = str(next(resident.module.parameters()).dtype).removeprefix("torch.")
    if scored not in (None, written):
        lines.append(
            f"Scored in {scored}, written here in {written}: some examples may come out "
            "differently; `mergetuna eval` says how many."
        )
    return lines
