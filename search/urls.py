"""URLs of databases as they may be shown: passwords are for the database alone."""

import re

MASK = "***"
# scheme://user:password@host, whose password may hold "@" and "/" by mistake; and ?password=...
BEFORE_HOST = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/]*:)(?:(?!://)\S)*@", re.IGNORECASE)
IN_QUERY = re.compile(r"([?&;](?:password|passwd|pwd|passphrase)=)[^&;\s'\"]+", re.IGNORECASE)


def without_password(url_or_text: str) -> str:
    """The text with *** in place of the password of every URL in it; text without one comes back as it is.

    "postgresql://me:secret@host/db" -> "postgresql://me:***@host/db". A URL ends at a blank or at the next one.
    """
    return IN_QUERY.sub(rf"\1{MASK}", BEFORE_HOST.sub(rf"\1{MASK}@", url_or_text))
