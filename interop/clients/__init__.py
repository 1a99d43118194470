"""One folder a language or client, each with a `client.yaml` that says how to run it."""
