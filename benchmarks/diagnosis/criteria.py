"""The criteria of `truth` as text for the page."""

from benchmarks.diagnosis import truth
from benchmarks.diagnosis.facts import LAST_EPOCHS, RISE
from benchmarks.report.page import table

_BETTER = f"the twin's skill is better by {truth.BETTER:g}"
_ROWS = {
    "vanishing": f"the smallest kernel is {truth.VANISHES:g} decades below the twin's in the first epoch, and "
    f"{_BETTER}; or {truth.VANISHES_ALONE:g} decades below it over all steps",
    "exploding": f"two of these: the largest kernel of any step is {truth.EXPLODES:g} decades above the twin's; the "
    f"kernels are {truth.SPREAD:g} decades apart in the first epoch and the twin's less than {truth.SOUND_SPREAD:g}; "
    f"{_BETTER}; or the largest is {truth.EXPLODES_ALONE:g} decades above",
    "dead_units": f"{truth.UNITS:.0%} of the units of a layer (of the faulty one, if one is faulty) are 0 for every "
    f"sample of the last epoch; in the twin, less than {truth.SOUND_UNITS:.0%}",
    "saturation": f"{truth.UNITS:.0%} of a layer's outputs are saturated in the last quarter of the steps; in the "
    f"twin, less than {truth.SOUND_UNITS:.0%}",
    "diverged": "loss or gradient become NaN or infinite, and the twin's do not",
    "loss_not_decreasing": f"the training loss ends above {truth.LOSS_LEFT:g} times its first value, or times "
    f"the loss of a constant output if that is less; and {_BETTER}",
    "oscillating_loss": f"the training loss is more than {RISE:.0%} above that of the previous epoch in "
    f"{truth.RISES:.0%} of the epochs, the twin's in less than {truth.SOUND_RISES:.0%}",
    "slow_convergence": f"with a smaller learning rate and no other change, {_BETTER}",
    "overfitting": f"the validation loss ends above its minimum by {truth.OVERFITTED:g} times the loss of a constant "
    f"output, the twin's by less than {truth.SOUND_OVERFITTED:g}",
    "clipping_always_on": f"{truth.CLIPPED:.0%} of the steps are clipped, and {_BETTER}",
    "healthy": f"skill of at least {truth.LEARNS[True]:g} (regression {truth.LEARNS[False]:g}); kernels less than "
    f"{truth.SOUND_SPREAD:g} decades apart in the first epoch; no layer with {truth.SOUND_UNITS:.0%} dead or "
    f"saturated; the loss rises in less than {truth.SOUND_RISES:.0%} of the epochs; overfitted by less than "
    f"{truth.SOUND_OVERFITTED:g}; clipped in less than {truth.SOUND_CLIPPED:.0%} of the steps",
}

TEXT = f"""### What counts

The true symptom is measured on the run and on its healthy twin, which differs in the fault only; no rule of any pack
is used. *Skill* is 0 for the best constant output and 1 for no error on the validation samples (by accuracy; for
regression by loss); it is the median of the last {LAST_EPOCHS} epochs. *Decades* are log10 of the root mean square of a
kernel's gradient.

{table(("truth", "what must hold"), _ROWS.items())}

A fault is found if one of its right answers is among the findings. Any other finding is wrong, unless the run is not
healthy in that respect either, or the seeded cause explains it (`tolerated` in `benchmarks/diagnosis/`). Precision is
over the runs for which a pack reports the symptom, or another name under which it has found such faults: a rule that
always fires has full recall and low precision. A rule that was not evaluated has found nothing. If the fault is in one
layer, it is named if it is among the layers of a right finding; for a fault between two layers, either is right."""
