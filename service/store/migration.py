"""Brings the data in Redis to this version, once, before anything else touches them.

The one step so far is from version 0, which gradflow 0.1.0 wrote, to version 1: some keys and fields have new names,
each record has the shape of its data, and each experiment is in a queue, has a lease or is in the list of ended ones,
as its status requires. One atomic script changes each record, and repeating it changes nothing, so a migration that is
killed begins again and loses nothing.
"""

import logging
import secrets
import threading
from collections.abc import Iterator
from typing import Any, cast

import redis

from service.contract.data_shape import shape_of
from service.contract.errors import SchemaMismatch, StoreUnavailable
from service.contract.spec import ExperimentSpec
from service.store.clock import ShiftedClock
from service.store.connection import redis_errors_as_ours
from service.store.damage import UNREADABLE, DamageLog, hashes
from service.store.names import Names
from service.store.results import MigrationStep
from service.store.schema import HEARTBEAT_AGE_S, HEARTBEAT_LASTS_S, SCHEMA_VERSION, VERSION_0_TRAINERS
from service.store.script_runner import Scripts

LOCK_MS = 60_000
BATCH = 100
RETRY_S = 1.0
CHECK_S = 10.0
START_WITHIN_S = 2.0
OLD_RESERVED, OLD_NOTIFIED = "promised", "woken"  # keys of version 0

logger = logging.getLogger(__name__)


class MigrationWaits(StoreUnavailable):
    """The data cannot be migrated yet; the message says what must happen before."""


class Migration:
    """Brings the data of one server to `SCHEMA_VERSION`.

    Args:
        client: the connection.
        names: of all keys.
        clock: moves the clock; only for tests.
    """

    def __init__(self, client: redis.Redis, names: Names | None = None, clock: ShiftedClock | None = None) -> None:
        self._redis = client
        self._names = names or Names()
        self._clock = clock
        self._scripts = Scripts(client, self._names, clock)
        self._damage = DamageLog("experiment")

    def run(self, *, without_workers: bool = False) -> None:
        """Migrate the data, if they have an older version. An empty server gets this version.

        Args:
            without_workers: no worker and no other migration uses the server, whatever heartbeats and lock say.

        Raises:
            MigrationWaits: trainers of an older version live, or another process migrates.
            SchemaMismatch: the data have a newer version.
            StoreUnavailable: Redis does not answer; run it again.
        """
        version = self._version()
        if version == SCHEMA_VERSION:
            return
        if version > SCHEMA_VERSION:
            raise SchemaMismatch(str(version), SCHEMA_VERSION)
        if not without_workers and (old := self._older_trainers()):
            raise MigrationWaits(
                f"Redis holds data of schema version {version}, and {old} trainers of that version sent a heartbeat "
                f"within the last {HEARTBEAT_AGE_S:.0f} seconds: stop their workers, and the migration begins"
            )
        token = secrets.token_hex(16)
        self._lock(token, "anybody" if without_workers else "nobody")
        self._migrate(token)

    def _lock(self, token: str, holder: str) -> None:
        _done(self._scripts.run("lock_migration", token=token, lock_ms=LOCK_MS, holder=holder))

    def _version(self) -> int:
        with redis_errors_as_ours():
            found = self._redis.get(self._names("schema"))
        return int(cast("bytes | None", found) or 0)

    def _older_trainers(self) -> int:
        with redis_errors_as_ours():
            seconds, microseconds = self._redis.time()
            now = seconds + microseconds / 1e6 + (self._clock.shift_s if self._clock else 0.0)
            since = now - HEARTBEAT_AGE_S + HEARTBEAT_LASTS_S
            return int(self._redis.zcount(self._old(VERSION_0_TRAINERS), since, "+inf"))

    def _migrate(self, token: str) -> None:
        experiments = studies = 0
        for ids in self._batches("experiments", token):
            found = hashes(self._redis, [self._names("record", experiment_id) for experiment_id in ids])
            for experiment_id, fields in zip(ids, found, strict=True):
                shape = _shape_of_old(fields)
                step = self._step("migrate_experiment", id=experiment_id, token=token, shape=shape)
                if step is MigrationStep.DAMAGED:
                    self._damage.report(experiment_id, "it was not migrated")
            experiments += len(ids)
        for ids in self._batches("studies", token):
            for study_id in ids:
                self._step("migrate_study", study=study_id, token=token)
            studies += len(ids)
        old = {f"old_{name}": self._old(key) for name, key in _OLD_KEYS.items()}
        self._step("finish_migration", token=token, version=SCHEMA_VERSION, **old)
        if experiments or studies:
            logger.warning(
                "migrated %d experiments and %d studies to schema version %d", experiments, studies, SCHEMA_VERSION
            )

    def _batches(self, index: str, token: str) -> Iterator[list[str]]:
        """All ids of an index, some at a time; prolongs the lock before each batch."""
        with redis_errors_as_ours():
            found = self._redis.zrange(self._names(index), 0, -1)
        ids = [name.decode(errors="replace") for name in cast("list[bytes]", found)]
        for start in range(0, len(ids), BATCH):
            self._lock(token, "itself")
            yield ids[start : start + BATCH]

    def _step(self, script: str, **arguments: Any) -> MigrationStep:
        return _done(self._scripts.run(script, **arguments))

    def _old(self, key: str) -> str:
        return f"{self._names.prefix}:{key}"


_OLD_KEYS = {"reserved": OLD_RESERVED, "notified": OLD_NOTIFIED, "trainers": VERSION_0_TRAINERS}


def _done(answer: bytes) -> MigrationStep:
    """The answer to a step that was made; raises MigrationWaits for one that another process's lock refused."""
    step = MigrationStep(answer.decode())
    if step is MigrationStep.LOCK_LOST:
        raise MigrationWaits("another process migrates the data")
    return step


def _shape_of_old(fields: object) -> str:
    """The shape of a record that may have none, as JSON; '' where the record cannot be read."""
    if not isinstance(fields, dict) or b"shape" in fields:
        return ""
    try:
        return shape_of(ExperimentSpec.model_validate_json(fields[b"spec"]).data).model_dump_json()
    except UNREADABLE:
        return ""


class BackgroundMigration:
    """Runs a migration while the API starts, tries again until it is done, and checks the version of the data from
    then on: the server may lose its data, or get older ones from a backup.

    Args:
        migration: what to run.
    """

    def __init__(self, migration: Migration) -> None:
        self._migration = migration
        self._stopped = threading.Event()
        self._finished = threading.Event()
        self._thread = threading.Thread(target=self._run, name="migration", daemon=True)

    def start(self) -> None:
        """Begin, and wait a little: a migration that can run now is usually done before the first request."""
        self._thread.start()
        self.wait(START_WITHIN_S)

    def stop(self) -> None:
        """Begin no further attempt."""
        self._stopped.set()

    def wait(self, timeout_s: float) -> None:
        """Wait until the data are migrated or found to be newer, but at most `timeout_s` seconds."""
        self._finished.wait(timeout_s)

    def _run(self) -> None:
        pause_s = 0.0
        while not self._stopped.wait(pause_s):
            pause_s = RETRY_S
            try:
                self._migration.run()
                self._finished.set()
                pause_s = CHECK_S
            except SchemaMismatch as error:
                logger.error("%s", error)
                self._finished.set()
                return
            except StoreUnavailable as error:
                logger.warning("the data are not ready: %s", error)
            except Exception:
                logger.exception("the migration failed")
