"""What the API may be told beside the address of Redis and the limits."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ApiSettings(BaseSettings):
    """Read from `GRADFLOW_API_…`."""

    model_config = SettingsConfigDict(env_prefix="GRADFLOW_API_", frozen=True)

    max_body_bytes: int = Field(256 * 1024, description="Larger request bodies get 413.")
    max_upload_bytes: int = Field(50 * 2**20, description="Larger files get 413.")
    body_idle_s: float = Field(30.0, gt=0, description="Seconds without a byte of an unfinished body, then 408.")
    uploads: int = Field(4, ge=1, description="Files received and read at a time, for they take memory; beyond it 503.")
    datasets_bytes: int = Field(2**29, description="Bytes of all uploaded data sets together; beyond it 503.")
    queued_experiments: int = Field(100_000, description="Experiments that may wait; beyond it 503.")
    memory_share: float = Field(0.85, gt=0, le=1, description="Of Redis's memory; what would need more gets 503.")
    event_readers: int = Field(500, description="Connections to `events` at a time; beyond it 503.")
    keys_required: bool = Field(False, description="Whether nothing is answered while there is no API key.")
    host_names: frozenset[str] = Field(
        frozenset(), description="Public names of the API, as a JSON list; without keys it answers under no other."
    )
    requests_per_s: float = Field(50, gt=0, description="Of each API key; more get 429.")
    requests_burst: int = Field(200, ge=1, description="Requests that a key which has rested may send at once.")
    retry_after_s: int = Field(5, description="What a 503 answer advises.")
