"""`python -m hubbleflow` is the command `hubbleflow`."""

from hubbleflow.cli import main

if __name__ == "__main__":
    main()
