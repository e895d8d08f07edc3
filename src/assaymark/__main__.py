"""`python -m assaymark`."""

from assaymark.cli import main

if __name__ == "__main__":
    main()
