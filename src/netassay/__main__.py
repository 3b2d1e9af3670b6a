"""python -m netassay: the same as the command netassay."""

import sys

from netassay.cli import main

sys.exit(main())
