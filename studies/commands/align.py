"""`mergetuna align`: how an expert would be merged into a target."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from merge_ops.alignment import Alignment
    from merge_ops.verify import Verified


def align(
    target: Annotated[str, typer.Argument(help="Folder or hub id of the model to be written.")],
    expert: Annotated[
        str, typer.Argument(help="Folder, hub id, or MODEL+ADAPTER to merge into it.")
    ],
    device: Annotated[str, typer.Option(help="Where to verify: cpu, cuda, cuda:1 ...")] = "cpu",
    *,
    verify: Annotated[
        bool, typer.Option(help="Graft EXPERT into TARGET and compare their logits on a text.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show which layers and towers of EXPERT and TARGET meet, what is merged and what is kept.

    Reads headers alone, then verifies with the weights. Exits with 2 if the models do not pair,
    with 1 if they pair but the graft does not compute what EXPERT computes.
    """
    from dataclasses import asdict

    from rich.markup import escape

    from merge_ops.alignment import align as find
    from merge_ops.references import locate_here
    from merge_ops.runtime import Runtime
    from merge_ops.verify import verify_graft
    from studies.console import quiet_transformers, say, say_json

    quiet_transformers()
    runtime = Runtime(device=device)
    paths = locate_here(target), locate_here(expert)
    found = find(*paths)
    if not as_json:
        _show(found, target, expert)
    verified = None
    if verify and found.can_be_verified:
        verified = verify_graft(*paths, runtime)
    if as_json:
        graft = None if verified is None else {**asdict(verified), "holds": verified.holds}
        say_json({**asdict(found), "graft": graft})
    elif verified is None:
        say("graft    not verified" + (": one of them has no LM head" if verify else ""))
    else:
        say(escape(f"graft    {_sentence(verified)}"))
    if verified is not None and not verified.holds:
        raise typer.Exit(1)


def _show(found: "Alignment", target: str, expert: str) -> None:
    """What pairs, in lines."""
    from rich.markup import escape

    from merge_ops.decoder import layer_map
    from studies.console import say, warn

    say(escape(f"target   {found.target}, {found.depths[1]} layers, {target}"))
    say(escape(f"expert   {found.expert}, {found.depths[0]} layers, {expert}"))
    if found.adapter:
        say(escape(f"adapter  of the expert: {found.adapter}"))
    say(escape(f"layers   {layer_map(found.layers)}  (of the expert -> of the target)"))
    say(escape(f"merged   {_counts(found.merged)}"))
    say(escape(f"kept     of the target, {_counts(found.kept)}"))
    say(escape(f"unused   of the expert, {_counts(found.unused)}"))
    for note in found.notes:
        warn(f"note: {note}")
    for line in found.vocabulary:
        say(escape(f"on request  {line}"))
    if found.towers:
        say(escape(f"towers   of the target: {'; '.join(map(_tower, found.towers))}"))
    for difference in found.differences:
        warn(f"warning: {difference}")


def _tower(found: tuple[str, int, str | None]) -> str:
    """A tower of the target, and whether the expert's could stand in its place."""
    path, count, own = found
    other = "nothing of the expert's fits" if own is None else f"the expert's {own} fits"
    return f"{path} ({count} tensors): {other}"


def _counts(counts: Mapping[str, int]) -> str:
    """How many tensors stand where."""
    listed = [f"{count} in {place}" for place, count in sorted(counts.items())]
    return f"{sum(counts.values())} tensors: {', '.join(listed)}" if listed else "nothing"


def _sentence(verified: "Verified") -> str:
    """What came of the graft."""
    lent = f"; {' and '.join(verified.lent)} lent by the expert" if verified.lent else ""
    figures = (
        f"{verified.compared} differ by at most {verified.difference:.2g} "
        f"(largest {verified.largest:.3g}), {verified.grafted} tensors grafted{lent}"
    )
    if verified.holds:
        return f"verified: {figures}"
    return (
        f"FAILED: {figures}; shapes pair, but the target does not compute what the expert "
        "computes. Warnings above name what differs."
    )
