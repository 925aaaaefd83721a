"""The configuration file: TOML in, one frozen `Config` out, or every mistake in it named with its line.

Only the entry points (`mmd.cli`, `mmd.daemon`) read configuration; below them it arrives as arguments. The
sections and keys are those of docs/contract.md; `config.example.toml` shows each with its default, and a
test keeps the two alike.

A dataclass per section is the whole schema: each field carries the function that reads its value. The
libraries for this cost 60 to 190 ms at each start of the CLI, or stop at the first mistake
(docs/dependencies.md, "Not used").
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from mmd import readers
from mmd.errors import ConfigError, Refused
from mmd.readers import Rate, Reader, nearest
from mmd.secret import Secret, from_file, from_text

T = TypeVar("T")

_SECRET_VARIABLE: Final = "MMD_TENANT__CLIENT_SECRET"  # noqa: S105 - the name of a variable
_SECRET_HINT: Final = (
    "give the client secret in a file named by [tenant] client_secret_file (mode 0600), as the systemd "
    f"credential client_secret, or in the environment variable {_SECRET_VARIABLE}"
)
_TOML_HINT: Final = (
    'a line is `key = "text"` or `[section]`; `mmd init --dry-run` prints a whole configuration'
)


def _key(read: Reader[T], default: T) -> T:
    """A field whose written value goes through `read`."""
    return field(default=default, metadata={"read": read})


# --- The sections ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """Which ISC tenant, and how mmd signs in; `name` and `base_url` are two ways to say the first."""

    name: str = _key(readers.tenant_name, "")
    base_url: str = _key(readers.base_url, "")
    api_version: str = _key(readers.one_of("v2024", "v2025", "v2026", "v1"), "v2026")
    client_id: str = _key(readers.text, "")
    client_secret_file: Path | None = _key(readers.path, None)
    rate: Rate = _key(readers.rate, Rate(80, timedelta(seconds=10)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """Where mmd keeps its windows, snapshots and journal; absolute once loaded."""

    url: str = _key(readers.sqlite_url, "sqlite:///mmd.db")

    @property
    def file(self) -> Path:
        """The SQLite file the URL names."""
        return Path(self.url.removeprefix("sqlite:///"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """What a new window gets where its author is silent."""

    timezone: str = _key(readers.zone, "UTC")
    treatment: str = _key(readers.one_of("full", "no-provisioning", "keep-features"), "full")
    max_sources: int = _key(readers.count, 25)
    lead: timedelta | Literal["auto"] = _key(readers.lead, timedelta(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconcile:
    """How often the daemon looks, and how it takes what it did not expect."""

    interval: timedelta = _key(readers.period, timedelta(seconds=30))
    sweep: timedelta = _key(readers.period, timedelta(minutes=5))
    zombie_grace: timedelta = _key(readers.span, timedelta(minutes=2))
    on_zombie: str = _key(readers.one_of("alert", "restore"), "alert")
    on_interference: str = _key(readers.one_of("enforce", "respect"), "enforce")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """What is written for the auditor, where and how often; `directory` is absolute once loaded."""

    every: timedelta = _key(readers.period, timedelta(days=1))
    directory: Path = _key(readers.directory, Path("reports"))
    formats: tuple[str, ...] = _key(readers.list_of(readers.one_of("csv", "html", "json")), ("csv", "html"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Alerts:
    """Whom to tell, and when again; both kinds of URL carry passwords."""

    urls: tuple[Secret, ...] = _key(readers.list_of(readers.alert_url), ())
    remind_every: timedelta = _key(readers.period, timedelta(hours=4))
    before: tuple[timedelta, ...] = _key(readers.list_of(readers.period), ())
    heartbeat_url: Secret = _key(readers.ping_url, Secret())


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """How much is logged to stderr, and in which form."""

    level: str = _key(readers.one_of("debug", "info", "warning", "error"), "info")
    format: str = _key(readers.one_of("auto", "console", "json"), "auto")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A whole configuration that makes sense; `path` is the file it came from, absolute."""

    path: Path
    tenant: Tenant = Tenant()
    database: Database = Database()
    windows: Windows = Windows()
    reconcile: Reconcile = Reconcile()
    reports: Reports = Reports()
    alerts: Alerts = Alerts()
    log: Log = Log()


SECTIONS: Final[Mapping[str, type[Any]]] = {
    "tenant": Tenant,
    "database": Database,
    "windows": Windows,
    "reconcile": Reconcile,
    "reports": Reports,
    "alerts": Alerts,
    "log": Log,
}
_READERS: Final[Mapping[str, Mapping[str, Reader[Any]]]] = {
    section: {key.name: key.metadata["read"] for key in fields(shape)} for section, shape in SECTIONS.items()
}


# --- From text to Config -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Entry:
    """One value as somebody wrote it: `place` is "line 12", or the environment variable."""

    section: str
    key: str
    value: object
    place: str


@dataclass(frozen=True, slots=True)
class _Problem:
    place: str
    sentence: str
    hint: str = ""


def load(file: Path | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """The configuration in `file`, or else in the first place of the search order that has one.

    `MMD_SECTION__KEY` in `environ` (the process's own by default) wins over the file for any key that is not
    a list. Raises ConfigError naming every mistake, each with its line.
    """
    environ = os.environ if environ is None else environ
    path = find(file, environ)
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text", hint="save it as UTF-8 in your editor") from None
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        hint = f"`mmd init {path}` writes one" if missing else f"look whose it is: ls -ld {path}"
        raise ConfigError(f"{path} cannot be read: {error.strerror}", hint=hint) from None
    return parse(text, path, environ)


def find(file: Path | None, environ: Mapping[str, str]) -> Path:
    """The configuration file, absolute: `file`, `$MMD_CONFIG`, or the first that exists of the usual places.

    The usual places are `./mmd.toml`, `~/.config/mmd/config.toml` and `/etc/mmd/config.toml`.
    """
    named = file or (Path(environ["MMD_CONFIG"]) if environ.get("MMD_CONFIG") else None)
    of_user = [Path(environ["HOME"], ".config/mmd/config.toml")] if environ.get("HOME") else []
    usual = [Path("mmd.toml"), *of_user, Path("/etc/mmd/config.toml")]
    found = named or next(filter(_is_there, usual), None)
    if found is None:
        raise ConfigError(
            "no configuration found",
            hint="`mmd init` writes one; looked for " + ", ".join(str(path) for path in usual),
        )
    return found.absolute()


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        # There, or not ours to know: reading it will say.
        return True


def parse(text: str, path: Path, environ: Mapping[str, str]) -> Config:
    """The configuration in `text`; `path` is what relative paths in it start from, and what errors name."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ConfigError(f"{path} is not TOML: {_lower_first(reason)}", hint=_TOML_HINT) from None
    written = [*_in_file(document, _Lines(text)), *_in_environment(environ)]
    problems = [item for item in written if isinstance(item, _Problem)]
    # The environment comes last, so it wins.
    entries = {(item.section, item.key): item for item in written if isinstance(item, _Entry)}
    _settle_tenant(entries)
    values, misread = _read_all(entries.values())
    problems += [*misread, *_contradictions(entries)]
    if problems:
        raise _as_error(path, problems)
    sections = {name: shape(**values.get(name, {})) for name, shape in SECTIONS.items()}
    return _anchored(Config(path=path, **sections))


def _in_file(document: Mapping[str, Any], lines: _Lines) -> Iterator[_Entry | _Problem]:
    for section, table in document.items():
        place = lines.of(section)
        if section not in SECTIONS:
            yield _Problem(place, f"there is no section {_shown(section)}", _nearest_section(section))
        elif not isinstance(table, dict):
            yield _Problem(
                place, f"{section} must be a section", hint=f"write [{section}] on a line of its own"
            )
        else:
            for key, value in table.items():
                yield _entry(section, key, value, lines.of(section, key))


def _in_environment(environ: Mapping[str, str]) -> Iterator[_Entry | _Problem]:
    for variable, text in environ.items():
        section, separator, key = variable.removeprefix("MMD_").lower().partition("__")
        if not variable.startswith("MMD_") or not separator or variable == _SECRET_VARIABLE:
            continue
        if section not in SECTIONS:
            yield _Problem(variable, f"there is no section {_shown(section)}", _nearest_section(section))
        else:
            yield _entry(section, key, _from_text(section, key, text), variable)


def _from_text(section: str, key: str, text: str) -> object:
    """What an environment variable says: whole numbers are numbers where the key wants one."""
    wants_number = _READERS[section].get(key) is readers.count
    return int(text) if wants_number and re.fullmatch(r"[0-9]{1,9}", text) else text


def _entry(section: str, key: str, value: object, place: str) -> _Entry | _Problem:
    if (section, key) == ("tenant", "client_secret"):
        return _Problem(place, "the client secret does not belong in the configuration", _SECRET_HINT)
    if key in _READERS[section]:
        return _Entry(section, key, value, place)
    elsewhere = next((name for name, keys in _READERS.items() if key in keys), None)
    near = nearest(key, _READERS[section]) or f"the keys of [{section}] are {', '.join(_READERS[section])}"
    hint = f"{key} belongs in [{elsewhere}]" if elsewhere else near
    return _Problem(place, f"[{section}] has no key {_shown(key)}", hint)


def _read_all(entries: Iterable[_Entry]) -> tuple[dict[str, dict[str, Any]], list[_Problem]]:
    values: dict[str, dict[str, Any]] = {}
    problems = []
    for entry in entries:
        try:
            read = _READERS[entry.section][entry.key](entry.value)
        except Refused as refusal:
            sentence = f"[{entry.section}] {entry.key}: {refusal.message}"
            problems.append(_Problem(entry.place, sentence, refusal.hint))
        else:
            values.setdefault(entry.section, {})[entry.key] = read
    return values, problems


def _settle_tenant(entries: dict[tuple[str, str], _Entry]) -> None:
    """Name and base_url are two ways to say one thing: the environment's wins over the file's."""
    ways = [("tenant", "name"), ("tenant", "base_url")]
    for way, other in (ways, ways[::-1]):
        if way in entries and other in entries and entries[way].value:
            ours, theirs = entries[way].place, entries[other].place
            if ours.startswith("MMD_") and not theirs.startswith("MMD_"):
                del entries[other]


def _contradictions(entries: Mapping[tuple[str, str], _Entry]) -> Iterator[_Problem]:
    name, base_url = entries.get(("tenant", "name")), entries.get(("tenant", "base_url"))
    if name and base_url and name.value and base_url.value:
        yield _Problem(base_url.place, "[tenant] has both name and base_url", "keep one of them")


def _anchored(config: Config) -> Config:
    """Relative paths start at the configuration file, not at whatever directory the process is in."""
    home, tenant = config.path.parent, config.tenant
    secret_file = home / tenant.client_secret_file if tenant.client_secret_file else None
    return replace(
        config,
        tenant=replace(tenant, client_secret_file=secret_file),
        database=replace(config.database, url=f"sqlite:///{home / config.database.file}"),
        reports=replace(config.reports, directory=home / config.reports.directory),
    )


# --- Saying what is wrong ----------------------------------------------------------------------------------


def _as_error(path: Path, problems: list[_Problem]) -> ConfigError:
    # Lines in order ("line 9" is shorter than "line 12"), then the environment.
    first, *others = sorted(problems, key=lambda it: (it.place.startswith("MMD_"), len(it.place), it.place))
    also = [
        f"also {other.place}: {other.sentence}" + f" ({other.hint})" * bool(other.hint) for other in others
    ]
    hint = "; ".join([first.hint] * bool(first.hint) + also).replace("?; also", "? Also")
    return ConfigError(f"{path}, {first.place}: {first.sentence}", hint=hint)


class _Lines:
    """Where each section and key stands in the text; tomllib does not tell.

    Reads only as much of TOML as finding a key takes. In a text it does not follow (an inline table, say) the
    answer is the line of the section, or the first.
    """

    def __init__(self, text: str) -> None:
        self._found: dict[tuple[str, ...], int] = {}
        table: tuple[str, ...] = ()
        for number, line in _outside_long_strings(text):
            if header := re.match(r"\s*\[\[?([^\[\]]+)\]", line):
                table = _dotted(header[1])
                self._add(table, number)
            elif key := re.match(r"([^=#\[\]{}]+)=", line):
                self._add(table + _dotted(key[1]), number)

    def _add(self, path: tuple[str, ...], number: int) -> None:
        for length in range(1, len(path) + 1):
            self._found.setdefault(path[:length], number)

    def of(self, *path: str) -> str:
        return f"line {self._found.get(path) or self._found.get(path[:1], 1)}"


def _outside_long_strings(text: str) -> Iterator[tuple[int, str]]:
    closing = ""
    for number, line in enumerate(text.split("\n"), start=1):
        if closing:
            closing = "" if closing in line else closing
            continue
        yield number, line
        opened = re.match(r"""[^#"']*(\"{3}|'{3})""", line)
        closing = opened[1] if opened and line.count(opened[1]) == 1 else ""


def _dotted(key: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in key.split("."))


def _nearest_section(word: str) -> str:
    return nearest(word, SECTIONS) or f"the sections are {', '.join(SECTIONS)}"


def _shown(name: str) -> str:
    """A name from the file, fit for a terminal whatever it contains."""
    return name if re.fullmatch(r"[\w-]{1,60}", name, re.ASCII) else ascii(name[:60])


def _lower_first(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


# --- Talking to ISC ----------------------------------------------------------------------------------------


def base_url(config: Config) -> str:
    """Where the tenant's API is, without a slash at the end. Raises ConfigError when no tenant is named."""
    tenant = config.tenant
    if tenant.base_url:
        return tenant.base_url
    if not tenant.name:
        raise ConfigError(
            f"{config.path} names no tenant",
            hint='set [tenant] name, for https://acme.identitynow.com to "acme"',
        )
    return f"https://{tenant.name}.api.identitynow.com"


def client_id(config: Config) -> str:
    """The id of the personal access token mmd signs in with. Raises ConfigError when there is none."""
    if not config.tenant.client_id:
        raise ConfigError(
            f"{config.path} has no client id",
            hint="set [tenant] client_id to the id of a personal access token of the tenant",
        )
    return config.tenant.client_id


def client_secret(config: Config, environ: Mapping[str, str] | None = None) -> Secret:
    """The client secret as it is now, read anew each time: it may have been rotated since.

    From `MMD_TENANT__CLIENT_SECRET`, else the systemd credential `client_secret`, else the file named by
    `client_secret_file`, which must be for its owner's eyes only. Raises ConfigError.
    """
    environ = os.environ if environ is None else environ
    if _SECRET_VARIABLE in environ:
        return from_text(environ[_SECRET_VARIABLE], _SECRET_VARIABLE)
    credential = Path(environ.get("CREDENTIALS_DIRECTORY", "")) / "client_secret"
    if credential.is_absolute() and _is_there(credential):
        # Its mode is systemd's business: it may be readable for the service through an ACL.
        return from_file(credential, private=False)
    if config.tenant.client_secret_file is None:
        raise ConfigError(f"{config.path} names no client secret", hint=_SECRET_HINT)
    return from_file(config.tenant.client_secret_file, private=True)


def example_text() -> str:
    """`config.example.toml`: from the installed package, else from the repository it is run in."""
    beside = Path(__file__).with_name("config.example.toml")
    return (beside if beside.exists() else Path(__file__).parents[1] / beside.name).read_text("utf-8")
