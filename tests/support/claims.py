"""A claim of one run that a test names; a trainer claims what `Attempts.claim_next` chooses."""

from service.store.attempts import Attempts

CLAIM_ONE = """--@ keys: record
--@ arguments: id, device, trainer, lease, format
--@ uses: claiming
return claim(device, trainer, lease, format)
"""


def claim_run(
    attempts: Attempts, experiment_id: str, device: str, trainer: str = "", checkpoints: str = ""
) -> int | None:
    """Claim a run; the number of the attempt, or None if the run is not queued."""
    attempts.scripts.add("claim_one", CLAIM_ONE)
    lease = attempts.lease_s
    attempt: int = attempts.scripts.run(
        "claim_one", id=experiment_id, device=device, trainer=trainer, lease=lease, format=checkpoints
    )
    return attempt or None
