"""One stream from one seed: a valid conversation, then damage.

A stream is a start (protocol header to channel.open) and a tail. Most streams leave the start
whole, so that the damage meets a running connection; a third are not damaged at all, and go deep
instead.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from fuzz.corpus import Corpus, on_channel

CORPUS: Final = Corpus()
CHANNELS: Final = (1,) * 30 + (2, 2, 3, 65535, 0)
STEP_LIKELIHOODS: Final = (0.9, 0.3, 0.3, 0.3, 0.2, 0.6)
STRANGER_LIKELIHOOD: Final = 0.05
INTERESTING: Final = (0x00, 0x01, 0x7F, 0x80, 0xCE, 0xFF)
LENGTHS: Final = (0, 1, 4, 4087, 4096, 131072, 2**31 - 1, 2**31, 2**32 - 1)


class Stream:
    """What a client sends: `start` to a connection, then `tail`."""

    def __init__(self, start: bytes, tail: bytes) -> None:
        self.start = start
        self.tail = tail


def make_stream(rng: random.Random) -> Stream:
    """The stream of a freshly seeded generator."""
    frames = conversation(rng)
    start_frames = rng.choice(CORPUS.starts)
    kind = rng.random()
    if kind < 0.35:
        return Stream(b"".join(start_frames), b"".join(frames))
    if kind < 0.85:
        return Stream(b"".join(start_frames), damaged(rng, frames))
    if kind < 0.97:
        return Stream(b"", damaged(rng, start_frames + frames))
    return Stream(b"", rng.randbytes(rng.randrange(64)))


def conversation(rng: random.Random) -> list[bytes]:
    """Frames of a few valid commands, most of them on one channel."""
    frames = [
        rng.choice(step)
        for step, likelihood in zip(CORPUS.openers, STEP_LIKELIHOODS, strict=True)
        if rng.random() < likelihood
    ]
    for _ in range(1 + rng.randrange(7)):
        frames.extend(moved(rng, rng.choice(CORPUS.pieces)))
    if rng.random() < STRANGER_LIKELIHOOD:
        frames.insert(rng.randrange(len(frames) + 1), rng.choice(CORPUS.strangers))
    return frames


def moved(rng: random.Random, frames: list[bytes]) -> list[bytes]:
    """The frames on one channel of a few."""
    channel = rng.choice(CHANNELS)
    if channel == 1:
        return frames
    return [on_channel(frame, channel) for frame in frames]


def damaged(rng: random.Random, frames: list[bytes]) -> bytes:
    """A few damages: to frames, which mostly stay frames, or to octets, which ends most streams."""
    frames = list(frames)
    for _ in range(1 + rng.randrange(3)):
        rng.choice(FRAME_DAMAGES)(rng, frames)
    octets = bytearray(b"".join(frames))
    if rng.random() < 0.4:
        for _ in range(1 + rng.randrange(3)):
            if octets:
                rng.choice(OCTET_DAMAGES)(rng, octets)
    return bytes(octets)


def swap_frames(rng: random.Random, frames: list[bytes]) -> None:
    """Two frames change places."""
    if frames:
        first, second = rng.randrange(len(frames)), rng.randrange(len(frames))
        frames[first], frames[second] = frames[second], frames[first]


def drop_frame(rng: random.Random, frames: list[bytes]) -> None:
    """One frame is missing."""
    if frames:
        del frames[rng.randrange(len(frames))]


def repeat_frame(rng: random.Random, frames: list[bytes]) -> None:
    """One frame comes again, somewhere."""
    if frames:
        frames.insert(rng.randrange(len(frames)), rng.choice(frames))


def foreign_frame(rng: random.Random, frames: list[bytes]) -> None:
    """A frame of another conversation breaks in."""
    frames.insert(rng.randrange(len(frames) + 1), rng.choice(rng.choice(CORPUS.pieces)))


def lie_about_length(rng: random.Random, frames: list[bytes]) -> None:
    """The size of a frame is not its size."""
    if frames:
        index = rng.randrange(len(frames))
        frame = frames[index]
        size = max(0, len(frame) - 8 + rng.randrange(-4, 5))
        if rng.random() < 0.3:
            size = rng.choice(LENGTHS)
        frames[index] = frame[:3] + size.to_bytes(4, "big") + frame[7:]


def cut_payload(rng: random.Random, frames: list[bytes]) -> None:
    """A frame in good order whose payload ends early."""
    if frames:
        index = rng.randrange(len(frames))
        frame = frames[index]
        if len(frame) > 8:
            payload = frame[7 : 7 + rng.randrange(len(frame) - 8)]
            frames[index] = frame[:3] + len(payload).to_bytes(4, "big") + payload + b"\xce"


def damage_payload(rng: random.Random, frames: list[bytes]) -> None:
    """A frame in good order with one wrong octet in its payload."""
    if frames:
        index = rng.randrange(len(frames))
        frame = bytearray(frames[index])
        if len(frame) > 8:
            frame[7 + rng.randrange(len(frame) - 8)] = rng.randrange(256)
            frames[index] = bytes(frame)


def flip_bit(rng: random.Random, octets: bytearray) -> None:
    """One bit."""
    octets[rng.randrange(len(octets))] ^= 1 << rng.randrange(8)


def set_octet(rng: random.Random, octets: bytearray) -> None:
    """One octet."""
    octets[rng.randrange(len(octets))] = rng.choice(INTERESTING)


def insert_octets(rng: random.Random, octets: bytearray) -> None:
    """Octets from nowhere."""
    place = rng.randrange(len(octets))
    octets[place:place] = rng.randbytes(1 + rng.randrange(8))


def delete_octets(rng: random.Random, octets: bytearray) -> None:
    """A gap."""
    place = rng.randrange(len(octets))
    del octets[place : place + 1 + rng.randrange(8)]


def splice(rng: random.Random, octets: bytearray) -> None:
    """A part of the stream again in another place."""
    source, place = rng.randrange(len(octets)), rng.randrange(len(octets))
    octets[place:place] = octets[source : source + rng.randrange(32)]


def truncate(rng: random.Random, octets: bytearray) -> None:
    """The end is missing."""
    del octets[rng.randrange(len(octets)) :]


def set_number(rng: random.Random, octets: bytearray) -> None:
    """Four octets that may be a size."""
    place = rng.randrange(len(octets))
    octets[place : place + 4] = rng.choice(LENGTHS).to_bytes(4, "big")


FRAME_DAMAGES: Final[tuple[Callable[[random.Random, list[bytes]], None], ...]] = (
    swap_frames,
    drop_frame,
    repeat_frame,
    foreign_frame,
    lie_about_length,
    cut_payload,
    damage_payload,
    damage_payload,
)
OCTET_DAMAGES: Final[tuple[Callable[[random.Random, bytearray], None], ...]] = (
    flip_bit,
    set_octet,
    insert_octets,
    delete_octets,
    splice,
    truncate,
    set_number,
)
