"""What a notebook asks for and what a profile gives: parameters cells read as signatures, and profiles.toml."""

from __future__ import annotations

import ast
import difflib
import hashlib
import io
import json
import tokenize
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

__all__ = [
    "STANDARD",
    "TYPES",
    "Notebook",
    "Parameter",
    "Profile",
    "UsageError",
    "fill",
    "load_profiles",
    "parse_override",
    "read_notebook",
    "select",
]

TYPES: Mapping[str, Any] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "list[int]": list[int],
    "list[float]": list[float],
    "list[str]": list[str],
}
"""The types a parameter may have. An optional type is not among them: papermill would not see such a parameter."""

STANDARD = ("profile", "output_dir", "cache_dir", "device", "data_dir", "scheduler")
"""Names that the suite fills in itself; a notebook must have the first three and may have the others."""

HIDDEN_PROFILE = "tiny"


class UsageError(Exception):
    """A request that cannot be met; its text is one line that names what would be valid."""


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell: `name: annotation = default  # meaning`."""

    name: str
    annotation: str
    default: Any
    meaning: str


@dataclass(frozen=True)
class Notebook:
    """A notebook of the suite, as far as it can be known without running it."""

    path: Path
    title: str
    parameters: Mapping[str, Parameter]
    sha256: str

    @property
    def name(self) -> str:
        """File name without its ending, the name used everywhere else."""
        return self.path.stem


class Profile(BaseModel):
    """One scale of the suite: a table of `profiles.toml`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: str
    description: str
    time_limit: float = Field(gt=0, le=7 * 86400)
    values: dict[str, dict[str, Any]]
    time_limits: dict[str, float]

    def limit(self, notebook: str) -> float:
        """Seconds that one notebook may take at this scale.

        Returns:
            The notebook's own `time_limit` where it has one, else the profile's.
        """
        return self.time_limits.get(notebook, self.time_limit)


def read_notebook(path: Path) -> Notebook:
    """Read a notebook's title and the signature in its parameters cell.

    Args:
        path: The `.ipynb` file.

    Returns:
        The notebook; its checksum covers the cells' sources and tags, not outputs or other metadata.

    Raises:
        UsageError: If the file is not a notebook, or has no parameters cell of the form that CONTRIBUTING.md describes.
    """
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        sources = [(cell["cell_type"], "".join(cell["source"]), cell["metadata"].get("tags", [])) for cell in cells]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is not a notebook ({type(error).__name__}: {error})") from None
    tagged = [source for kind, source, tags in sources if kind == "code" and "parameters" in tags]
    if len(tagged) != 1:
        raise UsageError(f"{path.name} must have one cell tagged `parameters`, has {len(tagged)}")
    headings = (line[2:].strip() for _, source, _ in sources for line in source.splitlines() if line.startswith("# "))
    return Notebook(
        path=path,
        title=next(headings, path.stem),
        parameters={parameter.name: parameter for parameter in _signature(tagged[0], path.name)},
        sha256=hashlib.sha256(json.dumps(sources).encode()).hexdigest(),
    )


def _signature(source: str, where: str) -> list[Parameter]:
    comments = {
        token.start[0]: token.string.lstrip("# ").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    signature = []
    for statement in ast.parse(source).body:
        line = f"{where}, parameters cell, line {statement.lineno}"
        if not (isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value):
            raise UsageError(f"{line}: must be `name: type = value  # meaning`")
        name, annotation = statement.target.id, ast.unparse(statement.annotation)
        try:
            default = _checked(ast.literal_eval(statement.value), annotation)
        except ValueError as error:
            raise UsageError(f"{line}: `{name}` {error}") from None
        if not comments.get(statement.lineno):
            raise UsageError(f"{line}: `{name}` needs its meaning as a comment on the line")
        signature.append(Parameter(name, annotation, default, comments[statement.lineno]))
    missing = set(STANDARD[:3]) - {parameter.name for parameter in signature}
    if missing:
        raise UsageError(f"{where}, parameters cell: lacks {_quoted(sorted(missing))}")
    return signature


def _checked(value: Any, annotation: str) -> Any:
    """Give the value in its declared type; strict: neither "1" nor True is a number, 1.5 is no int, 1 is a float.

    Returns:
        The value, with whole numbers turned into floats where a float is declared.

    Raises:
        ValueError: With a text that goes on from the parameter's name.
    """
    if annotation not in TYPES:
        raise ValueError(f"must be of type {', '.join(TYPES)}; got `{annotation}`")
    try:
        strict = ConfigDict(strict=True, allow_inf_nan=False)  # results are JSON, which has no infinities
        return TypeAdapter(TYPES[annotation], config=strict).validate_python(value)
    except ValidationError:
        raise ValueError(f"must be {annotation}, got {value!r}") from None


def load_profiles(path: Path) -> dict[str, Profile]:
    """Read `profiles.toml`.

    In a profile's table `description` and `time_limit` are the profile's own; every table in it is named after a
    notebook and gives that notebook's parameters, and perhaps a `time_limit` of its own.

    Args:
        path: The TOML file.

    Returns:
        The profiles by name, in the order of the file.

    Raises:
        UsageError: If the file cannot be read, or a table has a key or a type that is not foreseen.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path.name} cannot be read: {error}") from None
    profiles = {}
    for name, table in tables.items():
        own = {key: value for key, value in table.items() if not isinstance(value, dict)}
        notebooks = {key: dict(value) for key, value in table.items() if isinstance(value, dict)}
        limits = {key: value.pop("time_limit") for key, value in notebooks.items() if "time_limit" in value}
        try:
            profiles[name] = Profile(name=name, values=notebooks, time_limits=limits, **own)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, (name, *first["loc"])))
            raise UsageError(f"{path.name}: {where}: {first['msg'].lower()}") from None
    return profiles


def select(names: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Pick notebooks by number (`2`, `02`), name, or part of a name.

    Args:
        names: All names, in reading order.
        wanted: What was asked for; commas separate as blanks do. Empty: all.

    Returns:
        The names picked, in reading order.

    Raises:
        UsageError: If a word picks nothing; the text names every notebook.

    Example:
        >>> select(["02-covariance", "07-circles"], ["7"])
        ['07-circles']
    """
    picked = set(names) if not wanted else set()
    for word in (part for text in wanted for part in text.split(",") if part):
        stem = word.removesuffix(".ipynb")
        exact = [name for name in names if name == stem or (stem.isdigit() and name.split("-")[0] == stem.zfill(2))]
        found = exact or ([] if stem.isdigit() else [name for name in names if stem.lower() in name])
        if not found:
            raise UsageError(f"no notebook `{word}`; there are {', '.join(names)}")
        picked.update(found)
    return [name for name in names if name in picked]


def parse_override(text: str, notebooks: Mapping[str, Notebook]) -> tuple[str, str, Any]:
    """Read one `NOTEBOOK.NAME=VALUE`; the value is read as the type that the notebook declares.

    Args:
        text: As typed, e.g. `02.alphas=[0.2,1]` or `circles.seed=3`.
        notebooks: The notebooks by name.

    Returns:
        Notebook name, parameter name, value.

    Raises:
        UsageError: If the form, the notebook, the parameter or the value is wrong.
    """
    target, equals, value = text.partition("=")
    wanted, dot, name = target.rpartition(".")
    if not (equals and dot and wanted and name):
        raise UsageError(f"-p {text}: must be NOTEBOOK.NAME=VALUE, e.g. 02.seed=1")
    found = select(list(notebooks), [wanted])
    if len(found) != 1:
        raise UsageError(f"-p {text}: `{wanted}` is not one notebook but {', '.join(found)}")
    notebook = notebooks[found[0]]
    parameter = _known(notebook, name)
    if name in STANDARD:
        raise UsageError(f"-p {text}: `{name}` is set by the suite; use the option for it (--help)")
    try:
        return notebook.name, name, _checked(_typed(value, parameter.annotation), parameter.annotation)
    except ValueError as error:
        raise UsageError(f"-p {text}: `{name}` {error}") from None


def _typed(text: str, annotation: str) -> Any:
    if annotation == "str":
        return text
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text  # a string where none is wanted: the check names the type


def fill(
    notebook: Notebook, profile: Profile, standard: Mapping[str, Any], overrides: Mapping[str, Any]
) -> dict[str, Any]:
    """Put together what a notebook gets: its profile's values, the suite's own, and those of the command line.

    Args:
        notebook: The notebook.
        profile: The scale; its values are checked against the notebook's signature.
        standard: Values of the `STANDARD` names; those the notebook does not have are left out.
        overrides: Values of `-p`, checked already.

    Returns:
        The parameters to inject, each in its declared type.

    Raises:
        UsageError: If the profile names a parameter that the notebook does not have, or gives it a wrong type.
    """
    values = dict(profile.values.get(notebook.name, {}))
    for name in values:
        _known(notebook, name, f"profiles.toml, {profile.name}: ")
        if name in STANDARD:
            raise UsageError(f"profiles.toml, {profile.name}: {notebook.name}: `{name}` is set by the suite")
    values |= {name: value for name, value in standard.items() if name in notebook.parameters}
    values |= overrides
    filled = {}
    for name, value in values.items():
        try:
            filled[name] = _checked(value, notebook.parameters[name].annotation)
        except ValueError as error:
            raise UsageError(f"profiles.toml, {profile.name}: {notebook.name}: `{name}` {error}") from None
    return filled


def _known(notebook: Notebook, name: str, where: str = "") -> Parameter:
    if name in notebook.parameters:
        return notebook.parameters[name]
    names = [other for other in notebook.parameters if other not in STANDARD]
    close = difflib.get_close_matches(name, names, n=1)
    hint = f" (did you mean `{close[0]}`?)" if close else ""
    raise UsageError(f"{where}{notebook.name} has no parameter `{name}`{hint}; it has {_quoted(names)}")


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"
