"""TWAMP Light, unauthenticated: RFC 5357 section 4 and appendix I. Standard library only.

    twamp_light.py reflect [--length 41|44|same] [--stateful] [--deaf N] [--mute N]
    twamp_light.py send HOST:PORT
    twamp_light.py measure HOST:PORT --count N

`reflect` prints where it listens. --deaf N ignores each Nth packet, --mute N counts and does not send each Nth
answer. `send` sends packets of several lengths and checks each answer octet by octet. `measure` sends ten packets
a second and tells the median round trip and how many got no answer within two seconds.
"""

import argparse
import socket
import struct
import sys
import time

NTP = 2208988800


def now():
    ns = time.time_ns()
    return struct.pack("!II", ns // 10**9 + NTP, (ns % 10**9 << 32) // 10**9)


def seconds(raw):
    whole, part = struct.unpack("!II", raw)
    return whole - NTP + part / 2**32


def reflect(options):
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1", 0))
    print("%s:%d" % receiver.getsockname(), flush=True)
    heard = counted = 0
    while True:
        packet, sender = receiver.recvfrom(65535)
        received = now()
        heard += 1
        if len(packet) < 14 or (options.deaf and heard % options.deaf == 0):
            continue
        number = struct.pack("!I", counted) if options.stateful else packet[:4]
        counted += 1
        if options.mute and counted % options.mute == 0:
            continue
        # Sequence, time, error, zero, received, sender's sequence, time, error, zero, TTL.
        answer = number + now() + b"\x00\x01" + b"\0\0" + received + packet[:14] + b"\0\0" + b"\xff"
        length = {"41": 41, "44": 44, "same": len(packet)}[options.length]
        receiver.sendto(answer.ljust(length, b"\0"), sender)


def send(options):
    host, port = options.address.rsplit(":", 1)
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.settimeout(30)
    sender.connect((host, int(port)))
    lengths = [41, 44, 45, 60, 200] * 10
    for number, length in enumerate(lengths):
        begun = now()
        packet = (struct.pack("!I", number) + begun + b"\x00\x01").ljust(length, b"\0")
        sender.send(packet)
        answer = sender.recv(65535)
        ended = now()
        assert len(answer) == length, "an answer of %d to %d" % (len(answer), length)
        assert struct.unpack("!I", answer[:4])[0] == number, "the reflector's own count"
        assert answer[24:28] == packet[:4], "the sender's sequence"
        assert answer[28:36] == begun, "the sender's time"
        assert answer[36:38] == packet[12:14], "the sender's error"
        assert answer[13] != 0, "a multiplier of 0 makes a packet invalid"
        assert answer[40] == 64, "the sender's TTL is %d" % answer[40]
        times = [seconds(raw) for raw in (begun, answer[16:24], answer[4:12], ended)]
        assert times == sorted(times), "times of one clock in order: %r" % times
    sender.settimeout(0.5)
    short = 0
    for length in (14, 40):
        sender.send((struct.pack("!I", len(lengths)) + now() + b"\x00\x01").ljust(length, b"\0"))
        try:
            sender.recv(65535)
        except socket.timeout:
            short += 1
    print("%d answered, %d too short for an answer" % (len(lengths), short))


def measure(options):
    host, port = options.address.rsplit(":", 1)
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.connect((host, int(port)))
    trips = {}
    begun = time.monotonic()
    last = begun + (options.count - 1) / 10 + 2
    number = 0
    while time.monotonic() < last:
        due = begun + number / 10 if number < options.count else last
        wait = due - time.monotonic()
        if wait <= 0 and number < options.count:
            sender.send((struct.pack("!I", number) + now() + b"\x00\x01").ljust(44, b"\0"))
            number += 1
            continue
        sender.settimeout(max(wait, 0.001))
        try:
            answer = sender.recv(65535)
        except (socket.timeout, ConnectionRefusedError):
            continue
        ended = seconds(now())
        there = seconds(answer[4:12]) - seconds(answer[16:24])
        trips[answer[24:28]] = ended - seconds(answer[28:36]) - there
    ordered = sorted(trips.values())
    median = ordered[(len(ordered) - 1) // 2] if ordered else 0
    print("median_ms %.3f lost %d" % (median * 1000, options.count - len(trips)))


def main():
    parser = argparse.ArgumentParser()
    roles = parser.add_subparsers(required=True)
    role = roles.add_parser("reflect")
    role.add_argument("--length", choices=["41", "44", "same"], default="41")
    role.add_argument("--stateful", action="store_true")
    role.add_argument("--deaf", type=int, default=0)
    role.add_argument("--mute", type=int, default=0)
    role.set_defaults(run=reflect)
    role = roles.add_parser("send")
    role.add_argument("address")
    role.set_defaults(run=send)
    role = roles.add_parser("measure")
    role.add_argument("address")
    role.add_argument("--count", type=int, required=True)
    role.set_defaults(run=measure)
    options = parser.parse_args()
    sys.exit(options.run(options))


main()
