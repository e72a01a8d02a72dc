# ruff: noqa: INP001 - a script, no package
"""Writes the first migration from the files of ``sql/``, in the order of ``sql/order.txt``."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SQL = ROOT / "sql"
MIGRATION = ROOT / "migrations" / "V1__rowcast.sql"
REASON = """\
-- Why: the first version of the schema. Generated from sql/ by `make migration`: edit the files there, not this one.
-- The schema itself and rowcast.migration exist already: the migrator needs them before it can record a migration.
"""


def main() -> None:
    """Overwrite the migration."""
    names = (SQL / "order.txt").read_text().split()
    parts = [(SQL / f"{name}.sql").read_text().strip() for name in names]
    MIGRATION.write_text("\n\n".join([REASON.strip(), *parts]) + "\n")


if __name__ == "__main__":
    main()
