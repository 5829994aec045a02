"""`python -m equipoise`: the command line."""

from equipoise.cli.main import run

if __name__ == "__main__":
    run()
