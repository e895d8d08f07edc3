"""The plan of the house, held by tests: rooms, floor plan, documents, names, imports, dependencies."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from assaymark.catalog import AUDITS, MITIGATIONS

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCE = REPOSITORY / "src" / "assaymark"
ROOMS = SOURCE / "audits"
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
HEAVY = {"torch", "transformers", "daft", "duckdb", "scipy", "matplotlib", "sklearn", "pandas", "ray", "onnxruntime"}
FORBIDDEN_NAMES = {"utils", "util", "helper", "helpers", "manager", "managers", "common", "misc", "process"}


def room_of(audit_id: str) -> str:
    return audit_id.replace("-", "_")


def modules(folder: Path = SOURCE) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def method_files() -> list[Path]:
    """Modules of the papers' methods: `method.py`, `method_<part>.py`, or a package `method/`."""
    return sorted({*ROOMS.glob("*/method*.py"), *ROOMS.glob("*/method/**/*.py")})


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports_of(path: Path) -> Iterator[str]:
    """Absolute names of everything that a file imports, at any depth of its code."""
    package = path.relative_to(SOURCE.parent).parent.parts
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            stem = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{stem}.{alias.name}" for alias in node.names)


def text_files() -> list[Path]:
    """Files under version control (everything outside built and hidden folders where there is no git)."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=REPOSITORY, capture_output=True, text=True
    )
    if listed.returncode == 0:
        paths = [REPOSITORY / name for name in listed.stdout.split("\0") if name]
    else:
        skipped = {".venv", "build", "dist", "runs", "__pycache__"}
        paths = [p for p in REPOSITORY.rglob("*") if not skipped.intersection(p.relative_to(REPOSITORY).parts)]
    return [p for p in paths if p.is_file() and b"\0" not in p.read_bytes()[:8192]]


# --- rooms -----------------------------------------------------------------------------------------------------------------


def test_rooms_are_the_catalog() -> None:
    rooms = {path.parent.name for path in ROOMS.glob("*/__init__.py")}
    assert rooms == {room_of(audit_id) for audit_id in AUDITS}
    assert set(MITIGATIONS) <= set(AUDITS)


@pytest.mark.parametrize("audit_id", AUDITS)
def test_catalog_points_into_the_room(audit_id: str) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", audit_id)
    assert AUDITS[audit_id].startswith(f"assaymark.audits.{room_of(audit_id)}.audit:")
    if audit_id in MITIGATIONS:
        assert MITIGATIONS[audit_id].startswith(f"assaymark.audits.{room_of(audit_id)}.mitigate:")


@pytest.mark.parametrize("audit_id", AUDITS)
def test_room_has_the_floor_plan(audit_id: str) -> None:
    room = ROOMS / room_of(audit_id)
    missing = [name for name in ("__init__.py", "config.py", "data.py", "audit.py", "README.md") if not (room / name).is_file()]
    if not (room / "report.py").is_file() and not (room / "report" / "__init__.py").is_file():
        missing.append("report.py or report/")
    if not any(path.is_relative_to(room) for path in method_files()):
        missing.append("method.py or method/")
    assert not missing, f"{room.name} lacks {missing}"
    assert (room / "mitigate.py").is_file() == (audit_id in MITIGATIONS)
    assert ast.get_docstring(tree_of(room / "__init__.py")), "the docstring of a room states its question and its paper"


@pytest.mark.parametrize("audit_id", AUDITS)
def test_audit_is_documented(audit_id: str) -> None:
    assert (REPOSITORY / "docs" / f"{audit_id}.md").is_file()
    papers = (REPOSITORY / "docs" / "papers.md").read_text(encoding="utf-8")
    assert f"`{audit_id}`" in papers, "no audit without an entry in the paper index"
    examples = [p for p in (REPOSITORY / "examples").glob("*") if p.suffix in (".py", ".yaml")]
    assert any(audit_id in p.read_text(encoding="utf-8") for p in examples), "no example runs this audit"


# --- documents -------------------------------------------------------------------------------------------------------------


def test_changelog_opens_with_the_version() -> None:
    headings = re.findall(r"^## (\S+)", (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings, "CHANGELOG.md has no release"
    assert headings[0] == PROJECT["project"]["version"]


def test_no_path_of_one_machine() -> None:
    pattern = re.compile(r"(?<![\w.~*)}-])/(?:home|root|work)/")
    found = [
        f"{path.relative_to(REPOSITORY)}:{number}"
        for path in text_files()
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found


def test_documents_link_to_what_exists() -> None:
    broken = []
    for path in [p for p in text_files() if p.suffix == ".md"]:
        for target in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8")):
            if not re.match(r"[a-z]+:", target) and not (path.parent / target).exists():
                broken.append(f"{path.relative_to(REPOSITORY)}: {target}")
    assert not broken


def test_documents_name_real_make_targets() -> None:
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {"demo", "test", "lint", "format", "bench", "calibrate", "docs", "clean", "help"} <= targets
    for path in [p for p in text_files() if p.suffix == ".md"]:
        named = set(re.findall(r"`make ([a-z]+)", path.read_text(encoding="utf-8")))
        assert named <= targets, f"{path.name}: make {named - targets}"


# --- style -----------------------------------------------------------------------------------------------------------------


def test_files_are_short() -> None:
    lengths = {str(p.relative_to(SOURCE)): len(p.read_text(encoding="utf-8").splitlines()) for p in modules()}
    assert not {name: lines for name, lines in lengths.items() if lines > 400}


def test_names_say_what_is_computed() -> None:
    named = [p for p in SOURCE.rglob("*") if FORBIDDEN_NAMES.intersection(p.stem.lower().split("_"))]
    assert not [str(p.relative_to(SOURCE)) for p in named]


def test_public_functions_are_documented() -> None:
    bare = [
        f"{path.relative_to(SOURCE)}:{node.lineno} {node.name}"
        for path in [*modules(SOURCE / "stats"), *modules(SOURCE / "data"), *method_files()]
        for node in tree_of(path).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert not bare


# --- imports ---------------------------------------------------------------------------------------------------------------


def light_modules() -> list[str]:
    configs = [f"assaymark.audits.{path.parent.name}.config" for path in sorted(ROOMS.glob("*/config.py"))]
    return ["assaymark", "assaymark.catalog", "assaymark.config", "assaymark.audit", "assaymark.cli", *configs]


@pytest.mark.parametrize("module", light_modules())
def test_import_stays_light(module: str) -> None:
    """Listing, describing and validating load none of the large libraries."""
    code = f"import sys, {module}; print(*set({sorted(HEAVY)!r}).intersection(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_methods_see_only_numbers() -> None:
    """The papers' methods are functions on arrays: files, settings and models are somebody else's."""
    outside = {"numpy", "scipy", "sklearn", "torch", *sys.stdlib_module_names}
    foreign = []
    for path in method_files():
        room = f"assaymark.audits.{path.relative_to(ROOMS).parts[0]}.method"
        for name in imports_of(path):
            ours = name.startswith((room, "assaymark.stats", "assaymark.result"))
            if not ours and name.partition(".")[0] not in outside:
                foreign.append(f"{path.relative_to(ROOMS)}: {name}")
    assert not foreign


# --- dependencies ----------------------------------------------------------------------------------------------------------


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_names(requirements: list[str]) -> set[str]:
    names = {normal(re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0]) for requirement in requirements}
    return names - {"assaymark"}


def declared() -> dict[str, set[str]]:
    """Names of the requirements by the extra they belong to ("" for the core)."""
    extras = PROJECT["project"]["optional-dependencies"]
    return {"": requirement_names(PROJECT["project"]["dependencies"])} | {k: requirement_names(v) for k, v in extras.items()}


IMPORT_NAMES = {"PIL": "pillow", "yaml": "pyyaml", "open_clip": "open-clip-torch", "sklearn": "scikit-learn"}


def imported_distributions() -> set[str]:
    installed = packages_distributions()
    roots = {name.partition(".")[0] for path in modules() for name in imports_of(path)}
    roots -= {"assaymark", "", *sys.stdlib_module_names}
    return {normal(IMPORT_NAMES.get(root) or installed.get(root, [root])[0]) for root in roots}


def test_every_import_is_declared() -> None:
    assert not imported_distributions() - set().union(*declared().values())


def test_every_core_dependency_is_used() -> None:
    assert not declared()[""] - imported_distributions()


def test_missing_extras_have_an_install_line() -> None:
    named = {
        node.args[0].value
        for path in modules()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name | ast.Attribute)
        and (node.func.id if isinstance(node.func, ast.Name) else node.func.attr) == "MissingExtra"
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }
    assert named <= set(declared())


def test_constraints_pin_what_the_targets_install() -> None:
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert not [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", pin)], "exact pins, without local builds"
    pinned = {normal(pin.partition("==")[0]) for pin in pins}
    assert not [name for name in pinned if name.startswith(("nvidia", "cuda", "triton"))]
    groups = PROJECT["dependency-groups"]
    wanted = requirement_names([r for group in groups.values() for r in group if isinstance(r, str)])
    wanted |= set().union(*(names for extra, names in declared().items() if extra != "openclip"))
    assert not wanted - pinned
