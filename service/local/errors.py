class StackError(Exception):
    """The stack cannot start; the message is one sentence for the user that says why and what to do."""


class StopRequested(Exception):
    """SIGINT or SIGTERM has arrived before the stack was ready."""
