"""The models that a checkpoint is made of: their parts in the recipe, and what their cards say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from merge_ops.hub import model_folder
from merge_ops.recipe import Recipe
from merge_ops.references import short_name, split_adapter

CARD = "README.md"


@dataclass(frozen=True, slots=True)
class Parent:
    """One model of a recipe.

    Attributes:
        reference: its folder or hub id.
        roles: what it is in the recipe: target, base, expert, reward head.
        licence: the `license` of its card's front matter, None where no card names one.
        terms: `license_name` and `license_link`, where the card has them.
        made_from: the `base_model` of its card: where it came from itself.
        sha256: of its files, where the recipe's provenance knows it.
    """

    reference: str
    roles: tuple[str, ...]
    licence: str | None = None
    terms: Mapping[str, str] | None = None
    made_from: tuple[str, ...] = ()
    sha256: str | None = None

    @property
    def is_local(self) -> bool:
        """Whether it is a folder, not a hub id."""
        return Path(split_adapter(self.reference)[0]).is_dir()

    @property
    def name(self) -> str:
        """Its folder's name, or its hub id."""
        return short_name(self.reference) if self.is_local else self.reference


def find_parents(recipe: Recipe) -> list[Parent]:
    """Every model of a recipe once, the target first, with what its card says.

    A card that is missing or has no readable front matter says nothing.

    Raises:
        UserError: a model is not there.
    """
    known = recipe.provenance.get("models_sha256")
    sums = known if isinstance(known, Mapping) else {}
    found = []
    for reference in recipe.references():
        card = _front_matter(model_folder(reference) / CARD)
        terms = {k: str(card[k]) for k in ("license_name", "license_link") if card.get(k)}
        found.append(
            Parent(
                reference,
                _roles(recipe, reference),
                ", ".join(_texts(card.get("license"))) or None,
                terms,
                tuple(_texts(card.get("base_model"))),
                sums.get(reference),
            )
        )
    return found


def _roles(recipe: Recipe, reference: str) -> tuple[str, ...]:
    experts = [m.model for m in recipe.models if m.model != recipe.base_model]
    parts: dict[str, list[str | None]] = {
        "target": [recipe.kept_from()],
        "base": [recipe.base_model],
        "expert": [*experts],
        "reward head": [recipe.reward_head],
    }
    return tuple(role for role, models in parts.items() if reference in models)


def _front_matter(path: Path) -> dict[str, Any]:
    """The YAML at the head of a card; empty where there is none that can be read."""
    from huggingface_hub.repocard import metadata_load
    from yaml import YAMLError

    try:
        return metadata_load(path) or {}
    except (OSError, ValueError, YAMLError):
        return {}


def _texts(value: object) -> list[str]:
    """One text, a list of them, or nothing, as a list."""
    several = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    return [str(one).strip() for one in several if isinstance(one, str) and one.strip()]
