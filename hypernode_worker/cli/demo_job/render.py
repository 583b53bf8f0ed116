# pyright: basic
"""The demo's job: traces rays through a scene of mirrored spheres and writes it as a PNG. Plain Python, no packages.

Reads input.json beside it, writes picture.png and picture.json to $OUTPUT_DIR, and prints how far it is.
"""

import hashlib
import json
import math
import os
import struct
import sys
import time
import zlib
from pathlib import Path

LIGHT = (-0.53, 0.74, -0.42)
SKY_LOW, SKY_HIGH = (0.86, 0.90, 0.97), (0.20, 0.40, 0.76)
FLOOR = ((0.93, 0.92, 0.88), (0.22, 0.25, 0.31))
FAR = 1e9


def nearest(spheres, ox, oy, oz, dx, dy, dz):
    """Distance to the first sphere on a ray, and the sphere; FAR and None where there is none."""
    best, found = FAR, None
    for sphere in spheres:
        px, py, pz = sphere[0] - ox, sphere[1] - oy, sphere[2] - oz
        along = px * dx + py * dy + pz * dz
        if along > 0.0:
            inside = sphere[4] - (px * px + py * py + pz * pz - along * along)
            if inside > 0.0:
                distance = along - math.sqrt(inside)
                if 1e-4 < distance < best:
                    best, found = distance, sphere
    return best, found


def lit(spheres, x, y, z):
    """1.0 where the light reaches a point, 0.35 in a shadow."""
    return 1.0 if nearest(spheres, x, y, z, *LIGHT)[1] is None else 0.35


def sky(dx, dy, dz):
    share = max(dy, 0.0) ** 0.6
    glow = max(dx * LIGHT[0] + dy * LIGHT[1] + dz * LIGHT[2], 0.0) ** 60
    return [low + (high - low) * share + 0.7 * glow for low, high in zip(SKY_LOW, SKY_HIGH, strict=True)]


def trace(spheres, ox, oy, oz, dx, dy, dz, depth):
    """The colour that a ray sees: red, green, blue, each from 0 up."""
    distance, sphere = nearest(spheres, ox, oy, oz, dx, dy, dz)
    ground = -oy / dy if dy < 0.0 else FAR
    if sphere is None and ground > 36.0:
        return sky(dx, dy, dz)
    if sphere is not None and ground < distance:
        sphere = None
    distance = min(distance, ground)
    x, y, z = ox + dx * distance, oy + dy * distance, oz + dz * distance
    if sphere is None:
        tile = FLOOR[(math.floor(x) + math.floor(z)) & 1]
        light = 0.25 + 0.75 * LIGHT[1] * lit(spheres, x, 1e-4, z)
        haze = min(ground / 36.0, 1.0) ** 2
        far = sky(dx, 0.02, dz)
        colour = [channel * light * (1 - haze) + distant * haze for channel, distant in zip(tile, far, strict=True)]
        nx, ny, nz, mirror = 0.0, 1.0, 0.0, 0.12 * (1 - haze)
    else:
        radius = math.sqrt(sphere[4])
        nx, ny, nz = (x - sphere[0]) / radius, (y - sphere[1]) / radius, (z - sphere[2]) / radius
        facing = max(nx * LIGHT[0] + ny * LIGHT[1] + nz * LIGHT[2], 0.0)
        light = 0.22 + 0.78 * facing * lit(spheres, x + nx * 1e-3, y + ny * 1e-3, z + nz * 1e-3)
        colour = [channel * light for channel in sphere[3]]
        mirror = sphere[5]
    if depth and mirror > 0.01:
        turn = 2 * (dx * nx + dy * ny + dz * nz)
        rx, ry, rz = dx - turn * nx, dy - turn * ny, dz - turn * nz
        seen = trace(spheres, x + nx * 1e-3, y + ny * 1e-3, z + nz * 1e-3, rx, ry, rz, depth - 1)
        colour = [own * (1 - mirror) + other * mirror for own, other in zip(colour, seen, strict=True)]
    return colour


def scene(count):
    """Spheres on a spiral: centre, colour, squared radius, how much they mirror."""
    spheres = [(0.0, 1.25, 5.6, (0.94, 0.95, 0.98), 1.25**2, 0.72)]
    for index in range(count):
        turn = index * 2.39996
        away = 1.9 + 0.21 * index
        radius = 0.30 + 0.16 * ((index * 5) % 3)
        red, green, blue = (0.55 + 0.45 * math.cos(index * 0.9 + shift) for shift in (0.0, 2.1, 4.2))
        x, z = away * math.cos(turn), 5.6 + away * math.sin(turn)
        spheres.append((x, radius, z, (red, green, blue), radius**2, 0.25))
    return spheres


def row_of(spheres, y, width, height):
    line = bytearray([0])  # a PNG row begins with its filter: none
    for x in range(width):
        dx, dy, dz = (x - width / 2) / height, (height / 2 - y) / height - 0.16, 1.15
        size = math.sqrt(dx * dx + dy * dy + dz * dz)
        colour = trace(spheres, 0.0, 1.9, -0.9, dx / size, dy / size, dz / size, 2)
        line.extend(min(int(255 * max(channel, 0.0) ** 0.4545), 255) for channel in colour)
    return bytes(line)


def png(width, height, rows):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(b"".join(rows), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main():
    asked = json.loads(Path("input.json").read_text())
    width, height, count = asked["width"], asked["height"], asked["spheres"]
    output = Path(os.environ["OUTPUT_DIR"])
    began = time.monotonic()
    spheres = scene(count)
    say(f"tracing {width} x {height} pixels through {len(spheres)} spheres")
    rows = []
    for y in range(height):
        rows.append(row_of(spheres, y, width, height))
        if (y + 1) * 5 // height != y * 5 // height:
            say(f"{(y + 1) * 100 // height:3d} %  {time.monotonic() - began:.1f} s")
    picture = png(width, height, rows)
    (output / "picture.png").write_bytes(picture)
    seconds = time.monotonic() - began
    said = {
        "width": width,
        "height": height,
        "spheres": len(spheres),
        "seconds": round(seconds, 3),
        "pixels_per_second": round(width * height / seconds),
        "sha256": hashlib.sha256(picture).hexdigest(),
    }
    (output / "picture.json").write_text(json.dumps(said, indent=2) + "\n")
    say(f"wrote picture.png, {len(picture):,} bytes")


if __name__ == "__main__":
    main()
