"""A PgBouncer in front of a test's database."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from rig.postgres import Database, free_port, step_down
from rig.wait import until

PROGRAM = shutil.which("pgbouncer")

CONFIGURATION = """
[databases]
{name} = host=127.0.0.1 port={server} dbname={name} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
ignore_startup_parameters = {ignored}
"""


@contextmanager
def pooled(database: Database, mode: str, ignored: str = "extra_float_digits") -> Iterator[str]:
    """The database's URL through a pooler in this mode, which drops these startup parameters."""
    port, home = free_port(), Path(tempfile.mkdtemp(prefix="rowcast-pooler-"))
    server = psycopg.conninfo.conninfo_to_dict(database.url)["port"]
    given = CONFIGURATION.format(name=database.name, server=server, port=port, mode=mode, ignored=ignored)
    (home / "pgbouncer.ini").write_text(given)
    command = [*step_down(home), PROGRAM or "", str(home / "pgbouncer.ini")]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, cwd=home)
    url = database.url.replace(f":{server}/", f":{port}/")
    try:
        until(lambda: _answers(url), f"PgBouncer to answer; its log:\n{(home / 'log').read_text()}")
        yield url
    finally:
        os.kill(process.pid, signal.SIGTERM)
        process.wait(10)
        shutil.rmtree(home)


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
