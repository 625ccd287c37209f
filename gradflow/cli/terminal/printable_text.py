"""Text from the service that a terminal can show safely."""

from rich.text import Text

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def printable(text: str) -> Text:
    """The text without markup, on one line; control characters are replaced."""
    shown = "".join(character if character.isprintable() else REPLACEMENT for character in text)
    return Text(shown, no_wrap=True, overflow="ellipsis")
