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
    trainer_niceness: int = Field(
        10, ge=0, le=19, description="How far trainers stand back for the API and Redis on the same machine."
    )
    program_cache: Path | None = Field(None, description="Folder in which compiled programs outlive their process.")
    checkpoint_s: float = Field(5.0, gt=0, description="Seconds between checkpoints; more where one takes long.")
    stop_s: float = Field(20.0, gt=0, description="Seconds that a worker that is to stop leaves to its trainers.")
    stack_pid: int | None = Field(None, description="The `gradflow up` that owns this worker: it ends with it.")
