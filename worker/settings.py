"""Settings of a worker, in addition to the address of Redis."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.store.settings import LeaseSettings, RedisSettings


class WorkerSettings(BaseSettings):
    """Read from `GRADFLOW_…`."""

    model_config = SettingsConfigDict(env_prefix="GRADFLOW_", frozen=True)

    trainers: int | None = Field(None, ge=1, description="Number of training processes. Default: one per core.")
    trainer_threads: int = Field(
        1,
        ge=1,
        description="TensorFlow threads per trainer; two trainers are faster than two threads.",
    )
    trainer_niceness: int = Field(
        10, ge=0, le=19, description="Niceness of trainers, so that API and Redis on the same machine come first."
    )
    program_cache: Path | None = Field(None, description="Directory for compiled programs, kept across restarts.")
    checkpoint_s: float = Field(5.0, gt=0, description="Seconds between checkpoints; more if a checkpoint takes long.")
    stop_s: float = Field(20.0, gt=0, description="Seconds that a stopping worker gives its trainers.")
    stack_pid: int | None = Field(None, description="The `gradflow up` that owns this worker, which ends with it.")


@dataclass(frozen=True)
class Settings:
    """Everything that the environment says to a worker."""

    redis: RedisSettings
    leases: LeaseSettings
    worker: WorkerSettings

    @classmethod
    def read(cls) -> "Settings":
        """The settings of the environment."""
        return cls(RedisSettings(), LeaseSettings(), WorkerSettings())
