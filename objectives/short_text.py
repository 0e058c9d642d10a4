"""The normal form in which short texts are compared."""

import re
import unicodedata

# between digits, the sign or the point in front of one, the percent sign behind one
_NUMBER_MARK = re.compile(r"(?<=\d)[^\w\s](?=\d)|(?<![^\s(])-(?=\.?\d)|(?<!\w)\.(?=\d)|(?<=\d)%")
_ARTICLE = re.compile(r"\b(?:a|an|the)\b\s+(?=\w)")


def normal_form(text: str) -> str:
    """Case, width of spaces, articles and punctuation taken away; marks inside numbers stay."""
    text = unicodedata.normalize("NFKC", text).casefold()
    kept = {match.start() for match in _NUMBER_MARK.finditer(text)}
    letters = (c for i, c in enumerate(text) if i in kept or not _is_mark(c))
    return _ARTICLE.sub("", " ".join("".join(letters).split()))


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("P") or character in "`^~"
