"""``python -m rowcast.cli``."""

import sys

from rowcast.cli import main

sys.exit(main())
