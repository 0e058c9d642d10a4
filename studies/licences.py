"""What the parents' licences mean for a merge: quoted from their cards, never guessed."""

from collections.abc import Sequence

from studies.parents import Parent

_UNKNOWN = "not stated"


def common_licence(parents: Sequence[Parent]) -> dict[str, str]:
    """The front matter of a card whose parents all name the same licence; else nothing."""
    stated = {(p.licence, tuple(sorted((p.terms or {}).items()))) for p in parents}
    if len(stated) != 1 or parents[0].licence is None:
        return {}
    return {"license": parents[0].licence, **(parents[0].terms or {})}


def licence_section(parents: Sequence[Parent]) -> str:
    """A line per parent, and what follows."""
    lines = [f"- `{p.name}`: {_stated(p)}" for p in parents]
    return "\n".join([*lines, "", _consequence(parents)])


def _stated(parent: Parent) -> str:
    if parent.licence is None:
        return f"{_UNKNOWN} (no `license` in the front matter of its README.md)"
    terms = parent.terms or {}
    more = [terms[key] for key in ("license_name", "license_link") if key in terms]
    return f"`{parent.licence}`" + (f" ({', '.join(more)})" if more else "")


def _consequence(parents: Sequence[Parent]) -> str:
    unknown = [f"`{p.name}`" for p in parents if p.licence is None]
    text = ""
    if unknown:
        text = (
            f"The licence of {', '.join(unknown)} is not known from its card: find it out before "
            "this model is passed on. "
        )
    if common_licence(parents):
        return "All parents name the same licence, and so does this card."
    if len({_stated(p) for p in parents if p.licence is not None}) > 1:
        text += (
            "The licences differ: this model is derived from all of its parents, so the terms of "
            "each hold at once, and where two contradict each other it may not be passed on. "
        )
    return f"{text}This card therefore names no licence of its own."
