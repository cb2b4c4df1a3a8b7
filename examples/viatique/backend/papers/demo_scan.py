"""Draws a small PNG that looks like a scanned exam paper, with no image library."""

import math
import struct
import zlib

WIDTH, HEIGHT = 420, 594
PAPER, RULE, MARGIN, INK = 250, 205, 150, 60


def pixel(x, y):
    """Ruled paper with a margin line, and lines of wavy 'handwriting'."""
    line, offset = divmod(y, 22)
    if 3 <= line <= 23 and 80 < x < 390 - (line * 37 % 130):
        word = (x // 34 + line) % 6 != 0
        stroke = 13 + 4 * math.sin(x / 2.3 + line) * math.cos(x / 9)
        if word and abs(offset - stroke) < 0.9:
            return INK
    if x == 70:
        return MARGIN
    return RULE if offset == 18 and y > 60 else PAPER


def demo_scan():
    rows = (b"\0" + bytes(pixel(x, y) for x in range(WIDTH)) for y in range(HEIGHT))

    def chunk(kind, data):
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"".join(rows), 9))
        + chunk(b"IEND", b"")
    )
