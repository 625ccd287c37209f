"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from gradflow.client import DEFAULT_URL

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8000
DEFAULT_DATA_DIR = Path(".gradflow")

StatusName = Literal["queued", "running", "succeeded", "failed", "cancelled"]
PackName = Literal["gradflow", "sagemaker", "autotrainer", "deepdiagnosis"]
TaskName = Literal["auto", "classification", "regression"]

Url = Annotated[str, typer.Option(envvar="GRADFLOW_URL", help="Address of the gradflow service.")]
Key = Annotated[str | None, typer.Option(envvar="GRADFLOW_API_KEY", help="API key, if the service requires one.")]
Host = Annotated[str, typer.Option(help="Address to listen on; API keys are required unless it is a loopback address.")]
Port = Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")]
Insecure = Annotated[bool, typer.Option("--insecure", help="Allow any address without API keys.")]
DataDir = Annotated[Path, typer.Option(help="Directory for experiments, data sets and logs.")]
ExperimentId = Annotated[str, typer.Argument(help="Id of an experiment.")]

__all__ = [
    "DEFAULT_DATA_DIR",
    "DEFAULT_HOST",
    "DEFAULT_PORT",
    "DEFAULT_URL",
    "DataDir",
    "ExperimentId",
    "Host",
    "Insecure",
    "Key",
    "PackName",
    "Port",
    "StatusName",
    "TaskName",
    "Url",
]
