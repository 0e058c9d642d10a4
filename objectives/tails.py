"""Where a response begins in the tokens of its conversation, and what tokens it has."""

from collections.abc import Sequence
from dataclasses import dataclass

from objectives.errors import ObjectiveError
from objectives.live_model import LiveModel
from objectives.prompts import render, token_ids
from objectives.request import Prompt


@dataclass(frozen=True, slots=True)
class Tail:
    """What follows a prompt in the tokens of a whole conversation.

    Attributes:
        tokens: from where the prompt was cut to the conversation's end.
        begin: the first of them that is the response's own.
    """

    tokens: tuple[int, ...]
    begin: int

    def scored(self) -> int:
        """How many tokens the response has, its end included."""
        return len(self.tokens) - self.begin


def tails(live: LiveModel, prompt: Prompt, responses: Sequence[str]) -> tuple[int, list[Tail]]:
    """Tokens of each response behind one prompt, as the rendered conversations have them.

    Mostly the conversation's tokens begin with the prompt's. Where they do not (a token joins the
    prompt's end and the response's beginning, or the template writes an answered prompt
    differently) the prompt is cut where the first response departs from it.

    Returns:
        How many tokens the prompt must lose, and what follows it then, one per response.

    Raises:
        ObjectiveError: the chat template leaves no token for a response.
    """
    begin = token_ids(live, render(live, prompt))
    wholes = [token_ids(live, render(live, prompt, response)) for response in responses]
    common = [_common(begin, whole) for whole in wholes]
    kept = min(common, default=len(begin))
    found = [
        Tail(tuple(whole[kept:]), same - kept) for whole, same in zip(wholes, common, strict=True)
    ]
    for response, tail in zip(responses, found, strict=True):
        if tail.scored() < 1:
            raise ObjectiveError(
                f"the chat template leaves no token for the response {response[:60]!r} to "
                f"{prompt.turns[-1].text[:60]!r}."
            )
    return len(begin) - kept, found


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the longest common beginning."""
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))
