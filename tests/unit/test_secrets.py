"""The passwords of a compose stack."""

from __future__ import annotations

from pathlib import Path

from workers.secrets import make


def test_every_password_is_made_once_and_none_twice_alike(tmp_path: Path) -> None:
    """A second start must find the database that the first one made."""
    fleet, grafana = tmp_path / "fleet", tmp_path / "grafana"
    fleet.mkdir()
    grafana.mkdir()
    assert "metamon_database_url" in make(fleet, grafana)
    files = {file.name: file.read_text() for folder in (fleet, grafana) for file in folder.iterdir()}
    assert make(fleet, grafana) == []
    assert files == {file.name: file.read_text() for folder in (fleet, grafana) for file in folder.iterdir()}
    passwords = [content for name, content in files.items() if name.endswith("password")]
    assert len(passwords) == len(set(passwords)) == 4
    assert all(len(password) >= 24 for password in passwords)
    assert files["postgres_password"] in files["metamon_database_url"]
    assert files["redis_password"] in files["redis.conf"]


def test_the_fleet_s_secrets_are_the_owner_s_alone(tmp_path: Path) -> None:
    """Grafana reads its own from another folder, as another user."""
    (tmp_path / "grafana").mkdir()
    make(tmp_path, tmp_path / "grafana")
    assert {file.stat().st_mode & 0o077 for file in tmp_path.iterdir() if file.is_file()} == {0}
    assert (tmp_path / "grafana" / "admin_password").stat().st_mode & 0o044
