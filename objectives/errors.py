"""What is wrong with an objective's data or scores, for the user to mend."""


class ObjectiveError(Exception):
    """Data or scores that cannot be used; the message says which, and what to do."""
