"""The command `blockhf`. This module imports little, so that health checks, which run every few seconds, are cheap."""

import sys

from backend.cli import health


def main() -> None:
    """Run the command line."""
    arguments = sys.argv[1:]
    if len(arguments) == 2 and arguments[0] == "health" and arguments[1] in health.SERVICES:
        ready = health.check(arguments[1])
        if ready is not None:
            sys.exit(0 if ready else 1)
    from backend.cli.app import run

    run()


if __name__ == "__main__":
    main()
