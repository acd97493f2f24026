"""Pictures and masks from files: decoded right, at the smallest useful scale, with every way to be wrong named."""

import io
import os
import threading
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from torch import Tensor

from tipsai.core.errors import DataError, SettingError

SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .png .apng .gif .bmp .tif .tiff .webp .avif .jp2 .j2k .ppm .pgm .pbm .pnm".split()
)  # compared in lower case
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM")  # told by a file's first bytes
MAX_PIXELS = 2**28  # 16,384 x 16,384
FULL_BYTES = 2**29  # `check` decodes every picture up to so many bytes of files together

_BAND = 2**22  # pixels copied at a time, so that a large picture is not held once more
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # by EXIF's number
_PNG_GREY = {"L;2": 85, "L;4": 17}  # PIL stretches grey of 2 and 4 bits to 8 by these factors
_OTHER_KINDS = {
    b"<!doctype": "a web page; the download went wrong",
    b"<html": "a web page; the download went wrong",
    b"<?xml": "XML (perhaps an SVG drawing)",
    b"<svg": "an SVG drawing",
    b"version https://git-lfs": "a pointer of Git LFS; run git lfs pull",
    b"%pdf": "a PDF document",
    b"pk\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"8bps": "a Photoshop document",
}  # what stands in files that bear the name of a picture, in lower case
_TO_INTEGERS = "Save it with one whole number a pixel: as 8-bit or 16-bit grey or with a palette."

Size = int | tuple[int, int]
PathLike = str | os.PathLike[str]
File = PathLike | bytes | bytearray | memoryview
Source = File | Image.Image | NDArray[Any] | Tensor


class PictureError(DataError):
    """A picture cannot be read: `path` says which, `reason` why. Only the first is given where both are one text."""

    def __init__(self, path: str, reason: str = "") -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.reason else self.path


class Probe(NamedTuple):
    """What a header says."""

    height: int  # after the EXIF rotation, as the width
    width: int
    channels: int  # 1 for grey, 3 for colours and palettes; one more with transparency
    bits: int  # of a channel as the decoder gives it (colour of 16 bits comes as 8)
    format: str  # one of FORMATS; "" of what is in memory


def reduction(height: int, width: int, at_least: Size | None) -> int:
    """The largest power of two by which both sides can be divided and stay as long as asked; 1 if there is none.

    It depends on the sizes and not on the format, so that a picture and its mask are reduced alike. Where a picture is
    large enough, the tighter side ends between once and twice what was asked for.

    Raises:
        SettingError: a side below 1 is asked for.
    """
    if at_least is None:
        return 1
    rows, columns = (at_least, at_least) if isinstance(at_least, int) else at_least
    if min(rows, columns) < 1:
        raise SettingError(
            f"at_least is {at_least!r}; expected a number of pixels, or height and width, of at least 1."
        )
    return 1 << (max(1, min(height // rows, width // columns)).bit_length() - 1)


def read_image(
    source: Source,
    channels: int = 3,
    at_least: Size | None = None,
    max_aspect: float | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Tensor:
    """A picture as uint8 [c, h, w], a view of memory that is laid out as [h, w, c]: copy it where it is needed.

    The EXIF rotation is applied. Transparency is composited on white unless four channels are asked for. Palettes become
    colours; CMYK becomes RGB by (1 - c)(1 - k), with Adobe's inversion undone; of animations and pages the first is
    taken. Grey of more than 8 bits is scaled by the range of its type, neither clipped nor by its content: of b bits the
    upper 8 are kept (signed ones shifted so that the lowest is 0), and floats must lie in 0 to 1. Colour profiles (ICC)
    are ignored.

    Args:
        source: a path, a file's bytes, a PIL image, an array [h, w] or [h, w, c], or a tensor [h, w] or [c, h, w]; the
            last two hold uint8, uint16, truth values or floats in 0 to 1.
        channels: 1 (luminance, ITU-R 601), 3 (RGB) or 4 (RGBA).
        at_least: the pixels needed on either side, or (height, width) of the upright picture. Both sides are divided by
            `reduction`, rounding up, and pixels averaged: a JPEG up to 8 within its cosine transform, which spares time and
            memory, all else by boxes. Nothing is ever resampled by a fraction.
        max_aspect: of a longer picture (a panorama) only the middle of this ratio is kept, so that no item is many times
            as large as the others.
        max_pixels: larger pictures are refused. What counts are the pixels held at a time: those left by the reduction
            of a JPEG within its transform, unless it is progressive, and all of any other. One pixel takes 7
            bytes while it is read; 16 where it is a transparent palette's and turned.

    Raises:
        PictureError: the file is missing, damaged, no picture, of another kind, or too large.
        SettingError: an argument is out of range.
    """
    if channels not in (1, 3, 4):
        raise SettingError(f"channels is {channels!r}; expected 1 (grey), 3 (RGB) or 4 (RGBA).")
    with _opened(source) as (im, name):
        orientation = _orientation(im)
        factor = _reduction(im, orientation, at_least)
        is_file = not isinstance(source, Image.Image)  # a user's image stays as it is
        rest = factor // _draft(im, factor, grey=channels == 1) if is_file else factor
        _load(im, name, max_pixels)
        im = _plain(im, name)
        if rest > 1:
            im = im.reduce(rest)
        if im.mode == "RGBA" and channels != 4:
            clear, im = im, Image.new("RGB", im.size, "white")
            im.paste(clear, mask=clear)
        mode = {1: "L", 3: "RGB", 4: "RGBA"}[channels]
        im = _turned(im if im.mode == mode else im.convert(mode), orientation)  # to its own mode it would copy
        array = _array(im, _window(im.height, im.width, max_aspect))
    return torch.from_numpy(array)[None] if channels == 1 else torch.from_numpy(array).permute(2, 0, 1)


def read_mask(
    source: Source, at_least: Size | None = None, max_aspect: float | None = None, max_pixels: int = MAX_PIXELS
) -> Tensor:
    """A mask [h, w] with the values that stand in the file: uint8, or int64 where it has more than 8 bits.

    Of a palette these are the indices, of 1 bit 0 and 1. The EXIF rotation is applied. Arrays and tensors [h, w] of whole
    numbers are taken as they are. Read with the same arguments as its picture it has the same size: of each block of
    pixels the middle one is kept, and nothing is averaged.

    Raises:
        PictureError: as `read_image`; also for floats, and for colours other than grey, as they number no class.
        SettingError: an argument is out of range.
    """
    values = _mask_in_memory(source) if isinstance(source, np.ndarray | Tensor) else _mask_in_file(source, max_pixels)
    height, width = values.shape
    factor = reduction(height, width, at_least)
    rows, columns = (np.minimum(np.arange(0, n, factor) + factor // 2, n - 1) for n in (height, width))
    left, top, right, bottom = _window(len(rows), len(columns), max_aspect)
    values = values[np.ix_(rows[top:bottom], columns[left:right])]
    return torch.from_numpy(values.astype(np.uint8 if values.dtype.itemsize == 1 else np.int64))


def probe(source: Source) -> Probe:
    """What the header says, without decoding: 0.03 ms for a JPEG of 500 x 375 pixels.

    Raises:
        PictureError: the file is missing, or has no header of a picture.
    """
    with _opened(source) as (im, _):
        width, height = im.size[::-1] if _orientation(im) >= 5 else im.size
        clear = im.has_transparency_data
        n = 1 if im.mode in ("1", "L", "LA", "La", "F") or im.mode.startswith("I") else 3
        return Probe(height, width, n + clear, _depth(im)[0], im.format or "")


def check(paths: Iterable[PathLike], full: bool | None = None, n_threads: int | None = None) -> list[tuple[str, str]]:
    """The pictures that cannot be read, each with the reason in words. Call it before training.

    What is always seen: a missing or empty file, one that has no header of a picture, a JPEG without its end (which is
    then decoded to be sure), wrong check sums of a PNG, pictures of more than `MAX_PIXELS`. Decoding shows missing parts and
    broken streams of any format. What a decoder fills in for damaged bytes within a JPEG is no error to it, and
    not found.

    Of a JPEG of 500 x 375 pixels, a look took 0.03 ms of processor time; decoding took 0.4 ms with 44 kB and 0.9 ms with
    97 kB (at an eighth of its size, for which all its bytes are read). Threads share the decoding.

    Args:
        paths: of pictures.
        full: decode every picture. Where it is not said, all are if they take up to 512 MB together, else none.
        n_threads: as many as there are cores, up to 16, where it is not said.
    """
    names = [os.fspath(path) for path in paths]
    if full is None:
        full = sum(os.path.getsize(name) for name in names if os.path.exists(name)) <= FULL_BYTES
    parts = [names[i : i + 32] for i in range(0, len(names), 32)]
    with _quiet(), ThreadPoolExecutor(n_threads or min(os.cpu_count() or 1, 16)) as pool:
        reasons = pool.map(lambda part: [_fault(name, full) for name in part], parts)
        faults = [pair for part in zip(parts, reasons, strict=True) for pair in zip(*part, strict=True)]
    return [(name, reason) for name, reason in faults if reason]


def shown(path: PathLike) -> str:
    """A path as it can be printed anywhere, also where its bytes are no text."""
    return os.fspath(path).encode("utf-8", "backslashreplace").decode()


def _fault(path: str, full: bool) -> str:
    try:
        with _opened(path) as (im, name):
            _draft(im, 8, grey=False)
            _refuse_large(im, name, MAX_PIXELS)
            if full or (im.format == "JPEG" and not _has_end(im.fp)):
                im.load()
                if im.mode == "F":
                    _plain(im, name)
            elif im.format == "PNG":
                im.verify()
    except PictureError as error:
        return error.reason
    return ""


def _has_end(file: BinaryIO) -> bool:
    file.seek(max(0, file.seek(0, os.SEEK_END) - 1024))
    return file.read().rstrip(b"\0\r\n ").endswith(b"\xff\xd9")


_lock = threading.Lock()
_n_within = 0
_filters = warnings.catch_warnings()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences what PIL warns of (odd metadata, many pixels). Filters belong to all threads: the last one out restores."""
    global _n_within, _filters
    with _lock:
        if not _n_within:
            _filters = warnings.catch_warnings()
            _filters.__enter__()
            warnings.filterwarnings("ignore", module="PIL")
        _n_within += 1
    try:
        yield
    finally:
        with _lock:
            _n_within -= 1
            if not _n_within:
                _filters.__exit__(None, None, None)


@contextmanager
def _opened(source: Source) -> Iterator[tuple[Any, str]]:
    """A picture with its header read, and its name. Here alone, whatever PIL raises within becomes a PictureError."""
    name = shown(source) if isinstance(source, str | os.PathLike) else f"a picture given as {type(source).__name__}"
    im = None
    try:
        with _quiet(), ExitStack() as files:
            if isinstance(source, Image.Image):
                im = source
            elif isinstance(source, np.ndarray | Tensor):
                im = _from_array(source, name)
            elif isinstance(source, bytes | bytearray | memoryview):
                im = _from_file(io.BytesIO(source), name)
            elif isinstance(source, str | os.PathLike):
                im = _from_file(files.enter_context(open(source, "rb")), name)
            else:
                raise PictureError(name, "expected a path, a file's bytes, a PIL image, an array or a tensor.")
            if im.mode == "LAB":
                raise PictureError(name, "its colours are LAB, which is not converted. Save it as RGB.")
            yield im, name
    except (DataError, SettingError):
        raise
    except Exception as error:  # OSError, SyntaxError, ValueError, struct.error, zlib.error, and what others PIL has
        raise PictureError(name, _words(error, im)) from error


def _words(error: Exception, im: Any) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file. Check the path."
    if isinstance(error, IsADirectoryError):
        return "this is a folder; expected a picture."
    if isinstance(error, MemoryError):
        return "there is not enough memory to decode it. Shrink it, or leave it out."
    if isinstance(error, Image.DecompressionBombError):
        return "it has more pixels than PIL reads in this format. Shrink it, or leave it out."
    if isinstance(error, OSError) and error.errno:
        return f"it cannot be read ({error.strerror}). Check its permissions."
    text = str(error) or type(error).__name__
    if any(word in text.lower() for word in ("truncated", "unexpected end", "not enough", "end of file")):
        return f"the file ends early{_missing_rows(im)}. Fetch it anew, or leave it out."
    return f"it is damaged ({text}). Fetch it anew, or leave it out."


def _missing_rows(im: Any) -> str:
    """What share of the rows a decoder had not reached when it gave up: they are still black. "" if that tells nothing."""
    if not isinstance(im, ImageFile.ImageFile) or getattr(im, "_im", None) is None:
        return ""
    im.tile = []  # what is there is all there will be
    filled = np.asarray(im).reshape(im.height, -1).max(1) > 0
    n = int(np.argmax(filled[::-1]))
    return f": the last {n / im.height:.0%} of its rows are missing" if n else ""


def _mask_in_memory(source: NDArray[Any] | Tensor) -> NDArray[Any]:
    values = source.cpu().numpy() if isinstance(source, Tensor) else source
    if values.ndim != 2 or not values.size or values.dtype.kind not in "uib" or values.dtype == np.int8:
        raise PictureError(
            f"a mask given as {type(source).__name__}",
            f"it is {values.dtype} of shape {values.shape}; expected whole numbers [h, w], such as uint8 or int64.",
        )
    return values


def _mask_in_file(source: File | Image.Image, max_pixels: int) -> NDArray[Any]:
    with _opened(source) as (im, name):
        orientation, (bits, signed) = _orientation(im), _depth(im)
        stretch = _PNG_GREY.get(im.tile[0].args, 1) if im.format == "PNG" and im.tile else 1
        _load(im, name, max_pixels)
        if im.mode not in ("1", "L", "P", "I", "LA", "PA", "RGB", "RGBA") and not im.mode.startswith("I;16"):
            raise PictureError(name, f"the mask is of PIL's mode {im.mode}; expected whole numbers. {_TO_INTEGERS}")
        im = _turned(im.getchannel(0) if im.mode in ("LA", "PA") else im, orientation)
        values = _array(im, (0, 0, im.width, im.height))
        if values.ndim == 3:
            if (values[..., :3] != values[..., :1]).any() or (values[..., 3:] != values[0, 0, 3:]).any():
                raise PictureError(
                    name, f"the mask is in colours or half transparent; expected one value a pixel. {_TO_INTEGERS}"
                )
            values = values[..., 0]
    if bits > 8:
        return values if signed or bits < 32 else values.view(np.uint32)
    return values // np.uint8(stretch) if stretch > 1 else values


def _from_file(file: BinaryIO, name: str) -> Any:
    """The decoder that a file's first bytes ask for, with the header read.

    Not by `Image.open`: that refuses large pictures before a JPEG can be reduced, by a global limit which is not ours to
    set, and opens formats that run other programs.
    """
    head = file.read(64)
    if not head:
        raise PictureError(name, "the file is empty. Fetch it anew, or leave it out.")
    file.seek(0)
    Image.init()
    for kind in FORMATS:
        factory, accepts = Image.OPEN.get(kind, (None, None))
        if factory and accepts and accepts(head[:16]) is True:
            return (
                JpegImageFile(file, "") if kind == "JPEG" else factory(file, "")
            )  # not JPEG's own search for more frames
    start = head.lower().lstrip()
    found = next((words for first, words in _OTHER_KINDS.items() if start.startswith(first)), "")
    if head[4:8] == b"ftyp":
        found = "HEIC or a film; save it as JPEG"
    elif not found:
        found = "text" if all(32 <= c < 127 or c in b"\t\r\n" for c in head) else f"data that begin {head[:4].hex(' ')}"
    raise PictureError(name, f"this is no picture but {found}. Expected one of {', '.join(FORMATS)}.")


def _from_array(source: NDArray[Any] | Tensor, name: str) -> Image.Image:
    array = source
    if isinstance(array, Tensor):
        array = (array.permute(1, 2, 0) if array.ndim == 3 else array).cpu().numpy()
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or not array.size or (array.ndim == 3 and array.shape[2] > 4):
        order = "[c, h, w]" if isinstance(source, Tensor) else "[h, w, c]"
        raise PictureError(
            name, f"its shape is {tuple(source.shape)}; expected [h, w], or {order} with 1 to 4 channels."
        )
    if array.dtype == np.bool_:
        array = array * np.uint8(255)
    elif array.dtype == np.uint16:
        array = array >> 8
    elif array.dtype.kind == "f":
        array = _from_floats(array, name)
    elif array.dtype != np.uint8:
        raise PictureError(
            name, f"its type is {array.dtype}; expected uint8, uint16, truth values or floats in 0 to 1."
        )
    return Image.fromarray(np.ascontiguousarray(array.astype(np.uint8, copy=False)))


def _from_floats(values: NDArray[Any], name: str) -> NDArray[np.uint8]:
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):
        raise PictureError(name, f"its floats run from {low:g} to {high:g}; expected 0 to 1. Scale them.")
    return (values * 255).round().astype(np.uint8)


def _orientation(im: Any) -> int:
    """EXIF's number from the header, 1 to 8."""
    if im.format == "TIFF":  # PIL turns these itself, and gives the size after it
        return 1
    if im.format == "PNG" and "exif" not in im.info and im.fp and im.tile:
        im.info["exif"] = _late_exif(im.fp, im.tile[0].offset - 8)  # else PIL decodes it all to look for one
    try:
        return int(im.getexif().get(0x0112, 1))
    except Exception:  # EXIF that cannot be read turns nothing
        return 1


def _late_exif(file: BinaryIO, place: int) -> bytes:
    """EXIF that stands behind the pixels of a PNG, where some programs put it; from the place of a chunk on."""
    while len(head := file.read(8) if file.seek(place) == place else b"") == 8:
        if head[4:] == b"eXIf":
            return file.read(int.from_bytes(head[:4]))
        place += 12 + int.from_bytes(head[:4])
    return b""


def _turned(im: Image.Image, orientation: int) -> Image.Image:
    return im.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else im


def _reduction(im: Image.Image, orientation: int, at_least: Size | None) -> int:
    width, height = im.size
    return reduction(width, height, at_least) if orientation >= 5 else reduction(height, width, at_least)


def _draft(im: Any, factor: int, grey: bool) -> int:
    """Has a JPEG reduced within its transform, as far as that goes; returns by how much."""
    if not isinstance(im, JpegImageFile):
        return 1
    factor = min(factor, 8)
    im.draft("L" if grey else None, (max(1, im.width // factor), max(1, im.height // factor)))
    return im.decoderconfig[0] if im.decoderconfig else 1


def _load(im: Any, name: str, max_pixels: int) -> None:
    _refuse_large(im, name, max_pixels)
    im.load()


def _refuse_large(im: Any, name: str, max_pixels: int) -> None:
    # A progressive JPEG is gathered whole before it is reduced.
    scale = im.decoderconfig[0] if im.info.get("progressive") and getattr(im, "decoderconfig", ()) else 1
    if im.width * im.height * scale**2 > max_pixels:
        reduce = " or give at_least=, by which JPEG is reduced while it is read" if im.format == "JPEG" else ""
        raise PictureError(
            name,
            f"{im.width * scale} x {im.height * scale} pixels would be held in memory; the limit is {max_pixels:,} in all. "
            f"Shrink it{reduce}, or raise max_pixels.",
        )


def _depth(im: Any) -> tuple[int, bool]:
    """Bits a channel, and whether they are signed, from the header."""
    if im.mode == "F":
        return 32, True
    if not im.mode.startswith("I"):
        return 1 if im.mode == "1" else 8, False
    tags = getattr(im, "tag_v2", {})  # only TIFF has 32 bits, or signed ones
    return int(tags.get(258, (16,))[0]), tags.get(339, (1,))[0] == 2


def _plain(im: Any, name: str) -> Any:
    """As L, RGB, or RGBA where something is transparent."""
    if im.mode == "F":
        return Image.fromarray(_from_floats(np.asarray(im), name))
    if im.mode.startswith("I"):
        (bits, signed), values = _depth(im), np.asarray(im)
        values = values.view(np.uint32) if bits == 32 and not signed else values
        values = (values >> (bits - 8)) + 128 * signed
        if values.min() < 0 or values.max() > 255:
            raise PictureError(name, f"it holds values beyond {bits} bits. Scale them, and save it as 16-bit grey.")
        return Image.fromarray(values.astype(np.uint8))
    if im.has_transparency_data:
        return im.convert("RGBA")
    return im if im.mode in ("L", "RGB") else im.convert("L" if im.mode == "1" else "RGB")


def _window(height: int, width: int, max_aspect: float | None) -> tuple[int, int, int, int]:
    """The middle of the long side that keeps within the ratio: left, top, right, bottom."""
    if max_aspect is None:
        return 0, 0, width, height
    if not max_aspect >= 1:
        raise SettingError(f"max_aspect is {max_aspect!r}; expected a ratio of the sides of at least 1.")
    most = int(min(height, width) * max_aspect)
    rows, columns = min(height, most), min(width, most)
    left, top = (width - columns) // 2, (height - rows) // 2
    return left, top, left + columns, top + rows


def _array(im: Image.Image, box: tuple[int, int, int, int]) -> NDArray[Any]:
    """A copy of what is in the box, by bands where that is much."""
    left, top, right, bottom = box
    if box == (0, 0, *im.size) and im.width * im.height <= _BAND:
        return np.array(im)
    n = max(1, _BAND // (right - left))
    bands = ((y, min(y + n, bottom)) for y in range(top, bottom, n))
    out: NDArray[Any] | None = None
    for start, end in bands:
        band = np.asarray(im.crop((left, start, right, end)))
        if out is None:
            out = np.empty((bottom - top, *band.shape[1:]), band.dtype)
        out[start - top : end - top] = band
    assert out is not None
    return out
