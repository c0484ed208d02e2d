"""Starts the command. It imports torch for seconds, and Ctrl-C ends it with one line in these too."""

import sys


def main() -> None:
    """Does what search.command does."""
    try:
        from search import command
    except KeyboardInterrupt:
        print("picojoule: stopped by Ctrl-C.", file=sys.stderr)
        sys.exit(130)
    command.main()


if __name__ == "__main__":
    main()
