"""`python -m bms.cli`, for when the `bms` command is not on the path."""

import sys

from bms.cli import main

sys.exit(main())
