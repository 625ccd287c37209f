"""A diagnosis: the verdict, the findings with their measured values, and what to change."""

import json
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from gradflow.cli.terminal.printable_text import printable
from gradflow.client import Json

STYLES = {"critical": "bold red", "warning": "yellow", "info": "green"}
MAX_NAMED_LAYERS = 4
INDENTED = (0, 0, 0, 2)


def verdict_line(diagnosis: Json) -> str:
    """The verdict and the explanation of the most severe finding."""
    verdict = f"verdict: {_words(diagnosis['verdict'])}"
    findings = diagnosis["findings"]
    return f"{verdict}. {findings[0]['explanation']}" if findings else verdict


def diagnosis_text(diagnosis: Json) -> RenderableType:
    """All findings with their remedies, the most severe first, and the rules that could not be evaluated."""
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
    yield head.append(f"  {where}; confidence {finding['confidence']:.0%}, rule {finding['rule']}", style="none")
    yield Padding(Text(finding["explanation"]), INDENTED)
    for remedy in finding["remedies"]:
        yield Padding(Text(f"try {json.dumps(remedy['change'])}: {remedy['reason']}"), INDENTED)
    yield Text()


def _not_evaluated(rules: list[Json]) -> Iterator[str]:
    """One line per reason, with all rules that share it."""
    by_reason: dict[str, list[str]] = {}
    for rule in rules:
        by_reason.setdefault(rule["reason"], []).append(rule["rule"])
    for reason, names in by_reason.items():
        yield f"not evaluated: {', '.join(names)} ({reason})"


def _layers(names: list[str]) -> str:
    if len(names) <= MAX_NAMED_LAYERS:
        return printable(", ".join(names)).plain
    return printable(f"{names[0]} … {names[-1]} ({len(names)} layers)").plain


def _words(name: str) -> str:
    return name.replace("_", " ")
