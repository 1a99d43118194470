"""RabbitMQ beside amqbroker: the same small scenarios on both, and what their clients saw."""
