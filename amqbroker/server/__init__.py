"""The edges: sockets, tasks, the clock, signals. They hold no broker rule."""
