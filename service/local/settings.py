"""Settings of the worker that `gradflow up` passes on, with defaults for one machine."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class LocalSettings(BaseSettings):
    """Read from `GRADFLOW_…`: a value that the user has set takes precedence over the default of the stack."""

    model_config = SettingsConfigDict(env_prefix="GRADFLOW_", frozen=True)

    stop_s: float = Field(3.0, gt=0, description="Seconds that a stopping worker gives its trainers.")
    program_cache: Path | None = Field(None, description="Compiled programs; in the data directory if unset.")
