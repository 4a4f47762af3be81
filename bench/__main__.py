"""`python -m bench`."""

from bench.cli.parser import main

if __name__ == "__main__":
    raise SystemExit(main())
