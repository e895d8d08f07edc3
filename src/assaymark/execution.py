"""One audit, executed: inputs and models opened and checked, the audit run, its result redacted and given its provenance.

Everything that runs an audit goes through `execute`: the calls of the Python interface, plans, the command line, calibration.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from assaymark.allowance import Allowance
from assaymark.audit import Audit, AuditInfo, Context, Mitigation, Progress
from assaymark.budget import Budget
from assaymark.errors import InputError
from assaymark.preconditions import check_engine, check_extras, check_inputs, check_roles
from assaymark.result import Provenance, Result

if TYPE_CHECKING:
    from assaymark.config import AuditConfig
    from assaymark.store.cache import ModelCache

__all__ = ["cache_folder", "execute", "keep_traceback", "model_cache", "user_salt", "version"]

_RECORDED = ("numpy", "scipy", "pyarrow", "daft", "duckdb", "pandas", "pillow", "torch", "transformers", "onnxruntime", "ray")
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


def version() -> str:
    """Version of assaymark, or `0+source` when it runs from a source tree that was never installed."""
    try:
        return importlib.metadata.version("assaymark")
    except importlib.metadata.PackageNotFoundError:
        return "0+source"


def cache_folder() -> Path:
    """The user's cache folder: `$ASSAYMARK_CACHE`, else `$XDG_CACHE_HOME/assaymark`, else `~/.cache/assaymark`."""
    named = os.environ.get("ASSAYMARK_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "assaymark"


def keep_traceback() -> str:
    """Append the traceback being handled to `errors.log` in the cache folder; says where it is to be read."""
    path = cache_folder() / "errors.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8", errors="backslashreplace") as log:
            log.write(f"{datetime.now(UTC).isoformat()} {' '.join(sys.argv[1:2])}\n{traceback.format_exc()}\n")
    except OSError:
        traceback.print_exc()
        return "the lines above"
    return str(path)


def user_salt() -> bytes:
    """Secret of this user for hashing ids: `$ASSAYMARK_SALT`, else a random file that only the user can read."""
    named = os.environ.get("ASSAYMARK_SALT")
    if named:
        return named.encode()
    path = cache_folder() / "salt"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make_salt(path)
        salt = path.read_bytes()
    except OSError as error:
        raise InputError(f"the secret for hashing ids, {path}, cannot be used: {error.strerror}; set ASSAYMARK_SALT") from None
    if len(salt) < 16:
        raise InputError(
            f"the secret for hashing ids, {path}, is damaged: delete it (hashes of earlier reports will not match)"
        )
    return salt


def _make_salt(path: Path) -> None:
    temporary = path.with_name(f".salt-{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, os.urandom(32))
    finally:
        os.close(descriptor)
    try:
        # A link, not a rename: of two processes that start together the first one's salt stays.
        os.link(temporary, path)
    except FileExistsError:
        return
    finally:
        temporary.unlink()


def execute(
    audit_cls: type[Audit] | type[Mitigation],
    *,
    inputs: Mapping[str, Any],
    models: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    engine: str = "local",
    reveal: bool = False,
    folder: Path | None = None,
    step: str | None = None,
    base: Path | None = None,
    cache: ModelCache | None = None,
    batch_size: int = 256,
    progress: Progress | None = None,
    log: Callable[..., None] | None = None,
    budget: Allowance | int | None = None,
) -> Result:
    """Open inputs and models, run, redact, add provenance.

    Parameters
    ----------
    inputs : mapping of input name to value
        A path, glob, list of paths, Arrow table or data frame; or `{"path": ..., "schema": ...}`.
    models : mapping of role to model spec (or an adapter object)
    folder : Path, optional
        Run folder; checkpoints go to `work/STEP`, files handed on to `artifacts/STEP` in it. Without one nothing is kept.
    step : str, optional
        Name of the step's folders; the audit id by default.
    base : Path, optional
        Folder that relative paths in model specs start from.
    budget : Allowance or int, optional
        Queries that the models may compute; an `Allowance` is shared with other audits. See `assaymark.budget`.

    Raises
    ------
    AssaymarkError
        For everything the user can mend; nothing is opened before names, settings, roles and extras are checked.
    """
    info, models, log = audit_cls.info, dict(models or {}), log or (lambda event, **facts: None)
    # Relative paths in specs start from `base`, so what a step writes into its folders must be named absolutely.
    folder = None if folder is None else folder.resolve()
    config = audit_cls.Config.build(settings)
    check_engine(engine)
    check_inputs(info, inputs)
    check_roles(info, models)
    check_extras(info)
    started, clock = datetime.now(UTC), time.monotonic()
    step = step or info.id
    opened = _open_inputs(info, inputs)
    allowance = budget if isinstance(budget, Allowance) else Allowance(budget)
    adapters = _open_models(info, models, cache, base, batch_size, allowance)
    progress = progress or Progress()
    remote = any(getattr(adapter, "remote", False) for adapter in adapters.values())
    asking = Budget(allowance, remote=remote, say=progress.note, ask=progress.ask, log=log)
    context = Context(
        seed=seed,
        models=adapters,
        engine=engine,
        reveal=reveal,
        salt=user_salt(),
        work=_made(folder, "work", step),
        artifacts=_made(folder, "artifacts", step),
        base=base,
        cache=cache,
        batch_size=batch_size,
        progress=progress,
        budget=asking,
        log=log,
    )
    result = audit_cls(config).run(opened, context)
    if folder is not None:
        result = _relocated(result, folder, step)
    result = result.replace(notes=(*result.notes, *_input_notes(opened, result.notes)))
    result = _redacted(_impersonal(result, base), context)
    if info.limits:
        result = result.replace(notes=(*result.notes, f"limits: {info.limits}"))
    homes = [home for home in (base, folder) if home is not None]
    return result.replace(
        provenance=Provenance(
            audit=info.id,
            version=version(),
            seed=seed,
            settings=_portable(_shown_settings(config, context), *homes),
            inputs={name: _portable(_describe_input(value), *homes) for name, value in opened.items()},
            models={role: _portable(_describe_model(adapter), *homes) for role, adapter in adapters.items()},
            queries=asking.record(one_process=engine == "local"),
            libraries=_libraries(),
            engine=_CREDENTIALS.sub("", engine),
            started=started.isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - clock, 3),
        )
    )


def _open_inputs(info: AuditInfo, inputs: Mapping[str, Any]) -> dict[str, Any]:
    from assaymark.data import open_input

    opened = {}
    for spec in info.inputs:
        if spec.name in inputs:
            value, schema = inputs[spec.name], "auto"
            if isinstance(value, Mapping) and "path" in value:
                value, schema = value["path"], value.get("schema", "auto")
            opened[spec.name] = open_input(spec.kind, value, name=spec.name, schema=schema)
    return opened


def _open_models(
    info: AuditInfo, models: Mapping[str, Any], cache: Any, base: Path | None, batch_size: int, allowance: Allowance
) -> dict[str, Any]:
    if not models:
        return {}
    from assaymark.models import open_role

    return {
        role: open_role(info.role(role), spec, cache=cache, base=base, batch_size=batch_size, allowance=allowance)
        for role, spec in models.items()
    }


def _made(folder: Path | None, part: str, step: str) -> Path | None:
    if folder is None:
        return None
    path = folder / part / step
    path.mkdir(parents=True, exist_ok=True)
    return path


def _relocated(result: Result, folder: Path, step: str) -> Result:
    """Artifact files named from the run folder instead of the step's own; an empty folder is not left behind."""
    home = PurePosixPath("artifacts", step)
    artifacts = {}
    for name, artifact in result.artifacts.items():
        path = (folder / home / artifact.file).resolve()
        if not path.is_relative_to((folder / home).resolve()) or not path.exists():
            raise ValueError(f"artifact {name!r} names {artifact.file!r}, which the step did not leave in its folder")
        artifacts[name] = replace(artifact, file=str(home / artifact.file))
    figures = tuple(replace(f, artifact=str(home / f.artifact)) if f.artifact else f for f in result.figures)
    for empty in (folder / home, (folder / home).parent):
        if empty.is_dir() and not any(empty.iterdir()):
            empty.rmdir()
    return result.replace(artifacts=artifacts, figures=figures)


def _redacted(result: Result, context: Context) -> Result:
    from assaymark.report.redaction import redact

    return redact(result, salt=context.salt, reveal=context.reveal)


def _shown_settings(config: AuditConfig, context: Context) -> dict[str, Any]:
    from assaymark.report.redaction import hash_content

    return config.model_dump(mode="json") if context.reveal else config.shown(hashed=partial(hash_content, salt=context.salt))


def _portable(value: Any, *homes: Path) -> Any:
    """Settings and specs with paths below one of `homes` made relative: the report tells nothing about the user's folders."""
    if isinstance(value, str):
        for home in homes:
            value = _below(value, f"{home}{os.sep}")
        return value
    if isinstance(value, Mapping):
        return {key: _portable(item, *homes) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_portable(item, *homes) for item in value]
    return value


def _below(text: str, home: str) -> str:
    """`text` without `home` where it is a path below it, or a model spec whose target is."""
    scheme, colon, rest = text.partition(":")
    if text.startswith(home):
        return text[len(home) :]
    return f"{scheme}:{rest[len(home) :]}" if colon and scheme.isalnum() and rest.startswith(home) else text


def _impersonal(result: Result, base: Path | None) -> Result:
    """Title, notes and flows with paths from the plan's folder, as in the provenance."""
    if base is None:
        return result
    home = f"{base}{os.sep}"
    flows = tuple(replace(flow, source=flow.source.replace(home, "")) for flow in result.flows)
    return result.replace(
        title=result.title.replace(home, ""), notes=tuple(note.replace(home, "") for note in result.notes), flows=flows
    )


def _input_notes(opened: Mapping[str, Any], known: tuple[str, ...]) -> list[str]:
    """What was noted when the inputs were opened and the audit did not pass on: files left out, names guessed."""
    notes = [(name, note) for name, value in opened.items() for note in getattr(value, "notes", ())]
    return [f"input {name}: {note}" for name, note in notes if note not in known]


def _describe_input(opened: Any) -> dict[str, Any]:
    source = _CREDENTIALS.sub("", str(getattr(opened, "source", "") or type(opened).__name__))
    if "://" in source:  # the query of a signed URL is a key
        source = source.partition("?")[0]
    facts: dict[str, Any] = {"source": source}
    for fact, attribute in (("format", "format"), ("rows", "rows"), ("n", "n"), ("fingerprint", "fingerprint")):
        value = getattr(opened, attribute, None)
        if isinstance(value, (str, int)):
            facts[fact] = value
    shards = getattr(opened, "shards", None)
    if shards is not None:
        facts["files"] = len(shards)
    return facts


def _describe_model(adapter: Any) -> dict[str, Any]:
    calls = getattr(adapter, "calls", 0)
    return {
        "spec": _CREDENTIALS.sub("", str(getattr(adapter, "spec", ""))),
        "fingerprint": str(getattr(adapter, "fingerprint", "")),
        "calls": int(calls) if isinstance(calls, int) else 0,
    }


def _libraries() -> dict[str, str]:
    """Versions of Python and of the libraries that this process has loaded."""
    versions = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in _RECORDED:
        module = sys.modules.get({"pillow": "PIL"}.get(name, name))
        found = getattr(module, "__version__", None)
        if isinstance(found, str):
            versions[name] = found
    return versions


def model_cache() -> ModelCache:
    """The user's cache of model answers, shared by all runs."""
    from assaymark.store.cache import ModelCache

    return ModelCache(cache_folder() / "models.sqlite")
