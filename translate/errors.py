"""What a person did wrong, as opposed to what the program did."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """One line that says what was wrong, where, and how to mend it; commands exit with 2."""


class TooLargeError(ValueError):
    """A picture that this machine's memory does not hold; the message says how to mend it."""


def nearest(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` or, where nothing is close, ``; choose a, b, c``."""
    options = sorted(known)
    close = difflib.get_close_matches(word, options, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; choose {', '.join(options)}"
