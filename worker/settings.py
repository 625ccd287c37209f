"""What a worker may be told beside the address of Redis."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class WorkerSettings(BaseSettings):
    """Read from `GRADFLOW_…`."""

    model_config = SettingsConfigDict(env_prefix="GRADFLOW_", frozen=True)

    trainers: int | None = Field(None, ge=1, description="Training processes. Default: one a core.")
    trainer_threads: int = Field(
        1, ge=1, description="TensorFlow's threads in each: at these sizes two trainers beat two threads."
    )
    program_cache: Path | None = Field(None, description="Folder in which compiled programs outlive their process.")
    stack_pid: int | None = Field(None, description="The `gradflow up` that owns this worker: it ends with it.")
