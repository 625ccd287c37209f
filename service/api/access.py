"""Who may ask: each request below /v1 is a tenant's, or is refused before its body is read."""

import asyncio
import math
import time
from functools import partial

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.cross_origin import refuse_foreign_pages
from service.api.problems import problem_of
from service.api.settings import ApiSettings
from service.contract.errors import GradflowError, NotAuthenticated, RateExceeded, StoreUnavailable
from service.store.keys import Key, Keys, KnownKeys, matching
from service.store.tenants import EVERYBODY

KEYS_KNOWN_FOR_S = 1.0  # a key that is added or removed counts after this time at the latest


class Access:
    """Middleware that names the tenant of each request, as `request.state.tenant`.

    Where no key is configured everybody may do everything, unless `keys_required`.
    """

    def __init__(self, app: ASGIApp, keys: Keys, settings: ApiSettings) -> None:
        self._app = app
        self._keys = keys
        self._settings = settings
        self._known = KnownKeys()
        self._known_until = -math.inf
        self._away: str | None = None  # why it is not known
        self._asking = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401, 403 or 429, or hand on."""
        if scope["type"] == "http" and f"{scope['path']}/".startswith("/v1/"):
            try:
                tenant, key = await self._asking_party(Headers(scope=scope))
            except GradflowError as error:
                await problem_of(error, self._settings.retry_after_s)(scope, receive, send)
                return
            scope.setdefault("state", {}).update(tenant=tenant, still_let_in=partial(self._still_lets_in, key))
        await self._app(scope, receive, send)

    async def _asking_party(self, headers: Headers) -> tuple[str, Key | None]:
        known = await self._all_known()
        if not known.any_configured and not self._settings.keys_required:
            refuse_foreign_pages(headers, self._settings.host_names)  # which know no key, and here would need none
            return EVERYBODY, None
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise NotAuthenticated("send an API key as `Authorization: Bearer KEY`")
        key = matching(known.keys, credentials.strip().encode("latin-1"))
        if key is None:
            raise NotAuthenticated("there is no such API key")
        settings = self._settings
        wait = await run_in_threadpool(self._keys.wait_of, key, settings.requests_per_s, settings.requests_burst)
        if wait:
            raise RateExceeded(f"more than {settings.requests_per_s:g} requests a second", wait)
        return key.holder.tenant, key

    async def _still_lets_in(self, key: Key | None) -> bool:
        """Whether who came with this key, or with none, would be let in now; for answers that go on for hours."""
        known = await self._all_known()
        if key is not None:
            return key in known.keys
        return not known.any_configured and not self._settings.keys_required

    async def _all_known(self) -> KnownKeys:
        if time.monotonic() >= self._known_until:
            async with self._asking:
                if time.monotonic() >= self._known_until:
                    await self._look()
        if self._away is not None:
            raise StoreUnavailable(self._away)
        return self._known

    async def _look(self) -> None:
        """That Redis is away is remembered too: all who wait for this look would else wait for one of their own."""
        try:
            self._known, self._away = await run_in_threadpool(self._keys.all), None
        except StoreUnavailable as error:
            self._away = str(error)
        self._known_until = time.monotonic() + KEYS_KNOWN_FOR_S
