"""A diagnosis in a terminal: the verdict, what it rests on, and what to change."""

import json
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from gradflow.cli.terminal import printable
from gradflow.client import Json

STYLES = {"critical": "bold red", "warning": "yellow", "info": "green"}
NAMED = 4  # layers that are named one by one


def verdict_line(diagnosis: Json) -> str:
    """As in `verdict: vanishing`, with the sentences of the gravest finding."""
    verdict = f"verdict: {_words(diagnosis['verdict'])}"
    findings = diagnosis["findings"]
    return f"{verdict}. {findings[0]['explanation']}" if findings else verdict


def diagnosis_text(diagnosis: Json) -> RenderableType:
    """Every finding with its numbers and its remedies, the gravest first, and what could not be judged."""
    parts: list[RenderableType] = [Text(f"verdict: {_words(diagnosis['verdict'])} (rules: {diagnosis['rules']})\n")]
    for finding in diagnosis["findings"]:
        parts += _finding(finding)
    parts += [Text(line, style="dim") for line in _not_evaluated(diagnosis["not_evaluated"])]
    return Group(*parts)


def _finding(finding: Json) -> Iterator[RenderableType]:
    first, last = finding["steps"]
    steps = f"step {first}" if first == last else f"steps {first} to {last}"
    where = f"{_layers(finding['layers'])}, {steps}" if finding["layers"] else steps
    head = Text(f"{_words(finding['symptom'])} ({finding['severity']})", style=STYLES[finding["severity"]])
    yield head.append(f"  {where}; {finding['confidence']:.0%} sure, rule {finding['rule']}", style="none")
    yield Padding(Text(finding["explanation"]), (0, 0, 0, 2))
    for remedy in finding["remedies"]:
        yield Padding(Text(f"try {json.dumps(remedy['change'])}: {remedy['reason']}"), (0, 0, 0, 2))
    yield Text()


def _not_evaluated(rules: list[Json]) -> Iterator[str]:
    """One line a reason, however many rules share it."""
    by_reason: dict[str, list[str]] = {}
    for rule in rules:
        by_reason.setdefault(rule["reason"], []).append(rule["rule"])
    for reason, names in by_reason.items():
        yield f"not judged: {', '.join(names)} ({reason})"


def _layers(names: list[str]) -> str:
    shown = names if len(names) <= NAMED else [names[0], "…", names[-1]]
    counted = "" if len(names) <= NAMED else f" ({len(names)} layers)"
    return printable(", ".join(shown)).plain.replace(", …, ", " … ") + counted


def _words(name: str) -> str:
    return name.replace("_", " ")
