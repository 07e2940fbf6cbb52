"""`python -m deploy`, which is `rt-server`."""

from deploy.cli.main import main

if __name__ == "__main__":
    main(prog_name="rt-server")
