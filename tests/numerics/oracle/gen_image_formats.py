#!/usr/bin/env python3
"""Makes the images of tests/data/image/pillow, and beside each NAME the pixels NAME.rgb that Pillow has for it.

Needs Pillow and NumPy. The pixels are those of Image.convert("RGB"); orientation tags are applied in
the files named upright_*, by ImageOps.exif_transpose.
"""
import io, os, struct
import numpy as np
from PIL import Image, ImageOps

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../data/image/pillow")
H, W = 23, 29
rng = np.random.default_rng(10)
y, x = np.mgrid[0:H, 0:W]
RGB = np.stack([x * 8 % 256, y * 11 % 256, (x * y) % 256], -1).astype(np.uint8)
RGB[5:9, 4:20] = rng.integers(0, 256, (4, 16, 3))
PHOTO = Image.fromarray(RGB)


def put(name, data):
    with open(os.path.join(OUT, name), "wb") as f:
        f.write(data)
    image = Image.open(io.BytesIO(data))
    if name.startswith("upright_"):
        image = ImageOps.exif_transpose(image)
    pixels = np.asarray(image.convert("RGB"))
    with open(os.path.join(OUT, name + ".rgb"), "wb") as f:
        f.write(pixels.tobytes())


def saved(image, fmt, **kw):
    b = io.BytesIO()
    image.save(b, fmt, **kw)
    return b.getvalue()


# Bitmaps, written by hand: Pillow writes few of their forms.
def bmp(bits, rows, palette=b"", compression=0, extra=b"", info=40, height=H, colors=0):
    head = struct.pack("<IiiHHIIiiII", info, W, height, 1, bits, compression, len(rows), 2835, 2835, colors, 0)
    head += extra + b"\0" * max(0, info - 40 - len(extra))
    at = 14 + len(head) + len(palette)
    return b"BM" + struct.pack("<IHHI", at + len(rows), 0, 0, at) + head + palette + rows


def packed(indices, bits):
    out = b""
    for row in indices[::-1]:
        b = "".join(format(int(i), f"0{bits}b") for i in row)
        b += "0" * (-len(b) % 32)
        out += int(b, 2).to_bytes(len(b) // 8, "big")
    return out


def words(values, width):
    out = b""
    for row in values[::-1]:
        r = b"".join(int(v).to_bytes(width, "little") for v in row)
        out += r + b"\0" * (-len(r) % 4)
    return out


def pal(n, stride=4):
    return b"".join(bytes([(i * 37) % 256, (i * 91 + 5) % 256, (i * 53 + 9) % 256]) + b"\0" * (stride - 3) for i in range(n))


idx = {b: (x * 3 + y * 5 + (x * y) // 7) % (1 << b) for b in (1, 4, 8)}
for b in (1, 4, 8):
    put(f"palette_{b}.bmp", bmp(b, packed(idx[b], b), pal(1 << b)))
put("black_white_1.bmp", bmp(1, packed(idx[1], 1), bytes([0, 0, 0, 0, 255, 255, 255, 0])))
put("palette_4_of_10.bmp", bmp(4, packed(idx[4] % 10, 4), pal(10), colors=10))
r, g, b_ = (RGB[..., i].astype(np.uint32) for i in range(3))
put("rgb_555.bmp", bmp(16, words((r >> 3) << 10 | (g >> 3) << 5 | b_ >> 3, 2)))
masks565 = struct.pack("<III", 0xF800, 0x7E0, 0x1F)
v565 = words((r >> 3) << 11 | (g >> 2) << 5 | b_ >> 3, 2)
put("rgb_565.bmp", bmp(16, v565, masks565, 3))
put("rgb_565_v4_top_down.bmp", bmp(16, b"".join(v565[i:i + 60] for i in range(0, len(v565), 60)), b"", 3, masks565, 108, -H))
put("rgb_555_masks.bmp", bmp(16, words((r >> 3) << 10 | (g >> 3) << 5 | b_ >> 3, 2), struct.pack("<III", 0x7C00, 0x3E0, 0x1F), 3))
put("xbgr_32_v3.bmp", bmp(32, words(r << 24 | g << 16 | b_ << 8, 4), b"", 3, struct.pack("<IIII", 0xFF000000, 0xFF0000, 0xFF00, 0), 56))
put("rgba_32_v5.bmp", bmp(32, words(b_ << 16 | g << 8 | r | np.uint32(128) << 24, 4), b"", 3, struct.pack("<IIII", 0xFF, 0xFF00, 0xFF0000, 0xFF000000), 124))


def core(bits, rows, palette=b""):
    at = 26 + len(palette)
    return b"BM" + struct.pack("<IHHI", at + len(rows), 0, 0, at) + struct.pack("<IHHHH", 12, W, H, 1, bits) + palette + rows


put("os2_24.bmp", core(24, words(r << 16 | g << 8 | b_, 3)))
put("os2_8.bmp", core(8, packed(idx[8], 8), pal(256, 3)))
put("os2_4.bmp", core(4, packed(idx[4], 4), pal(16, 3)))


def runs(indices, four):
    """Runs, pixels one by one, ends of rows, and a jump over zeros, in turn."""
    out = b""
    for n, row in enumerate(indices[::-1]):
        row = [int(v) for v in row]
        if n == 3:  # a row of zeros that no run names
            row = [0] * W
            out += b"\0\2" + bytes([W - 1, 0]) + b"\1\0" + b"\0\0"
            continue
        if n % 2:
            stored = bytes(row) if not four else bytes((row[i] << 4) | (row[i + 1] if i + 1 < W else 0) for i in range(0, W, 2))
            out += bytes([0, W]) + stored + b"\0" * (len(stored) % 2)
        else:
            i = 0
            while i < W:
                if four:
                    j = i
                    while j < W and row[j] == row[i + (j - i) % 2]:
                        j += 1
                    second = row[i + 1] if i + 1 < W else 0
                    out += bytes([j - i, row[i] << 4 | second])
                else:
                    j = i
                    while j < W and row[j] == row[i]:
                        j += 1
                    out += bytes([j - i, row[i]])
                i = j
        out += b"\0\0"
    return out + b"\0\1"


for b in (4, 8):
    put(f"rle_{b}.bmp", bmp(b, runs(idx[b] // 3, b == 4), pal(1 << b), 1 if b == 8 else 2))

# WebP.
rgba = np.dstack([RGB, (x * 9 % 256).astype(np.uint8)])
put("lossy.webp", saved(PHOTO, "WEBP", quality=70))
put("lossless.webp", saved(PHOTO, "WEBP", lossless=True))
put("lossy_alpha.webp", saved(Image.fromarray(rgba), "WEBP", quality=60, exact=True))
put("lossless_alpha.webp", saved(Image.fromarray(rgba), "WEBP", lossless=True, exact=True))
frames = [PHOTO, Image.fromarray(RGB[::-1].copy()), Image.fromarray(RGB[:, ::-1].copy())]
put("animated.webp", saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=40, quality=80))


def moved(data, left, top, width, height):
    """An animation whose first frame lies somewhere on a larger canvas."""
    at = data.index(b"ANMF")
    vp8x = data.index(b"VP8X")
    out = bytearray(data)
    out[vp8x + 12:vp8x + 18] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    out[at + 8:at + 14] = (left // 2).to_bytes(3, "little") + (top // 2).to_bytes(3, "little")
    return bytes(out)


put("animated_offset.webp", moved(saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=40, lossless=True, minimize_size=False, allow_mixed=False), 6, 4, W + 10, H + 8))

# GIF.
pim = PHOTO.quantize(64)
put("plain.gif", saved(pim, "GIF"))
put("interlaced.gif", saved(pim, "GIF", interlace=1))
put("animated.gif", saved(pim, "GIF", save_all=True, append_images=[f.quantize(64) for f in frames[1:]], duration=40))
put("transparent.gif", saved(pim, "GIF", transparency=7))


def offset_gif(left, top, canvas, transparent):
    data = saved(pim, "GIF", interlace=0)
    i = data.index(b"\x2c\0\0\0\0")
    table = 3 * (2 << (data[10] & 7))
    palette = data[13:13 + table]
    head = data[:6] + struct.pack("<HHBBB", *canvas, 0x70, 0, 0)  # a palette of the frame's own
    control = b"\x21\xf9\x04" + bytes([1 if transparent is not None else 0, 0, 0, transparent or 0, 0])
    flags = 0x80 | (data[10] & 7)
    return b"GIF89a" + head[6:] + control + b"\x2c" + struct.pack("<HHHHB", left, top, W, H, flags) + palette + data[i + 10:]


put("offset.gif", offset_gif(3, 2, (40, 30), None))
put("offset_transparent.gif", offset_gif(3, 2, (40, 30), 9))
put("beyond_canvas.gif", offset_gif(3, 2, (20, 10), None))

# JPEG: CMYK with Adobe's marker and without.
cmyk = np.dstack([RGB, (255 - RGB[..., 0] // 2).astype(np.uint8)])
adobe = saved(Image.frombytes("CMYK", (W, H), cmyk.tobytes()), "JPEG", quality=90)
put("cmyk_adobe.jpg", adobe)
i = adobe.index(b"\xff\xee")
put("cmyk_plain.jpg", adobe[:i] + adobe[i + 2 + int.from_bytes(adobe[i + 2:i + 4], "big"):])

# Orientation, in each format that has it.
for o in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = o
    put(f"upright_{o}.jpg", saved(PHOTO, "JPEG", exif=exif, quality=90))
exif = Image.Exif()
exif[0x0112] = 6
put("upright_6.png", saved(PHOTO, "PNG", exif=exif))
put("upright_6.webp", saved(PHOTO, "WEBP", exif=exif, lossless=True))
little = saved(PHOTO, "JPEG", quality=90)
tiff = b"Exif\0\0II*\0\x08\0\0\0\x02\0" + struct.pack("<HHII", 0x010F, 2, 4, 0x41424344) + struct.pack("<HHIHH", 0x0112, 3, 1, 8, 0) + b"\0\0\0\0"
put("upright_8_little_endian.jpg", little[:2] + b"\xff\xe1" + struct.pack(">H", len(tiff) + 2) + tiff + little[2:])
