"""``python -m nesf`` is the same as ``nesf``."""

import sys

from nesf.cli import main

if __name__ == "__main__":
    sys.exit(main())
