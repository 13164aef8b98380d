"""The numbers of the server that were tuned, by what they belong to. What an operator may set is in
:mod:`leadline.serving.protocol.settings`; limits of the protocol and intervals of housekeeping stand where they are used.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class _Work:
    """What a request costs, and who shares."""

    #: What a megapixel of the image itself costs (resizing, encoding), beside one that goes through the network once.
    image_share: float = 0.05
    #: What a megapixel of a frame costs that is held still.
    steady_share: float = 0.2
    #: Times that the network looks at a picture with detail "tiles", at most: at the whole and at nine parts.
    tiles: int = 10
    #: A client that has asked for nothing for so long is not about any more, seconds.
    lately_s: float = 10.0
    #: A batch that costs at least this is large: a worker at it makes way for a small one of other clients,
    large: float = 1.0
    #: which costs at most this share of it.
    small_share: float = 0.25
    #: The large one's clients get the time that is theirs, as one of those who ask; small ones may be so far ahead, seconds.
    ahead_s: float = 1.0


@dataclass(frozen=True)
class _Workers:
    """Starting and ending workers, seconds."""

    #: Pause before a worker that died young is started again; it doubles
    first_pause_s: float = 0.2
    #: up to this.
    longest_pause_s: float = 30.0
    #: A worker that ended before this age died young.
    young_s: float = 10.0
    #: So many that died before they were ready, in a row, and nobody waits for one any more.
    many: int = 3
    #: Time to leave for a worker that is not needed any more.
    leave_s: float = 10.0
    #: A front that did not look after its workers for longer than this was away.
    away_s: float = 1.0
    #: A process that gets less of a core than this does nothing.
    idle_share: float = 0.02


@dataclass(frozen=True)
class _Gateway:
    """Starting the HTTP gateway again, seconds."""

    #: Pause before it is started again; it doubles
    first_pause_s: float = 0.5
    #: up to this,
    longest_pause_s: float = 30.0
    #: and is the first again after the gateway ran for so long.
    young_s: float = 30.0


@dataclass(frozen=True)
class _Decoders:
    """Pictures that take too long to decode, seconds."""

    #: Time that any picture may take,
    time_s: float = 1.0
    #: and more for each megapixel. Photographs take a twentieth of it.
    time_per_megapixel_s: float = 0.1
    #: On a busy machine a process gets less of it than passes; after this many times as long the picture is given up anyway.
    patience: float = 5.0
    #: Time for the process itself to start.
    start_s: float = 10.0
    #: Between two looks at the processes.
    look_every_s: float = 0.05


@dataclass(frozen=True)
class _Pictures:
    """Which picture is decoded next."""

    #: Pixels that wait decoded for a worker, of all clients; one has at most half of it.
    decoded_bytes: int = 256 << 20
    #: A client whose picture could not be decoded, and took longer than this to say so,
    long_decode_s: float = 0.3
    #: waits this many times as long.
    penalty: float = 4.0


@dataclass(frozen=True)
class _Outgoing:
    """Results on their way."""

    #: A client that has left so much of them untaken gets no further work done until it reads.
    untaken_bytes: int = 256 << 20


@dataclass(frozen=True)
class _Front:
    """The front's own memory and time."""

    #: Times that all connections are dropped, one after the other, without memory becoming less: then it is not theirs.
    drops_in_vain: int = 3
    #: Threads that read and write sockets. A client is served by one of them, and one that takes in 100 MB has no time for others.
    io_threads: int = 4
    #: A body that is larger than this (the image of a film is not) is copied to the workers' memory
    copied_at_once_bytes: int = 8 << 20
    #: in pieces like this one, half a millisecond each, between which everybody else is heard.
    piece_bytes: int = 2 << 20


WORK, WORKERS, GATEWAY = _Work(), _Workers(), _Gateway()
DECODERS, PICTURES, OUTGOING, FRONT = _Decoders(), _Pictures(), _Outgoing(), _Front()
