"""The API process: what it imports and how much memory it takes."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import httpx2

from service.store.settings import RedisSettings
from tests.support.running_stack import free_port


def test_importing_the_api_loads_no_training_library() -> None:
    code = "import service.api.composition, sys; print({'tensorflow', 'keras', 'sklearn'} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"


def test_the_api_process_stays_under_120_mb(redis_settings: RedisSettings) -> None:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--factory", "service.api.composition:app_from_environment"]
    environment = os.environ | {"GRADFLOW_REDIS_URL": redis_settings.url}
    with subprocess.Popen([*command, "--port", str(port), "--log-level", "error"], env=environment) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                try:
                    httpx2.get(f"{url}/livez")
                    break
                except httpx2.TransportError:
                    time.sleep(0.1)
            assert httpx2.post(f"{url}/v1/experiments", json={"model": "baseline"}).status_code == 202
            status = Path(f"/proc/{process.pid}/status").read_text()
        finally:
            process.terminate()

    resident = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert resident is not None
    assert int(resident[1]) * 1024 < 120e6
