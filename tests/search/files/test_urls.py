"""No password is shown, and nothing else is lost."""

import pytest

from search.files.urls import absolute, without_password


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("postgresql://me:secret@host/db", "postgresql://me:***@host/db"),
        ("postgresql+psycopg2://me:se:c@r/et@host:5432/db", "postgresql+psycopg2://me:***@host:5432/db"),
        ("postgresql://me@server:secret@host/db", "postgresql://me@server:***@host/db"),
        ("redis://:secret@host", "redis://:***@host"),
        ("postgresql://host/db?user=me&password=secret&sslmode=on", "postgresql://host/db?user=me&password=***&sslmode=on"),
        ("mysql://me:secret@one/db,mysql://you:secret@two/db", "mysql://me:***@one/db,mysql://you:***@two/db"),
        ("a 'mysql://me:secret@one/db', b=mysql://you:secret@two/db.", "a 'mysql://me:***@one/db', b=mysql://you:***@two/db."),
    ],
)  # fmt: skip
def test_passwords_are_masked_and_the_rest_stays(given, shown):
    assert without_password(given) == shown
    assert without_password(shown) == shown


@pytest.mark.parametrize(
    "text",
    ["postgresql://me@host:5432/db", "sqlite:///study.db", "http://host:80/a", "study.jsonl", "mail: me@host", ""],
)
def test_text_without_a_password_stays_as_it_is(text):
    assert without_password(text) == text


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("study.jsonl", "{here}/study.jsonl"),
        ("/shared/study.jsonl", "/shared/study.jsonl"),
        ("sqlite:///study.db", "sqlite:///{here}/study.db"),
        ("sqlite:///a/b.db?timeout=5", "sqlite:///{here}/a/b.db?timeout=5"),
        ("sqlite+pysqlite:///b.db", "sqlite+pysqlite:///{here}/b.db"),
        ("sqlite:////shared/study.db", "sqlite:////shared/study.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("postgresql+psycopg2://me:secret@host/db", "postgresql+psycopg2://me:secret@host/db"),
    ],
)
def test_a_file_is_the_same_from_any_folder(given, meant, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute(given) == meant.format(here=tmp_path)
    assert absolute(absolute(given)) == absolute(given)
