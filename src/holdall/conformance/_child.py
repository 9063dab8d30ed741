"""`python -m holdall.conformance._child`: see `_process.main`."""

from holdall.conformance._process import main

if __name__ == "__main__":
    main()
