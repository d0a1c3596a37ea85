"""``python -m batch``: the same as ``diarist``."""

from batch.cli.main import main

if __name__ == "__main__":
    main()
