"""`python -m leadline`: the same as the `leadline` program."""

from leadline.cli.main import main

if __name__ == "__main__":
    main()
