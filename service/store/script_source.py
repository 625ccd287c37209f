"""Lua scripts from the files of `service/store/lua`: what a file declares, and the text that the server gets.

A file begins with its contract. Lines that begin with `--@` are read here:

    --@ keys: record, leases        KEYS by their names in `service.store.names`; a local variable each
    --@ arguments: id, attempt      ARGV in this order; a local variable each
    --@ rest: tags                  everything after them: `tags_start` is the index in ARGV at which it begins
    --@ result: DONE | STALE        the codes that the script may return, where it returns one of a few words
    --@ uses: lease                 files of `lua/shared` whose functions it calls
    --@ when full: yes              runs in a server that is out of memory
    --@ schema: required            required (default): refused where the data have another version;
                                    created: the same, but an empty database that no trainer of version 0 uses
                                    takes this version; any: not checked

A parameter of a declared key is the argument of the same name; a key that `names` does not have comes with the call.
Scripts change one record together with indexes of all records, which have other hash tags: a Redis cluster cannot run
them, and none is supported. For the same reason only keys of the one record are declared, and the functions in
`lua/shared` derive the others from `key`, a table of the names.
"""

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from service.contract.history_format import SERIES
from service.store.names import TEMPLATES, Names
from service.store.retrying import MAX_ATTEMPTS_WITHOUT_PROGRESS
from service.store.schema import HEARTBEAT_AGE_S, HEARTBEAT_LASTS_S, SCHEMA_VERSION, VERSION_0_TRAINERS

_DIRECTIVE = re.compile(r"^--@ ([a-z ]+): *(.*)$", re.MULTILINE)
_KEY = re.compile(r"\bkey\.(\w+)")
_FOLDER = files(__package__) / "lua"
_CLOCK_OF_THE_SERVER = """local function now()
  local time = redis.call('TIME')
  return string.format('%d.%06d', time[1], time[2])
end
"""
_CLOCK_OF_A_TEST = """local clock_shift = tonumber(table.remove(ARGV))
local function now()
  local time = redis.call('TIME')
  return string.format('%.6f', time[1] + time[2] / 1e6 + clock_shift)
end
"""


@dataclass(frozen=True)
class Source:
    """One script: how it is called, and its text."""

    keys: tuple[str, ...]
    arguments: tuple[str, ...]
    rest: str | None
    results: tuple[str, ...]
    text: str


@cache  # of files that do not change while a process lives
def source_of(name: str, names: Names, shifted_clock: bool = False) -> Source:
    """Read a script.

    Args:
        name: the name of its file, without the suffix.
        names: of the keys that it touches.
        shifted_clock: whether it gets one more argument, the seconds by which a test moves the clock. Without it the
            clock is the server's.

    Returns:
        The script with everything that it needs.
    """
    return parsed((_FOLDER / f"{name}.lua").read_text("utf-8"), names, shifted_clock)


def parsed(body: str, names: Names, shifted_clock: bool = False) -> Source:
    """The same for the text of a file."""
    declared = dict(_DIRECTIVE.findall(body))
    keys, arguments = _listed(declared.get("keys", "")), _listed(declared.get("arguments", ""))
    rest = declared.get("rest")
    shared = _shared(_listed(declared.get("uses", "")))
    parts = [
        _CLOCK_OF_A_TEST if shifted_clock else _CLOCK_OF_THE_SERVER,
        _schema_check(declared.get("schema", "required"), names),
        _keys_in_lua(shared + body, names),
        shared,
        _bound(keys, arguments, rest, "local id, record" in shared),
        body,
    ]
    shebang = "#!lua flags=allow-oom\n" if declared.get("when full") == "yes" else ""
    results = tuple(code.strip() for code in declared.get("result", "").split("|") if code.strip())
    return Source(keys, arguments, rest, results, shebang + "".join(parts))


def _listed(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\w+", text))


def _shared(uses: tuple[str, ...]) -> str:
    """The files of `lua/shared`, each once and after those that it uses itself."""
    found: dict[str, str] = {}

    def add(name: str) -> None:
        if name not in found:
            text = (_FOLDER / "shared" / f"{name}.lua").read_text("utf-8")
            for other in _listed(dict(_DIRECTIVE.findall(text)).get("uses", "")):
                add(other)
            found[name] = text

    for name in uses:
        add(name)
    return "".join(found.values())


def _keys_in_lua(text: str, names: Names) -> str:
    """The table `key` with the names that the text mentions, and the series of a history."""
    used = sorted(set(_KEY.findall(text)) & set(TEMPLATES))
    entries = ", ".join(f"{name} = {names.lua(name)}" for name in used)
    series = ", ".join(f"'{name}'" for name in SERIES)
    constants = {
        "SCHEMA_VERSION": SCHEMA_VERSION,
        "MAX_ATTEMPTS_WITHOUT_PROGRESS": MAX_ATTEMPTS_WITHOUT_PROGRESS,
    }
    defined = "".join(f"local {name} = {value}\n" for name, value in constants.items())
    return defined + f"local key = {{{entries}}}\nlocal prefix, all_series = '{names.prefix}:', {{{series}}}\n"


def _bound(keys: tuple[str, ...], arguments: tuple[str, ...], rest: str | None, has_subject: bool) -> str:
    lines = [f"local {name} = KEYS[{i}]" for i, name in enumerate(keys, 1) if name != "record" or not has_subject]
    lines += [f"local {name} = ARGV[{i}]" for i, name in enumerate(arguments, 1) if name != "id" or not has_subject]
    if has_subject and "id" in arguments:
        lines.append(f"id = ARGV[{arguments.index('id') + 1}]")
    if has_subject and "record" in keys:
        lines.append(f"record = KEYS[{keys.index('record') + 1}]")
    if rest:
        lines.append(f"local {rest}_start = {len(arguments) + 1}")
    return "\n".join(lines) + "\n"


def _schema_check(mode: str, names: Names) -> str:
    """Each script carries the version of the code that sends it, and compares it with that of the data."""
    if mode == "any":
        return ""
    schema = names("schema")
    begin = ""
    if mode == "created":
        lists = ", ".join(f"'{names(name)}'" for name in ("experiments", "studies", "datasets"))
        old_trainers, silent_s = f"{names.prefix}:{VERSION_0_TRAINERS}", HEARTBEAT_AGE_S - HEARTBEAT_LASTS_S
        begin = (
            f"if not found and redis.call('EXISTS', {lists}) == 0\n"
            f"      and redis.call('ZCOUNT', '{old_trainers}', now() - {silent_s:.0f}, '+inf') == 0 then\n"
            f"    redis.call('SET', '{schema}', '{SCHEMA_VERSION}')\n"
            f"    redis.call('DEL', '{old_trainers}')\n"
            f"    found = '{SCHEMA_VERSION}'\n  end\n  "
        )
    return (
        f"do\n  local found = redis.call('GET', '{schema}')\n  {begin}"
        f"if found ~= '{SCHEMA_VERSION}' then return redis.error_reply('SCHEMA ' .. (found or '0')) end\nend\n"
    )
