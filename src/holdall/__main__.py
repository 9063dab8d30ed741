"""`python -m holdall`."""

from __future__ import annotations

import sys

from holdall.cli import main

sys.exit(main())
