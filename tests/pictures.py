"""Pictures for the tests: arrays, files of every kind, and folders of them."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

ORIENTATION = 0x0112


def smooth(height, width, channels=3, seed=0):
    """A smooth picture, which JPEG keeps well, as uint8 [h, w, c] or [h, w]."""
    corners = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    array = np.asarray(Image.fromarray(corners).resize((width, height), Image.Resampling.BILINEAR))
    return array if channels == 3 else array[..., 0]


def encoded(array, kind="PNG", **options):
    """A file's bytes, of an array or a PIL image."""
    image = array if isinstance(array, Image.Image) else Image.fromarray(np.ascontiguousarray(array))
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def exif(orientation):
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    return tags


def stored(array, orientation):
    """How a camera stores an upright picture [h, w, ...] that is to be turned by this EXIF orientation."""
    turns = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }
    return np.ascontiguousarray(turns[orientation](array))


def png(rows, width, bits, colour=0, chunks_before=(), chunks_after=()):
    """A PNG by hand, of rows of packed bytes, for what PIL does not write."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    data = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows))
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, len(rows), bits, colour, 0, 0, 0)),
            *(chunk(name, content) for name, content in chunks_before),
            chunk(b"IDAT", data),
            *(chunk(name, content) for name, content in chunks_after),
            chunk(b"IEND", b""),
        ]
    )


def write(path, shape=(6, 8), kind=None, seed=None, **options):
    """A picture of its own colour (told by its path, unless seeded) at a path, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = zlib.crc32(str(path).encode("utf-8", "surrogateescape")) if seed is None else seed
    image = Image.fromarray(smooth(*shape, seed=seed))
    image.save(path, kind or {"jpg": "JPEG", "jpeg": "JPEG"}.get(path.suffix[1:].lower()), **options)
    return path


def tree(root, *names, **options):
    """Pictures at these relative paths; braces are not expanded, 'a/*3.jpg' stands for a/0.jpg to a/2.jpg."""
    for name in names:
        folder, _, rest = name.partition("*")
        number, dot, suffix = rest.partition(".")
        for path in [f"{folder}{i}{dot}{suffix}" for i in range(int(number))] if rest else [name]:
            write(root / path, **options)
    return root
