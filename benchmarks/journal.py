"""What the journal costs on the processor, without a disk: microseconds a persistent message.

Run it interpreted and compiled: `python -m benchmarks.journal`. One line of JSON a case: the best
of several rounds. `append` is the call of a queue, `encode` `take_batch` with its CRC, `settle`
the consumer's ack of a written entry, `settle_encode` writing the ranges that this leaves, and
`recover` reading a file back.
"""

from __future__ import annotations

import argparse
import json
import time

from amqbroker.message import Entry, Message
from amqbroker.store import journal as journal_module
from amqbroker.store.journal import Journal
from amqbroker.store.queue_log import QueueLog
from amqbroker.store.records import JOURNAL_MAGIC, file_header
from amqbroker.store.recovery import fold

HEADER = bytes(14)
ADDRESS = b"\x00\x05queue"
SEED = bytes(8)


class Case:
    """One size of message, one order of acks."""

    def __init__(self, body_bytes: int, queues: int, shuffled: bool, batch: int) -> None:
        self.body_bytes = body_bytes
        self.queues = queues
        self.shuffled = shuffled
        self.batch = batch

    def run(self, count: int) -> dict[str, float]:
        """Microseconds an entry, by step."""
        journal = Journal()
        logs = [journal.open_queue(number + 1) for number in range(self.queues)]
        append = encode = settle = settle_encode = 0.0
        chunks = [file_header(JOURNAL_MAGIC, 1, SEED)]
        for _ in range(max(1, count // self.batch)):
            entries = self.entries(logs)
            start = time.perf_counter()
            for log, entry in entries:
                log.append(entry)
            appended = time.perf_counter()
            batch = journal.take_batch()
            encoded = time.perf_counter()
            assert batch is not None
            if not batch.starts_file and batch.file_number == 1:
                chunks.extend(batch.chunks)
            journal.synced(batch.position)
            append += appended - start
            encode += encoded - appended
            if self.shuffled:
                entries = entries[1::2] + entries[0::2]
            start = time.perf_counter()
            for log, entry in entries:
                log.settle(entry)
            settled = time.perf_counter()
            batch = journal.take_batch()
            settle_encode += time.perf_counter() - settled
            settle += settled - start
            assert batch is not None
            journal.synced(batch.position)
        total = max(1, count // self.batch) * self.batch
        data = b"".join(chunks)
        start = time.perf_counter()
        recovered = fold(None, [(1, data)])
        recover = time.perf_counter() - start
        found = sum(map(len, recovered.messages.values()))
        return {
            "append": append / total * 1e6,
            "encode": encode / total * 1e6,
            "settle": settle / total * 1e6,
            "settle_encode": settle_encode / total * 1e6,
            "recover": recover / max(1, found) * 1e6,
        }

    def entries(self, logs: list[QueueLog]) -> list[tuple[QueueLog, Entry]]:
        """A batch of new messages, each in every queue."""
        entries = []
        firsts = [log.next_index for log in logs]
        for number in range(self.batch // len(logs)):
            message = Message(1, ADDRESS, 0, HEADER, bytes(self.body_bytes), True)
            for log, first in zip(logs, firsts, strict=True):
                entries.append((log, Entry(message, log.queue_id, first + number)))
        return entries


CASES = {
    "100 B": Case(100, 1, False, 1000),
    "1 KiB": Case(1024, 1, False, 1000),
    "1 KiB, acks out of order": Case(1024, 1, True, 1000),
    "1 KiB, batches of 10": Case(1024, 1, False, 10),
    "1 KiB to 10 queues": Case(1024, 10, False, 1000),
    "64 KiB": Case(65536, 1, False, 50),
}


def main() -> None:
    """Print the best of several rounds of each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000, help="messages a round")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    build = "interpreted" if (journal_module.__file__ or "").endswith(".py") else "compiled"
    for name, case in CASES.items():
        count = arguments.count if case.body_bytes < 10_000 else arguments.count // 20
        rounds = [case.run(count) for _ in range(arguments.rounds)]
        best = {step: round(min(r[step] for r in rounds), 3) for step in rounds[0]}
        print(json.dumps({"benchmark": "journal", "build": build, "case": name, "us": best}))


if __name__ == "__main__":
    main()
