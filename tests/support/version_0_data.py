"""Data that gradflow 0.1.0 (commit 31bc470) wrote, and its answers about them, as two files next to this one."""

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import redis

HERE = Path(__file__).parent
A_DAY_S = 86_400


def answers_of_version_0() -> dict[str, dict[str, Any]]:
    """By API key (`operator`, `alice`), the status and the body of each path."""
    found: dict[str, dict[str, Any]] = _read("answers-0.1.0.json.gz")["answers"]
    return found


def load_version_0(client: redis.Redis) -> dict[str, Any]:
    """Fill an empty server; the ids and the API keys among the data."""
    data = _read("redis-0.1.0.json.gz")
    decode = base64.b64decode
    for key, kept in data["keys"].items():
        value = kept["value"]
        match kept["type"]:
            case "string":
                client.set(key, decode(value))
            case "hash":
                client.hset(key, mapping={decode(field): decode(text) for field, text in value})
            case "set":
                client.sadd(key, *map(decode, value))
            case "zset":
                client.zadd(key, {decode(member): float(score) for member, score in value})
            case "list":
                client.rpush(key, *map(decode, value))
        if kept.get("expires"):
            client.expire(key, A_DAY_S)
    return {"ids": data["ids"], "api_keys": data["api_keys"]}


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(gzip.decompress((HERE / name).read_bytes()))
    return found
