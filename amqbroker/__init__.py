"""An AMQP 0-9-1 message broker that existing clients use unchanged, as if it were RabbitMQ."""

from typing import Final

__version__: Final = "0.1.0"
