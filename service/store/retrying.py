"""How often a run is tried again."""

MAX_ATTEMPTS_WITHOUT_PROGRESS = 10  # in a row, each of which ended before its first checkpoint
