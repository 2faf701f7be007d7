"""`python -m bankwidth` and the `bankwidth` command: exit codes for what went wrong."""

from __future__ import annotations

import os
import sys

from bankwidth.errors import BankwidthError, UserError

EXIT_USER = 2
EXIT_OURS = 3


def main() -> None:
    """Run the command line; 0 done, 1 a check did not hold, 2 wrong input, 3 a bug of ours."""
    from bankwidth.cli import app

    try:
        app()
    except UserError as error:
        _stop(str(error), EXIT_USER)
    except BankwidthError as error:
        _stop(
            f"{error}\nThis is a bug of bankwidth's; please report it with the command.", EXIT_OURS
        )
    except KeyboardInterrupt:
        _stop("interrupted", 130)
    except BrokenPipeError:
        # The reader (head, less) has seen enough; do not complain again at shutdown.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _stop(message: str, code: int) -> None:
    print(f"bankwidth: {message}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
