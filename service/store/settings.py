"""Where Redis is: the one thing that every process must be told."""

from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

# Of every connection: to the store, to the queue from the API, and from the worker. Where the network swallows what is
# sent, each connection that a process keeps costs it one timeout.
CONNECTION_OPTIONS = {"socket_timeout": 10, "socket_connect_timeout": 5, "health_check_interval": 10}


class RedisSettings(BaseSettings):
    """Read from `GRADFLOW_REDIS_…`."""

    model_config = SettingsConfigDict(env_prefix="GRADFLOW_REDIS_", frozen=True)

    url: str = Field(
        "redis://127.0.0.1:6379/0",
        description="redis://, rediss:// or unix:///path/to/socket; a password in the address or beside it",
    )
    password: str | None = Field(None, description="Used where the address carries none.")

    @property
    def broker_url(self) -> str:
        """The same server as Kombu spells it: unix sockets have a scheme of their own there."""
        parts = urlsplit(self.url)
        credentials = f":{quote(self.password, safe='')}@" if self.password and parts.password is None else ""
        if parts.scheme == "unix":
            return f"redis+socket://{credentials}{parts.netloc}{parts.path}"
        return urlunsplit(parts._replace(netloc=credentials + parts.netloc))


class LeaseSettings(BaseSettings):
    """Read from `GRADFLOW_…`, by workers and by the API."""

    model_config = SettingsConfigDict(env_prefix="GRADFLOW_", frozen=True)

    lease_s: float = Field(30.0, gt=0, description="A trainer that is silent for so long has lost its run.")
    sweep_s: float = Field(10.0, gt=0, description="Seconds between two looks for lost runs and messages, at most.")
    keep_days: float | None = Field(None, gt=0, description="Ended experiments are deleted after. Default: never.")

    @property
    def keep_s(self) -> float | None:
        """The same in seconds."""
        return None if self.keep_days is None else self.keep_days * 86_400
