"""Settings of every process that uses Redis: its address, and the times of leases and sweeps."""

from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

# Of every connection of the API and the worker, to the store and to the queue. On a network that drops packets, each
# open connection of a process costs one timeout.
CONNECTION_OPTIONS = {"socket_timeout": 10, "socket_connect_timeout": 5, "health_check_interval": 10}


class RedisSettings(BaseSettings):
    """Read from `GRADFLOW_REDIS_…`."""

    model_config = SettingsConfigDict(env_prefix="GRADFLOW_REDIS_", frozen=True)

    url: str = Field(
        "redis://127.0.0.1:6379/0",
        description="redis://, rediss:// or unix:///path/to/socket; it may contain the password",
    )
    password: str | None = Field(None, description="Used if the address contains no password.")

    @property
    def broker_url(self) -> str:
        """The address in the form that Kombu expects, which has another scheme for unix sockets."""
        parts = urlsplit(self.url)
        credentials = f":{quote(self.password, safe='')}@" if self.password and parts.password is None else ""
        if parts.scheme == "unix":
            return f"redis+socket://{credentials}{parts.netloc}{parts.path}"
        return urlunsplit(parts._replace(netloc=credentials + parts.netloc))


class LeaseSettings(BaseSettings):
    """Read from `GRADFLOW_…`, by workers and by the API."""

    model_config = SettingsConfigDict(env_prefix="GRADFLOW_", frozen=True)

    lease_s: float = Field(30.0, gt=0, description="Seconds of silence after which a trainer has lost its run.")
    sweep_s: float = Field(10.0, gt=0, description="Maximum seconds between two sweeps for lost runs and messages.")
    keep_days: float | None = Field(
        None, gt=0, description="Days after which ended experiments are deleted. Default: never."
    )

    @property
    def keep_s(self) -> float | None:
        """`keep_days` in seconds."""
        return None if self.keep_days is None else self.keep_days * 86_400
