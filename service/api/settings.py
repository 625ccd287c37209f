"""Settings of the API that are not about Redis, leases or the limits of an experiment."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ApiSettings(BaseSettings):
    """Read from environment variables: `GRADFLOW_API_` and the name of the field in capitals."""

    model_config = SettingsConfigDict(env_prefix="GRADFLOW_API_", frozen=True)

    max_body_bytes: int = Field(256 * 1024, ge=1, description="Bytes of a JSON body; a larger one gets 413.")
    max_upload_bytes: int = Field(50 * 2**20, ge=1, description="Bytes of an uploaded file; a larger one gets 413.")
    body_idle_s: float = Field(
        30.0, gt=0, description="Seconds without a byte of an unfinished body; after them the request gets 408."
    )
    uploads: int = Field(
        4, ge=1, description="Files that are received and read at the same time, for each takes memory; more get 503."
    )
    datasets_bytes: int = Field(2**29, ge=0, description="Bytes of all uploaded data sets together; more get 503.")
    queued_experiments: int = Field(100_000, ge=0, description="Experiments that may be queued; more get 503.")
    memory_share: float = Field(
        0.85, gt=0, le=1, description="Share of Redis's maxmemory that may be used; what would need more gets 503."
    )
    event_readers: int = Field(
        500,
        ge=0,
        description="Clients that may read `events` at the same time; more get 503. "
        "At most three quarters of the connections.",
    )
    connections: int = Field(
        2000,
        ge=1,
        description="Open connections. At most 160 fewer than the limit of open files (`ulimit -n`). "
        "Beyond it the server closes those that have waited longest for their client.",
    )
    keys_required: bool = Field(False, description="Whether a request needs an API key even if none is configured.")
    host_names: frozenset[str] = Field(
        frozenset(),
        description="Public host names of the API, as a JSON list. Without API keys it answers under no other public "
        "name.",
    )
    requests_per_s: float = Field(50, gt=0, description="Requests per second and API key, on average; more get 429.")
    requests_burst: int = Field(200, ge=1, description="Requests that an idle API key may send at once.")
    retry_after_s: int = Field(5, ge=0, description="Seconds in the `Retry-After` header of a 503.")
