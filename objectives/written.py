"""What went wrong with a written answer, as flags of its score."""

from objectives.request import Reply
from objectives.verdict import Verdict


def mishaps(reply: Reply, verdict: Verdict) -> tuple[str, ...]:
    """The flags of one reply: no answer found, nothing written, cut at its longest."""
    return (
        *(() if verdict.parsed else ("unparsed",)),
        *(() if any(text.strip() for text in reply.texts) else ("empty",)),
        *(("truncated",) if reply.truncated else ()),
    )
