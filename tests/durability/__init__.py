"""Kills a loaded broker at random moments and holds it to what it had promised.

    python -m tests.durability --rounds 100 --seed 1

A round: several publishers and consumers load a broker, which is killed (SIGKILL) at a random
moment, sometimes while it starts, and now and then stopped in good order; it is started again on
the same data folder, and all queues are read. Then

- every confirmed or committed persistent message that nobody acked is there, whole, and once;
- each publisher's messages are in the order of publishing;
- nothing is there that was not published, that is transient, or that was gone already;
- what was acked well before the end is gone, and what was delivered before says `redelivered`;
- every durable queue, exchange and binding is there, and none that was deleted.

A message whose confirm, commit or ack was under way may be there or not. A killed process loses
nothing that the operating system has taken: what a power failure does is tested in tests/store.
"""
