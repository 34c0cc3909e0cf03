"""``python -m eyeground``: the command line."""

from eyeground.cli.main import main

if __name__ == "__main__":
    main()
