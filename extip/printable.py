"""Text of others, as it may be shown. Pure.

Whoever may write a Service may write anything into its annotations: escape sequences that change
the terminal of whoever reads it, and line breaks that forge lines of a table or of a log.
"""


def printable(text: str) -> str:
    r"""Return the text on one line, with characters that are not to be seen as escapes (`\x1b`).

    Those are control characters, line breaks, and marks that turn the direction of writing.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else _escaped(one) for one in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
