"""Addresses and errors of others, as a user may read them: in one line, without a password."""

import os
import re

PASSWORD = "MERGETUNA_STORAGE_PASSWORD"
"""The environment's variable for that of a ledger's database."""
_LONGEST = 300  # characters


def without_secrets(text: str) -> str:
    """The text without passwords: those in addresses, and the one of the environment.

    Of web addresses the user goes too: a token may stand there.
    """
    secret = os.environ.get(PASSWORD)
    text = text.replace(secret, "***") if secret else text
    text = re.sub(r"(https?)://[^/@\s]*@", r"\1://", text)
    return re.sub(r"//([^/@:\s]*):[^/@\s]*@", r"//\1:***@", text)


def reason_of(error: BaseException) -> str:
    """Why a store failed: the first line of the first error, around which others stand."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    first = str(error).strip().partition("\n")[0]
    return without_secrets(f"{type(error).__name__}: {first}".removesuffix(": "))[:_LONGEST]
