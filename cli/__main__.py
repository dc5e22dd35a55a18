"""`python -m cli`: the same as the console script `metamon`."""

from cli.main import main

if __name__ == "__main__":
    main()
