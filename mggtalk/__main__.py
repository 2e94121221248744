"""`python -m mggtalk` is the command `mggtalk`."""

import sys

from mggtalk.cli.main import main

sys.exit(main())
