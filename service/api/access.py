"""Authentication, before a request's body is read: each request below /v1 belongs to a tenant or is refused."""

import asyncio
import time
from collections.abc import Callable
from functools import partial

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.cross_origin import refuse_cross_origin
from service.api.problems import problem_of
from service.api.settings import ApiSettings
from service.application.remembered import Remembered
from service.contract.errors import GradflowError, NotAuthenticated, RateExceeded
from service.store.keys import Key, Keys, KnownKeys, matching
from service.store.tenants import EVERYBODY

KEYS_CACHED_S = 1.0  # a new or removed key takes effect after this time at the latest


class Access:
    """Middleware that sets `request.state.tenant`, and `request.state.is_still_allowed` for long answers.

    As long as no key is configured, every request has the view of an operator, unless `keys_required` is set.
    """

    def __init__(
        self, app: ASGIApp, keys: Keys, settings: ApiSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self._keys = keys
        self._settings = settings
        self._known = Remembered(keys.all, KEYS_CACHED_S, clock)
        self._refreshing = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401, 403, 429 or 503, or pass the request on."""
        if scope["type"] == "http" and f"{scope['path']}/".startswith("/v1/"):
            try:
                tenant, key = await self._authenticate(Headers(scope=scope))
            except GradflowError as error:
                await problem_of(error, self._settings.retry_after_s)(scope, receive, send)
                return
            still_allowed = partial(self._is_still_allowed, key)
            scope.setdefault("state", {}).update(tenant=tenant, is_still_allowed=still_allowed)
        await self._app(scope, receive, send)

    async def _authenticate(self, headers: Headers) -> tuple[str, Key | None]:
        known = await self._known_keys()
        if not known.any_configured and not self._settings.keys_required:
            # A page of another site has no key, and here it would need none.
            refuse_cross_origin(headers, self._settings.host_names)
            return EVERYBODY, None
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise NotAuthenticated("send an API key as `Authorization: Bearer KEY`")
        key = matching(known.keys, credentials.strip().encode("latin-1"))
        if key is None:
            raise NotAuthenticated("the API key is unknown")
        settings = self._settings
        wait = await run_in_threadpool(self._keys.wait_of, key, settings.requests_per_s, settings.requests_burst)
        if wait:
            raise RateExceeded(f"more than {settings.requests_per_s:g} requests per second", wait)
        return key.holder.tenant, key

    async def _is_still_allowed(self, key: Key | None) -> bool:
        """Whether a request with this key, or with none, would be allowed now."""
        known = await self._known_keys()
        if key is not None:
            return key in known.keys
        return not known.any_configured and not self._settings.keys_required

    async def _known_keys(self) -> KnownKeys:
        """Every configured key; requests that wait for Redis occupy one thread together."""
        if self._known.is_expired:
            async with self._refreshing:
                if self._known.is_expired:
                    await run_in_threadpool(self._known.refresh)
        return self._known.value
