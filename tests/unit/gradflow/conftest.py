from collections.abc import Iterator

import pytest

from tests.support.canned_service import CannedService, running_canned_service


@pytest.fixture
def service() -> Iterator[CannedService]:
    with running_canned_service() as service:
        yield service
