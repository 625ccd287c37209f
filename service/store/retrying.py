"""The limit of attempts to train a run."""

MAX_ATTEMPTS_WITHOUT_PROGRESS = 10  # in a row, each of which ended before its first checkpoint
