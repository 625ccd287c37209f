"""Uploads by curl; by HTTPX where curl is not installed."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx2

INSTALLED = shutil.which("curl") is not None
MISSING = "curl is not installed"


def upload_file(url: str, file: Path, media_type: str | None = None) -> dict[str, Any]:
    """Post a file.

    Args:
        url: where to.
        file: the file.
        media_type: its media type, if it is the body of the request; None for the field `file` of a form.

    Returns:
        The JSON object of the response, whatever its status.
    """
    if INSTALLED:
        content = ["-F", f"file=@{file}"]
        if media_type is not None:
            content = ["-H", f"content-type: {media_type}", "--data-binary", f"@{file}"]
        command = ["curl", "-sS", *content, url]
        answer: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    elif media_type is None:
        answer = httpx2.post(url, files={"file": (file.name, file.read_bytes())}).json()
    else:
        answer = httpx2.post(url, content=file.read_bytes(), headers={"content-type": media_type}).json()
    return answer
