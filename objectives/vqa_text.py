"""The normal form of short answers that VQA evaluation compares."""

import re
from collections.abc import Iterator

# Goyal et al., arXiv:1612.00837; the form used for TextVQA also sets off the possessive.
_NUMBER_WORDS = {
    word: str(number)
    for number, word in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    )
} | {"none": "0"}
_ARTICLES = ("a", "an", "the")
_MARKS = ';/[]"{}()=+\\_-><@`!'
_APOSTROPHES = str.maketrans({"\u2018": "'", "\u2019": "'"})
_STOP = re.compile(r"\.(?!\d)")  # a full stop, not the point of a number
_CONTRACTED = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't
haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't
mightn't've might've mustn't must've needn't not've o'clock oughtn't 'ow's'at shan't she'd've
should've shouldn't shouldn't've somebody'd somebody'd've somebody'll somebody's someone'd
someone'd've someone'll someone's something'd something'd've something'll that's there'd
there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've
weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll who's
who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd
you'd've you'll you're you've
"""


def _misspelt(word: str) -> Iterator[str]:
    """The word with one of its apostrophes left out."""
    return (word[:i] + word[i + 1 :] for i, letter in enumerate(word) if letter == "'")


_CONTRACTIONS = {wrong: word for word in _CONTRACTED.split() for wrong in _misspelt(word)}


def vqa_normal_form(text: str) -> str:
    """Lower case, no articles, digits for number words, apostrophes put back, marks dropped.

    A mark with a space beside it goes without a trace, any other becomes a space: that is what
    the reference programs do, rather than what their description says.
    """
    text = text.translate(_APOSTROPHES).lower().replace(",", "").replace("?", "")
    text = " ".join(text.replace("'s", " 's").split())
    plain = text
    for mark in _MARKS:
        if mark in text:
            beside_space = f"{mark} " in text or f" {mark}" in text
            plain = plain.replace(mark, "" if beside_space else " ")
    words = _STOP.sub("", plain).split()
    words = [_NUMBER_WORDS.get(word, word) for word in words]
    return " ".join(_CONTRACTIONS.get(w, w) for w in words if w not in _ARTICLES)
