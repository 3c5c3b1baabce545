"""`python -m xrarchive` is `xrarchive`."""

from xrarchive.cli.main import main

if __name__ == "__main__":
    main()
