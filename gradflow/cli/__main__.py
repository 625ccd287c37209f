from gradflow.cli.app import app

app()
