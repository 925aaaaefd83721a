"""The configuration file: what is read from it, and what is said about a mistake in it."""

from __future__ import annotations

import os
import random
import re
import stat
import tomllib
from dataclasses import asdict, fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mmd.config import SECTIONS, Config, base_url, client_id, client_secret, example_text, find, load, parse
from mmd.errors import ConfigError
from mmd.posture import Treatment
from mmd.readers import Rate
from mmd.secret import Secret

HERE = Path("/etc/mmd/config.toml")


def read(text: str, environ: dict[str, str] | None = None) -> Config:
    return parse(text, HERE, environ or {})


def mistake(text: str, environ: dict[str, str] | None = None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read(text, environ)
    return caught.value


# --- What is read -------------------------------------------------------------------------------------------


def test_an_empty_file_is_all_defaults() -> None:
    config = read("")
    assert config.database.file == Path("/etc/mmd/mmd.db")
    assert config.reports.directory == Path("/etc/mmd/reports")
    assert config.tenant.rate == Rate(80, timedelta(seconds=10))
    assert config.tenant.api_version == "v2026"
    assert config.reconcile.interval == timedelta(seconds=30)
    assert config.windows.max_sources == 25


def test_every_section_is_read() -> None:
    config = read(
        """
        [tenant]
        base_url = "https://acme.api.identitynow.com/"
        client_secret_file = "secret"
        rate = "40/5s"
        [database]
        url = "sqlite:////var/lib/mmd/mmd.db"
        [windows]
        timezone = "Europe/Berlin"
        lead = "auto"
        [reconcile]
        zombie_grace = "0s"
        [reports]
        directory = "/srv/reports"
        formats = ["json"]
        [alerts]
        urls = ["json://localhost"]
        before = ["1h", "10m"]
        heartbeat_url = "https://hc.example/1-2-3"
        [log]
        level = "debug"
        """
    )
    assert config.tenant.base_url == "https://acme.api.identitynow.com"
    assert config.tenant.client_secret_file == Path("/etc/mmd/secret")
    assert config.tenant.rate == Rate(40, timedelta(seconds=5))
    assert config.database.url == "sqlite:////var/lib/mmd/mmd.db"
    assert config.database.file == Path("/var/lib/mmd/mmd.db")
    assert (config.windows.timezone, config.windows.lead) == ("Europe/Berlin", "auto")
    assert config.reconcile.zombie_grace == timedelta(0)
    assert (config.reports.directory, config.reports.formats) == (Path("/srv/reports"), ("json",))
    assert config.alerts.urls == (Secret("json://localhost"),)
    assert config.alerts.before == (timedelta(hours=1), timedelta(minutes=10))
    assert config.alerts.heartbeat_url.reveal() == "https://hc.example/1-2-3"
    assert config.log.level == "debug"


def test_the_environment_wins_over_the_file() -> None:
    environ = {"MMD_WINDOWS__MAX_SOURCES": "7", "MMD_LOG__LEVEL": "error", "MMD_CONFIG": "x", "PATH": "/bin"}
    config = read("[windows]\nmax_sources = 3\n[log]\nlevel = 'info'", environ)
    assert (config.windows.max_sources, config.log.level) == (7, "error")


@pytest.mark.parametrize(
    ("written", "variable", "value", "url"),
    [
        ("name = 'a'", "MMD_TENANT__BASE_URL", "http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("base_url = 'https://a.example'", "MMD_TENANT__NAME", "b", "https://b.api.identitynow.com"),
        ("name = 'a'", "MMD_TENANT__BASE_URL", "", "https://a.api.identitynow.com"),
    ],
)
def test_a_tenant_named_in_the_environment_wins_whichever_way_it_is_named(
    written: str, variable: str, value: str, url: str
) -> None:
    config = read(f"[tenant]\n{written}", {variable: value})
    assert base_url(config) == url
    assert not (config.tenant.name and config.tenant.base_url)


def test_a_tenant_named_twice_in_the_environment_is_a_mistake() -> None:
    error = mistake("", {"MMD_TENANT__NAME": "a", "MMD_TENANT__BASE_URL": "https://a.example"})
    assert "MMD_TENANT__BASE_URL: [tenant] has both name and base_url" in error.message


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:80", "https://a.example"]
)
def test_plain_http_is_for_this_machine_only(url: str) -> None:
    assert read(f"[tenant]\nbase_url = '{url}'").tenant.base_url == url


def test_every_treatment_can_be_configured() -> None:
    for treatment in Treatment:
        assert read(f"[windows]\ntreatment = '{treatment}'").windows.treatment == treatment


# --- What is said -------------------------------------------------------------------------------------------

MISTAKES = [
    (
        "[reconcile]\ninterval = '1m'\nswep = '5m'",
        "line 3",
        "[reconcile] has no key swep",
        "did you mean sweep?",
    ),
    ("[reconcil]\nsweep = '5m'", "line 1", "no section reconcil", "did you mean reconcile?"),
    ("[zzz]\n", "line 1", "no section zzz", "the sections are tenant"),
    ("[windows]\nzzz = 1", "line 2", "has no key zzz", "the keys of [windows] are timezone, treatment, "),
    ("reconcile = 5", "line 1", "reconcile must be a section", "[reconcile]"),
    ("[log]\n\nsweep = '5m'", "line 3", "[log] has no key sweep", "belongs in [reconcile]"),
    ("[windows]\nmax_sources = '3'", "line 2", "whole number", ""),
    ("[windows]\nmax_sources = true", "line 2", "whole number", ""),
    ("[windows]\nmax_sources = 0", "line 2", "1 or more", ""),
    ("[windows]\ntimezone = 'Europe/Berln'", "line 2", "time zone", "did you mean Europe/Berlin?"),
    ("[windows]\ntimezone = '../../etc/passwd'", "line 2", "time zone", ""),
    (
        "[windows]\ntreatment = 'ful'",
        "line 2",
        "full, no-provisioning or keep-features",
        "did you mean full?",
    ),
    ("[windows]\ntreatment = ['full']", "line 2", "full, no-provisioning or keep-features", ""),
    ("[reconcile]\ninterval = '0s'", "line 2", "longer than zero", ""),
    ("[reconcile]\ninterval = 30", "line 2", "duration", ""),
    ("[reconcile]\ninterval = '-5m'", "line 2", "must be a duration such as", ""),
    ("[reconcile]\ninterval = 'hunter2'", "line 2", "must be a duration such as", ""),
    ("[tenant]\nrate = '80'", "line 2", "requests per duration", ""),
    ("[tenant]\nrate = '101/10s'", "line 2", "from 1 to 100", ""),
    ("[tenant]\nrate = '0/10s'", "line 2", "from 1 to 100", ""),
    ("[tenant]\nrate = '80/0s'", "line 2", "longer than zero", ""),
    ("[tenant]\nname = 'acme.example/'", "line 2", "the tenant's name alone", "acme"),
    ("[tenant]\napi_version = 'v3'", "line 2", "v2024, v2025, v2026 or v1", ""),
    ("[tenant]\nbase_url = 'http://acme.example'", "line 2", "must be https", ""),
    ("[tenant]\nbase_url = 'http://192.168.0.1'", "line 2", "must be https", ""),
    ("[tenant]\nbase_url = 'http://127.0.0.1.evil.example'", "line 2", "must be https", ""),
    ("[tenant]\nbase_url = 'https://u:hunter2@acme.example'", "line 2", "user or password", ""),
    ("[tenant]\nbase_url = 'https://'", "line 2", "a URL such as", ""),
    ("[tenant]\nbase_url = 'https://acme.example:99999'", "line 2", "a URL such as", ""),
    ("[tenant]\nbase_url = 'ftp://acme.example'", "line 2", "a URL such as", ""),
    ("[tenant]\nbase_url = 'https://acme.example/v2026'", "line 2", "end after the host", "api_version"),
    ("[tenant]\nbase_url = 'https://acme.example?x'", "line 2", "end after the host", ""),
    (
        "[tenant]\nname = 'a'\nbase_url = 'https://a.example'",
        "line 3",
        "both name and base_url",
        "one of them",
    ),
    ('[tenant]\nclient_id = "a\\u0007b"', "line 2", "control characters", ""),
    (
        "[tenant]\nclient_secret = 'hunter2'",
        "line 2",
        "does not belong in the configuration",
        "client_secret_file",
    ),
    ("[database]\nurl = 'postgresql://u:hunter2@db/mmd'", "line 2", "SQLite file", ""),
    ("[database]\nurl = 'sqlite:///:memory:'", "line 2", "SQLite file", ""),
    ("[database]\nurl = 'sqlite://'", "line 2", "SQLite file", ""),
    ("[database]\nurl = 'sqlite:///mmd.db?mode=ro'", "line 2", "SQLite file", ""),
    ("[tenant]\nclient_id = 5", "line 2", "must be a string", ""),
    ("[reports]\ndirectory = '~no-such-user/x'", "line 2", "unknown user", ""),
    ("[reports]\ndirectory = ''", "line 2", "name a directory", ""),
    ("[reports]\nformats = 'csv'", "line 2", "must be a list", ""),
    ("[reports]\nformats = ['cvs']", "line 2", "csv, html or json", "did you mean csv?"),
    ("[alerts]\nurls = ['hunter2']", "line 2", "Apprise URLs", ""),
    ("[alerts]\nbefore = ['1h', '0m']", "line 2", "longer than zero", ""),
    ("[alerts]\nheartbeat_url = 'hunter2'", "line 2", "a URL such as", ""),
    ("[log]\nlevel = 'verbose'", "line 2", "debug, info, warning or error", ""),
    ("tenant.nme = 'a'", "line 1", "[tenant] has no key nme", "did you mean name?"),
    ("[ 'tenant' ]\n'nme' = 'a'", "line 2", "[tenant] has no key nme", ""),
    ("log = { level = 'info', levle = 'info' }", "line 1", "[log] has no key levle", "did you mean level?"),
    ("[[log]]\nlevel = 'info'", "line 1", "log must be a section", ""),
    ("[log]\nlevel = '''\n\nlevle = 1'''\nlevle = 2", "line 5", "[log] has no key levle", ""),
]


@pytest.mark.parametrize(("text", "line", "sentence", "hint"), MISTAKES)
def test_a_mistake_is_named_with_its_line(text: str, line: str, sentence: str, hint: str) -> None:
    error = mistake(text)
    said = f"{error.message}\n{error.hint}"
    assert f"{line}: " in said
    assert sentence in said
    assert error.hint
    assert hint in error.hint
    assert "hunter2" not in said
    assert error.exit_code == 2


@pytest.mark.parametrize("text", ["[tenant\nname = 1", "x =", "[log]\nlevel = 'a'\nlevel = 'b'"])
def test_broken_toml_is_named_with_line_and_column(text: str) -> None:
    error = mistake(text)
    message = error.message
    assert error.hint
    assert message.startswith(f"{HERE} is not TOML: ")
    assert "line" in message or "end of document" in message


def test_all_mistakes_are_told_at_once_in_the_order_of_their_lines() -> None:
    lines = ["[tenant]", *("" for _ in range(6)), "rate = 5", "[windos]", "[log]", "level = 'x'"]
    error = mistake("\n".join(["[log2]", *lines]), {"MMD_LOG__FORMAT": "xml"})
    assert error.message == f"{HERE}, line 1: there is no section log2"
    assert error.hint.isprintable()  # a terminal is shown no line break as it is
    assert re.findall(r"^[^?]+\?|[Aa]lso [^:]+", error.hint) == [
        "did you mean log?",
        "Also line 9",
        "also line 10",
        "also line 12",
        "also MMD_LOG__FORMAT",
    ]


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("MMD_LOG__LEVLE", "info", "[log] has no key levle"),
        ("MMD_LOGS__LEVEL", "info", "no section logs"),
        ("MMD_WINDOWS__MAX_SOURCES", "many", "whole number"),
        ("MMD_ALERTS__URLS", "json://localhost", "must be a list"),
    ],
)
def test_a_mistake_in_the_environment_is_named_by_its_variable(
    variable: str, value: str, sentence: str
) -> None:
    message = mistake("", {variable: value}).message
    assert f"{HERE}, {variable}: " in message
    assert sentence in message


def test_hostile_names_are_made_harmless() -> None:
    said = mistake('"a\\u001b[31m\\u202e" = 1').message
    assert said.isprintable()


# --- Where it is found --------------------------------------------------------------------------------------


def test_the_file_is_looked_for_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    user = tmp_path / "home/.config/mmd/config.toml"
    user.parent.mkdir(parents=True)
    user.touch()
    environ = {"HOME": str(tmp_path / "home")}
    assert find(None, environ) == user
    Path("mmd.toml").touch()
    assert find(None, environ) == tmp_path / "mmd.toml"
    assert find(None, environ | {"MMD_CONFIG": "other.toml"}) == tmp_path / "other.toml"
    assert find(Path("/x.toml"), environ | {"MMD_CONFIG": "other.toml"}) == Path("/x.toml")


@pytest.mark.skipif(Path("/etc/mmd/config.toml").exists(), reason="this machine has a configuration")
def test_no_configuration_is_an_error_with_a_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="no configuration found") as caught:
        load(None, {})
    assert "mmd init" in caught.value.hint


def test_a_place_that_cannot_be_looked_at_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="File name too long"):
        load(None, {"HOME": "/" + "x" * 300})


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.toml"):
        with pytest.raises(ConfigError, match="cannot be read"):
            load(path, {})
    (tmp_path / "latin1.toml").write_bytes(b"# \xe4")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(tmp_path / "latin1.toml", {})


# --- Talking to ISC -----------------------------------------------------------------------------------------


def test_a_name_is_the_api_host() -> None:
    assert base_url(read("[tenant]\nname = 'Acme-sb'")) == "https://acme-sb.api.identitynow.com"


def test_an_empty_name_or_base_url_is_none() -> None:
    assert base_url(read("[tenant]\nname = 'a'\nbase_url = ''")) == "https://a.api.identitynow.com"
    assert base_url(read("[tenant]\nname = ''\nbase_url = 'https://a.example'")) == "https://a.example"
    assert client_id(read("[tenant]\nclient_id = 'abc'")) == "abc"


def test_what_isc_needs_is_asked_for_only_when_it_is_needed() -> None:
    config = read("")
    for needed in (base_url, client_id):
        with pytest.raises(ConfigError, match=str(HERE)):
            needed(config)
    with pytest.raises(ConfigError, match="no client secret") as caught:
        client_secret(config, {})
    assert all(
        way in caught.value.hint for way in ("client_secret_file", "credential", "MMD_TENANT__CLIENT_SECRET")
    )


def secret_file(folder: Path, text: str = "s3cret\n", mode: int = 0o600) -> Config:
    file = folder / "secret"
    file.write_text(text)
    file.chmod(mode)
    return parse("[tenant]\nclient_secret_file = 'secret'", folder / "mmd.toml", {})


def test_the_secret_comes_from_environment_then_credential_then_file(tmp_path: Path) -> None:
    config = secret_file(tmp_path)
    (tmp_path / "credentials").mkdir()
    systemd = {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}
    assert client_secret(config, systemd).reveal() == "s3cret"
    (tmp_path / "credentials/client_secret").write_text("from-systemd")
    assert client_secret(config, systemd).reveal() == "from-systemd"
    assert client_secret(config, systemd | {"MMD_TENANT__CLIENT_SECRET": "from-env"}).reveal() == "from-env"


def test_a_rotated_secret_is_read_anew(tmp_path: Path) -> None:
    config = secret_file(tmp_path)
    assert client_secret(config, {}).reveal() == "s3cret"
    (tmp_path / "secret").write_text("rotated\r\n")
    assert client_secret(config, {}).reveal() == "rotated"


@pytest.mark.parametrize("bit", [stat.S_IRGRP, stat.S_IWGRP, stat.S_IROTH, stat.S_IWOTH, stat.S_IXOTH])
def test_a_secret_file_open_to_others_is_refused(tmp_path: Path, bit: int) -> None:
    with pytest.raises(ConfigError, match="open to others") as caught:
        client_secret(secret_file(tmp_path, mode=0o600 | bit), {})
    assert caught.value.hint == f"chmod 600 {tmp_path / 'secret'}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_secret_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    config = secret_file(tmp_path)
    os.chown(tmp_path / "secret", 12345, -1)
    with pytest.raises(ConfigError, match="another user"):
        client_secret(config, {})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("", "is empty"), ("\n", "is empty"), ("two\nlines", "line breaks"), ("a b", "spaces"), ("ä", "odd")],
)
def test_what_is_no_secret_is_refused_and_not_shown(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        client_secret(secret_file(tmp_path, text=text), {})
    assert "two" not in f"{caught.value.message}{caught.value.hint}"


def test_a_secret_that_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    config = secret_file(tmp_path)
    (tmp_path / "secret").unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        client_secret(config, {})
    os.mkfifo(tmp_path / "secret", 0o600)
    with pytest.raises(ConfigError, match="not a regular file"):
        client_secret(config, {})


def test_a_secret_is_never_shown() -> None:
    secret = Secret("hunter2")
    config = read("[alerts]\nurls = ['json://hunter2']\nheartbeat_url = 'https://hunter2.example'")
    for shown in (str(secret), repr(secret), f"{secret}", repr(config), str(asdict(config))):
        assert "hunter2" not in shown
        assert "*****" in shown
    assert secret == Secret("hunter2") != Secret("other")
    assert len({secret, Secret("hunter2")}) == 1
    assert not Secret()


# --- The example --------------------------------------------------------------------------------------------


def test_the_example_has_every_key_with_its_default() -> None:
    document = tomllib.loads(example_text())
    keys = {section: {key.name for key in fields(shape)} for section, shape in SECTIONS.items()}
    assert {section: set(table) for section, table in document.items()} == keys
    assert read(example_text()) == read("")


def test_every_key_of_the_example_has_a_comment_above_it() -> None:
    lines = example_text().splitlines()
    keys = [index for index, line in enumerate(lines) if " = " in line and not line.startswith("#")]
    assert len(keys) == sum(len(fields(shape)) for shape in SECTIONS.values())
    assert all(lines[index - 1].startswith("# ") for index in keys)


# --- Anything at all ----------------------------------------------------------------------------------------

JUNK = [
    "\x00",
    "'",
    '"',
    "'''",
    "[",
    "]",
    "[[",
    "=",
    "{",
    "}",
    "\n",
    "#",
    ".",
    "é",
    "\u202e",
    "9" * 5000,
    "-1",
    "1e9",
]
VALUES: list[Any] = [
    "",
    "x",
    "0s",
    "-1s",
    "9" * 400 + "d",
    "99999999d",
    "http://[",
    "https://\u202e",
    "~nobody/x",
]


def mutated(text: str, dice: random.Random) -> str:
    lines = text.splitlines()
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(lines))
        place = dice.randint(0, len(lines[at]))
        match dice.randrange(5):
            case 0:
                lines[at] = lines[at][:place] + dice.choice(JUNK) + lines[at][place:]
            case 1:
                lines[at] = lines[at][:place] + lines[at][place + 1 :]
            case 2 if " = " in lines[at]:
                lines[at] = lines[at].split(" = ")[0] + " = " + repr(dice.choice(VALUES))
            case 3:
                lines.insert(at, lines[dice.randrange(len(lines))])
            case _:
                del lines[at]
    return "\n".join(lines)


def test_no_file_however_broken_is_more_than_a_configuration_error() -> None:
    dice = random.Random(20261123)  # noqa: S311 - the same files each time
    bare = "\n".join(line for line in example_text().splitlines() if not line.startswith("#"))
    messages = []
    for _ in range(1500):
        try:
            read(mutated(bare, dice))
        except ConfigError as error:
            messages.append(error.message)
    assert 500 < len(messages) < 1500
    assert all(message.isprintable() for message in messages)


def test_depth_is_no_way_to_a_traceback() -> None:
    assert "nested too deeply" in mistake("x = " + "[" * 20000).message
