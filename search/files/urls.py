"""URLs of databases as they may be shown: passwords are for the database alone."""

import re
from pathlib import Path

MASK = "***"
# scheme://user:password@host, whose password may hold "@" and "/" by mistake; and ?password=...
BEFORE_HOST = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/]*:)(?:(?!://)\S)*@", re.IGNORECASE)
IN_QUERY = re.compile(r"([?&;](?:password|passwd|pwd|passphrase)=)[^&;\s'\"]+", re.IGNORECASE)

RELATIVE = re.compile(r"(sqlite(?:\+\w+)?:///)([^/:?][^?]*)(.*)")  # and no :memory:


def absolute(storage: str) -> str:
    """A path, or the URL of a database, that means the same file in any folder.

    "study.jsonl" -> "/here/study.jsonl", "sqlite:///study.db" -> "sqlite:////here/study.db"; servers stay as they are.
    """
    if "://" not in storage:
        return str(Path(storage).absolute())
    file = RELATIVE.fullmatch(storage)
    return f"{file[1]}{Path(file[2]).absolute()}{file[3]}" if file else storage


def without_password(url_or_text: str) -> str:
    """The text with *** in place of the password of every URL in it; text without one comes back as it is.

    "postgresql://me:secret@host/db" -> "postgresql://me:***@host/db". A URL ends at a blank or at the next one.
    """
    return IN_QUERY.sub(rf"\1{MASK}", BEFORE_HOST.sub(rf"\1{MASK}@", url_or_text))
