"""Whether the Jinja file that a study or recipe names as its chat template is there."""

from pathlib import Path

from merge_ops.yaml_file import Location


def template_problems(template: str, place: Location) -> list[tuple[Location, str]]:
    """What is wrong with a template that was made absolute; "target" and "reward_head" are right.

    Args:
        template: as in a `Recipe`.
        place: of the key in its file.
    """
    if template in {"target", "reward_head"}:
        return []
    try:
        found = Path(template).is_file()
    except OSError:
        found = False
    text = f"must be target, reward_head or a Jinja file, but there is no file {template!r}"
    return [] if found else [(place, f"{'.'.join(map(str, place))}: {text}")]
