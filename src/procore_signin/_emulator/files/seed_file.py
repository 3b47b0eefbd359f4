"""A seed written by hand, in YAML or JSON: who can log in, and what they find.

```yaml
people:
  - {id: 7, login: ada@example.com, name: Ada Lovelace}
companies:
  - {id: 70, name: Analytical Engines, members: [7]}
projects:
  - {id: 700, company_id: 70, name: Mill}
clients:
  - client_id: second
    client_secret: made-up
    redirect_uris: [http://localhost:9000/callback]
```

A section replaces what is built in; one that is left out stays as it is. Companies bring their own
projects: with `companies` and without `projects` there are none.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from procore_signin._emulator.errors import EmulatorRefused
from procore_signin._emulator.files import members
from procore_signin._emulator.files.records import client_of, company_of, person_of, project_of
from procore_signin._emulator.world.directory import Directory
from procore_signin._emulator.world.seed import Population
from procore_signin._extras import install

_Record = TypeVar("_Record")


def read_population(path: Path) -> Population:
    """Return who and what exists, from a file: JSON when its name ends in `.json`, else YAML.

    Raises:
        EmulatorRefused: It cannot be read, or says something that cannot be. The text names the
            file and the place.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise EmulatorRefused(f"The seed file {path} cannot be read: {error.strerror}") from None
    try:
        found = members.parse(content) if path.suffix == ".json" else _yaml(content)
        population = _population(members.only(found, "people", "companies", "projects", "clients"))
        population.fill(Directory())
    except RecursionError:
        raise EmulatorRefused(f"The seed file {path} is nested too deep") from None
    except ValueError as error:
        raise EmulatorRefused(f"The seed file {path} does not work: {error}") from None
    return population


def _population(sections: members.Members) -> Population:
    chosen: dict[str, Any] = {
        "people": _section(sections, "people", person_of),
        "companies": _section(sections, "companies", company_of),
        "projects": _section(sections, "projects", project_of),
        "clients": _section(sections, "clients", client_of),
    }
    if chosen["companies"] is not None and chosen["projects"] is None:
        chosen["projects"] = ()
    return Population(**{name: records for name, records in chosen.items() if records is not None})


def _section(
    sections: members.Members, name: str, record_of: Callable[[object], _Record]
) -> tuple[_Record, ...] | None:
    listed = sections.get(name)
    if listed is None:
        return None
    if not isinstance(listed, list):
        raise EmulatorRefused(f"{name} is a list")
    records = []
    for place, one in enumerate(listed, start=1):
        try:
            records.append(record_of(one))
        except ValueError as error:
            raise EmulatorRefused(f"{name}, number {place}: {error}") from None
    return tuple(records)


def _yaml(content: bytes) -> object:
    try:
        import yaml  # noqa: PLC0415 - only who writes YAML needs it
    except ModuleNotFoundError:
        raise EmulatorRefused(
            "YAML needs PyYAML, which is not installed. Write JSON and end the file's name in "
            f".json, or install it. {install('emulator')}"
        ) from None

    class Loader(yaml.SafeLoader):  # type: ignore[misc] # the library ships no types
        """Reads plain values only, and refuses what it would silently drop: a name said twice."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - the library's signature
            names = [self.construct_object(key, deep=True) for key, _ in node.value]
            for place, name in enumerate(names):
                if name in names[:place]:
                    raise EmulatorRefused(f"line {node.start_mark.line + 1}: {name!r} occurs twice")
            mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
            return mapping

    try:
        return yaml.load(content, Loader)  # noqa: S506 - a safe loader, made above
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or "this is not YAML"
        raise EmulatorRefused(f"{place}{problem}") from None
