"""The criteria of `truth`, in words for the page."""

from benchmarks.diagnosis import truth
from benchmarks.diagnosis.facts import LAST_EPOCHS, RISE
from benchmarks.report.page import table

_BETTER = f"the twin's skill is better by {truth.BETTER:g}"
_ROWS = {
    "vanishing": f"the smallest kernel is {truth.VANISHES:g} decades below the twin's in the first epoch, and "
    f"{_BETTER}; or {truth.VANISHES_ALONE:g} decades below it all along",
    "exploding": f"two of these: the largest kernel of any step is {truth.EXPLODES:g} decades above the twin's; the "
    f"kernels are {truth.SPREAD:g} decades apart in the first epoch and the twin's less than {truth.SOUND_SPREAD:g}; "
    f"{_BETTER}; or the largest is {truth.EXPLODES_ALONE:g} decades above",
    "dead_units": f"{truth.UNITS:.0%} of a layer, the one at fault where there is one, is 0 for every row of the last "
    f"epoch; of the twin's less than {truth.SOUND_UNITS:.0%}",
    "saturation": f"{truth.UNITS:.0%} of a layer's outputs are saturated in the last quarter of the steps; of the "
    f"twin's less than {truth.SOUND_UNITS:.0%}",
    "diverged": "loss or gradient stop being finite, the twin's do not",
    "loss_not_decreasing": f"the training loss ends above {truth.LOSS_LEFT:g} of where it began, or of a constant "
    f"output's where that is less; and {_BETTER}",
    "oscillating_loss": f"the training loss is more than {RISE:.0%} above that of the epoch before in "
    f"{truth.RISES:.0%} of the epochs, the twin's in less than {truth.SOUND_RISES:.0%}",
    "slow_convergence": f"with a smaller rate alone, {_BETTER}",
    "overfitting": f"the validation loss ends above its least by {truth.OVERFITTED:g} of a constant output's, the "
    f"twin's by less than {truth.SOUND_OVERFITTED:g}",
    "clipping_always_on": f"{truth.CLIPPED:.0%} of the steps are clipped, and {_BETTER}",
    "healthy": f"skill of at least {truth.LEARNS[True]:g} (regression {truth.LEARNS[False]:g}); kernels less than "
    f"{truth.SOUND_SPREAD:g} decades apart in the first epoch; no layer with {truth.SOUND_UNITS:.0%} dead or "
    f"saturated; the loss rises in less than {truth.SOUND_RISES:.0%} of the epochs; overfitted by less than "
    f"{truth.SOUND_OVERFITTED:g}; clipped in less than {truth.SOUND_CLIPPED:.0%} of the steps",
}

TEXT = f"""### What counts

Measured on the run and on its healthy twin, which differs in the fault alone; no rule of any pack has a part in it.
*Skill* is 0 for the best constant output and 1 for no error on the validation rows (by accuracy, for regression by
loss), the median of the last {LAST_EPOCHS} epochs. *Decades* are log10 of the root mean square of a kernel's gradient.

{table(("truth", "what must hold"), _ROWS.items())}

A fault is found where one of its right answers is among the findings. Another finding is wrong, unless the run is not
sound in that respect either or the cause that was seeded explains it (`tolerated` in `benchmarks/diagnosis/`).
Precision is over the runs of which a pack reports the symptom, or another name under which it has found such faults: a
rule that fires everywhere finds everything, at its price. A rule that was not evaluated has found nothing. Where the
fault is in one layer, it is named if it is among the layers of a right finding; a squash between two layers may be
named by either."""
