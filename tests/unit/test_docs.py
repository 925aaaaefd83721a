"""What the docs say exists, and what exists is in the docs."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from mmd.changes import shelter, suppress
from mmd.cli import cli
from mmd.config import SECTIONS
from mmd.errors import MmdError
from mmd.escrow import Escrow, seal
from mmd.isc import door
from mmd.plan import DECISIONS
from mmd.posture import Fields, Posture, Snapshot, Treatment
from mmd.simulator import Simulator, make_tenant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mmd.simulator import Tenant

ROOT = Path(__file__).parents[2]
GUIDES = ["README.md", "docs/operations.md", "docs/contract.md"]
PAGES = sorted(str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def page(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


# --- Commands --------------------------------------------------------------------------------------------


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of a language, without the indentation that a list gives them."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", body, flags=re.MULTILINE) for indent, body in found]


def typed(text: str) -> Iterator[str]:
    """The commands of mmd that a page would have somebody type, whole."""
    for line in "\n".join(blocks(text, "sh")).splitlines():
        command = re.search(r"(?:^|\(|; )(?:sudo )?(mmd (?:[^|>;)\"]|\"[^\"]*\")*)", line.split("  #")[0])
        if command:
            yield command[1].replace("$(date +%F)", "2026-12-01")


def mentioned(text: str) -> set[str]:
    """The commands of mmd that a page names within its sentences, perhaps without their arguments."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return {" ".join(found.split()) for found in re.findall(r"`(mmd [^`]+)`", prose)}


def find(words: list[str]) -> tuple[click.Command, click.Context, list[str]]:
    """The command that the words begin with, its context, and the words after it."""
    command: click.Command = cli
    context = click.Context(cli, info_name="mmd")
    if words[:1] == ["--config"]:
        words = words[2:]
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, *words = words
        found = command.get_command(context, name)
        assert found is not None, f"there is no command {name}"
        command, context = found, click.Context(found, info_name=name, parent=context)
    return command, context, words


def every_command(group: click.Group, path: str) -> Iterator[str]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from every_command(command, f"{path} {name}")
        else:
            yield f"{path} {name}"


@pytest.mark.parametrize("name", GUIDES)
def test_every_command_to_type_would_be_understood(name: str) -> None:
    for line in typed(page(name)):
        command, context, words = find(shlex.split(line)[1:])
        command.make_context(context.info_name, words, parent=context.parent)


@pytest.mark.parametrize("name", PAGES)
def test_every_command_in_a_sentence_exists_with_its_options(name: str) -> None:
    for line in mentioned(page(name)):
        command, _, words = find(shlex.split(line)[1:])
        known = {flag for parameter in command.params for flag in parameter.opts} | {"--help", "--config"}
        assert {word for word in words if word.startswith("-")} <= known, line


def test_the_guides_have_commands_to_type() -> None:
    lines = [line for name in GUIDES for line in typed(page(name))]
    assert len(lines) > 20
    assert 'mmd start "Badge Readers" --for 10m --reason "first try"' in mentioned(page("README.md"))


def test_every_command_is_explained() -> None:
    explained = mentioned(page("docs/operations.md"))
    for path in every_command(cli, "mmd"):
        assert any(line == path or line.startswith(f"{path} ") for line in explained), path


def test_every_option_in_the_docs_is_spelt_as_the_commands_spell_theirs() -> None:
    known = {"--help", "--version", "--config"}
    for path in every_command(cli, "mmd"):
        known |= {flag for parameter in find(path.split()[1:])[0].params for flag in parameter.opts}
    for name in GUIDES:
        said = set(re.findall(r"`(--[a-z-]+)", page(name)))
        assert said <= known, said - known


# --- What people read ------------------------------------------------------------------------------------


def test_every_configuration_key_is_explained() -> None:
    section = page("docs/operations.md").partition("## Configuration")[2].partition("\n## ")[0]
    explained = set(re.findall(r"`(?:\[\w+\] )?(\w+)`", section))
    for shape in SECTIONS.values():
        assert set(shape.__dataclass_fields__) <= explained, shape


def test_every_log_line_is_explained() -> None:
    call = re.compile(r"log(?:\.\w+)?\(\s*f?\"([a-z]+\.[a-z{}.]+)\"")
    said = [
        event for path in (ROOT / "mmd").glob("**/*.py") for event in call.findall(path.read_text("utf-8"))
    ]
    assert len(said) > 15
    explained = set(re.findall(r"`([a-z]+\.[a-z-]+)`", page("docs/operations.md")))
    verbs = {verb.value for verb, _ in DECISIONS.values()} & {"enter", "re-enter", "restore"}
    for event in said:
        names = {event} if "{" not in event else {f"source.{verb}" for verb in verbs}
        assert names <= explained, event


def test_every_reason_that_asks_for_somebody_is_explained() -> None:
    explained = page("docs/operations.md")
    for verb, reason in DECISIONS.values():
        assert verb.value != "alert" or f"| {reason} |" in explained, reason


def errors(kind: type[MmdError]) -> Iterator[type[MmdError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from errors(below)


def test_every_exit_code_is_explained() -> None:
    table = page("docs/operations.md").partition("### Exit codes")[2].partition("\n## ")[0]
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    assert codes == {kind.exit_code for kind in errors(MmdError)} | {0, 130}


# --- Architecture ----------------------------------------------------------------------------------------


def rendered() -> str:
    """The decision table for people: a row for wanted and held, a column for each posture."""
    postures = [Posture.NORMAL, Posture.MIXED, Posture.MAINTENANCE, Posture.UNKNOWN]
    lines = [
        "| | " + " | ".join(posture.value for posture in postures) + " |",
        "|---" * (len(postures) + 1) + "|",
    ]
    for wanted, held in ((True, False), (True, True), (False, True), (False, False)):
        title = f"{'wanted' if wanted else 'not wanted'}, {'held' if held else 'not held'}"
        cells = [DECISIONS[wanted, held, posture] for posture in postures]
        shown = [f"**{verb.value}**: {reason}" for verb, reason in cells]
        lines.append(f"| **{title}** | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def test_the_table_in_the_docs_is_the_one_that_decides() -> None:
    text = page("docs/architecture.md")
    shown = text.partition("<!-- decisions -->\n")[2].partition("\n<!-- /decisions -->")[0]
    assert shown == rendered()


def modules() -> list[str]:
    """Every module of mmd, as "isc/wire"; in a repository only those that git knows, not work in progress."""
    listed = subprocess.run(
        ["git", "ls-files", "mmd/*.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    known = [ROOT / line for line in listed.stdout.splitlines()] or list((ROOT / "mmd").glob("**/*.py"))
    paths = [path.relative_to(ROOT / "mmd").with_suffix("") for path in known]
    names = [str(path.parent if path.name == "__init__" else path) for path in paths]
    return [name for name in names if name != "."]


def test_the_map_names_every_module_once() -> None:
    (map_,) = [block for block in blocks(page("docs/architecture.md"), "") if block.startswith("mmd/\n")]
    named, package = [], ""
    for indent, name, slash in re.findall(r"^( +)(\w+)(/?)", map_, re.MULTILINE):
        package = name if slash else package
        named.append(f"{package}/{name}" if len(indent) > 2 else name)
    assert sorted(named) == sorted(modules())


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page(name)):
        file, _, anchor = target.partition("#")
        if "://" in file:
            continue
        path = (ROOT / name).parent / file if file else ROOT / name
        assert path.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
            assert anchor in anchors, target


def test_decisions_are_numbered_without_a_gap_and_listed() -> None:
    files = sorted(path.name for path in (ROOT / "docs/adr").glob("*.md"))
    assert [int(name[:4]) for name in files] == list(range(1, len(files) + 1))
    assert all(f"(adr/{name})" in page("docs/architecture.md") for name in files)
    assert all(page(f"docs/adr/{name}").startswith(f"# {name[:4]}. ") for name in files)


def test_every_decision_that_the_code_cites_is_there() -> None:
    cited = {
        number
        for path in (ROOT / "mmd").glob("**/*.py")
        for number in re.findall(r"docs/adr/(\d{4})", path.read_text("utf-8"))
    }
    assert cited
    assert cited <= {path.name[:4] for path in (ROOT / "docs/adr").glob("*.md")}


# --- Restore by hand -------------------------------------------------------------------------------------

NEEDED = ("bash", "curl", "jq", "sha256sum")
MISSING = [tool for tool in NEEDED if shutil.which(tool) is None]


def put_into_maintenance(tenant: Tenant, source_id: str, treatment: Treatment) -> None:
    """What entering leaves on a source, its escrow above all."""
    seen = replace(door.observe(tenant.read(source_id)), schedules=dict(tenant.schedules[source_id]))
    fields: Fields = seen.fields
    snapshot = Snapshot(
        id="an entry",
        source_id=source_id,
        source_name=seen.name,
        treatment=treatment,
        taken_at=datetime(2026, 12, 1, 21, tzinfo=UTC),
        before=fields,
        after=fields,
    )
    text = seal(Escrow(snapshot=snapshot, claims=()), b"a key that is lost")
    operations = [*shelter(seen, snapshot, text), *suppress(seen, snapshot)]
    tenant.patch(source_id, [operation.wire() for operation in operations])
    for kind in fields.schedules:
        tenant.delete_schedule(source_id, kind)


@pytest.mark.skipif(bool(MISSING), reason=f"NOT RUN: {', '.join(MISSING)} is not installed here")
@pytest.mark.parametrize(
    ("name", "treatment"),
    [
        ("Active Directory", Treatment.FULL),
        ("Microsoft Entra ID", Treatment.NO_PROVISIONING),
        ("Contractors (CSV)", Treatment.FULL),
        ("RACF Mainframe", Treatment.KEEP_FEATURES),
    ],
)
def test_a_source_is_restored_by_hand_as_the_docs_say(
    tmp_path: Path, name: str, treatment: Treatment
) -> None:
    section = page("docs/operations.md").partition("## Restore by hand")[2].partition("\n## ")[0]
    with Simulator(make_tenant()) as simulator:
        source_id = simulator.tenant.id_of(name)
        before = simulator.tenant.comparable(source_id)
        put_into_maintenance(simulator.tenant, source_id, treatment)
        assert simulator.tenant.comparable(source_id) != before
        (tmp_path / "client_secret").write_text(f"{simulator.client_secret}\n")
        values = {"BASE": simulator.base_url, "CLIENT_ID": simulator.client_id, "ID": source_id}
        script = "\n".join(["set -euo pipefail", *blocks(section, "sh")])
        for variable, value in values.items():
            script = re.sub(rf"^{variable}=\S+", f"{variable}={value}", script, flags=re.MULTILINE)
        done = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert simulator.tenant.comparable(source_id) == before
    digests = [line.split()[0] for line in done.stdout.splitlines() if re.match(r"[0-9a-f]{64}\b", line)]
    assert len(digests) == 2
    assert len(set(digests)) == 1
    assert simulator.client_secret not in done.stdout + done.stderr
    assert json.loads((tmp_path / "escrow.json").read_text("utf-8"))["source"] == source_id
