"""`python -m amqbroker` is the command `amqbroker`."""

from amqbroker.cli import main

if __name__ == "__main__":
    main(prog_name="amqbroker")
