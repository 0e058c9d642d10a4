"""What can be searched of the merge methods of a study."""

from merge_ops.method import Method
from merge_ops.rewriting import find_method
from search.naming import METHOD
from studies.config import StudyConfig


def searched_methods(config: StudyConfig) -> list[Method]:
    """Every method that a study's candidates may have; its own first."""
    names = dict.fromkeys([config.method, *map(str, config.search.choices.get(METHOD, ()))])
    return [find_method(name) for name in names]


def solved_knobs(op: Method) -> list[str]:
    """Knobs for each of whose values a method has to solve every tensor."""
    return [knob for knob in op.knobs if op.traits.solve and knob != op.traits.scale]


def listable(op: Method) -> list[str]:
    """Names that may be searched over a list: one value for the whole recipe makes sense."""
    switches = (op.traits.base_switch, op.traits.views)
    one = [knob for knob, known in op.knobs.items() if not known.per_expert]
    return sorted([*one, *(option for option in op.options if option not in switches)])
