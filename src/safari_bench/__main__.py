"""`python -m safari_bench` is `safari-bench`."""

import sys

from safari_bench.cli import main

sys.exit(main())
