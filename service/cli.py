"""`python -m service.cli`, as it was called before 0.2.0: use `gradflow` or `python -m gradflow.cli`."""

from gradflow.cli.app import app

if __name__ == "__main__":
    app()
