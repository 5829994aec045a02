"""A table of a warehouse by its address, for as long as it is counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from equipoise.errors import DataError, MissingExtraError, UsageError
from equipoise.experiment.definition import TableSource

if TYPE_CHECKING:
    from ibis.expr.types import Table

__all__ = ["Variable", "warehouse_table"]

Variable = Callable[[str], str | None]
"""The value of an environment variable, or None where it is not set."""

_ENV = "env:"


@contextmanager
def warehouse_table(source: TableSource, variable: Variable | None = None) -> Iterator[Table]:
    """The table that a source names, `table`, `schema.table` or `catalog.schema.table`; closed afterwards.

    The address is any that Ibis connects to: `postgresql://`, `duckdb://`, `snowflake://` … An address from the
    environment is asked of `variable`. Raises UsageError where it is not set, MissingExtraError without the
    `warehouse` extra or the driver of the engine, DataError where the engine or the table is not there.
    """
    try:
        import ibis
    except ModuleNotFoundError:
        raise MissingExtraError("`source.connection`", "warehouse") from None
    address = _address(source, variable)
    try:
        connection = ibis.connect(address)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"the driver of {urlsplit(address).scheme}:// is not installed ({error.name}). "
            f"Install it: pip install 'ibis-framework[{_backend(address)}]'"
        ) from None
    except Exception as error:  # noqa: BLE001 - each driver fails in its own way
        raise DataError(
            f"the warehouse of `source.connection` cannot be reached: {_without_password(error, address)}"
        ) from None
    try:
        *database, name = source.table.split(".")
        try:
            table = connection.table(name, database=tuple(database) or None)
        except Exception as error:  # noqa: BLE001 - each driver fails in its own way
            raise DataError(
                f"{connection.name} has no table '{source.table}' for this user: {_without_password(error, address)}. "
                "Check `source.table`"
            ) from None
        yield table
    finally:
        connection.disconnect()


def _address(source: TableSource, variable: Variable | None) -> str:
    named = source.connection or ""
    if not named.startswith(_ENV):
        return named
    name = named.removeprefix(_ENV)
    address = variable(name) if variable else None
    if not address:
        raise UsageError(
            f"the environment variable {name} is not set, and `source.connection` names it. "
            f"Set it: export {name}=postgresql://user:password@host/database"
        )
    if "://" not in address:
        raise UsageError(
            f"the environment variable {name} holds no address; accepted: postgresql://user:password@host/database"
        )
    return address


def _backend(address: str) -> str:
    scheme = urlsplit(address).scheme
    return "postgres" if scheme == "postgresql" else scheme


def _without_password(error: Exception, address: str) -> str:
    """The first line of what a driver says, which may repeat the address."""
    said = (str(error).strip() or type(error).__name__).splitlines()[0].strip().rstrip(".")
    secret = urlsplit(address).password
    for each in {secret, unquote(secret)} if secret else set():
        said = said.replace(each, "***")
    return said
