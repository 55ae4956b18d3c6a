"""`python -m safari_bench` is `safari-bench`."""

import sys

try:
    from safari_bench.cli import main

    code = main()
except KeyboardInterrupt:  # before main could say so
    print("interrupted", file=sys.stderr)
    code = 130
sys.exit(code)
