"""Progress bars of experiments and studies that run."""

from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from gradflow.client import ENDED, Client, Json


def follow_experiments(client: Client, ids: Mapping[str, str], console: Console) -> dict[str, Json]:
    """Show a progress bar per experiment until all have ended.

    Args:
        client: client of the service.
        ids: id of each experiment by the name to show.
        console: where the bars are drawn.

    Returns:
        The ended experiments by name.
    """
    latest: dict[str, Json] = {}
    with _bars(console, unit="steps") as progress:
        bars = {name: progress.add_task(name, status="queued", total=None) for name in ids}
        watched = {name: client.watch(experiment_id) for name, experiment_id in ids.items()}
        while watched:
            for name, states in list(watched.items()):
                experiment = next(states, None)
                if experiment is None:
                    del watched[name]
                    continue
                latest[name] = experiment
                done = experiment["progress"]
                progress.update(
                    bars[name], completed=done["step"], total=done["total_steps"], status=experiment["status"]
                )
    return latest


def follow_study(client: Client, study_id: str, console: Console) -> Json:
    """Show a progress bar over the experiments of a study until all have ended; returns the ended study."""
    study: Json = {}
    remaining = (TextColumn("left"), TimeRemainingColumn(elapsed_when_finished=False))
    with _bars(console, *remaining, unit="experiments") as progress:
        bar = progress.add_task("study", status="queued", total=None)
        for study in client.watch_study(study_id):
            counts = study["counts"]
            ended = sum(counts[status] for status in ENDED)
            progress.update(bar, completed=ended, total=sum(counts.values()), status=study["status"])
    return study


def _bars(console: Console, *more: TextColumn | TimeRemainingColumn, unit: str) -> Progress:
    return Progress(
        TextColumn("{task.description:>24}", markup=False),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TextColumn(unit + "  {task.fields[status]}"),
        TimeElapsedColumn(),
        *more,
        console=console,
    )
