"""Makes tests/data/image: what Pillow makes of generated images, and images whose pixels are known.

  pip install pillow numpy
  python tests/numerics/oracle/gen_image.py tests/data/image

pillow_resize.json  CRC-32 of Pillow's Image.resize for generated images (the generator is
                    tests/support/oracle_fill.h), sizes and filters; and the pixels of some whole.
*.png, *.bmp        every color type, depth and interlacing, written here byte by byte, so that the
                    pixels beside them (*.rgb) come from the definition of the format, not a decoder.
"""
import json
import os
import struct
import sys
import zlib

import numpy as np
import PIL
from PIL import Image

FILTERS = {'pillow_box': Image.Resampling.BOX, 'pillow_bilinear': Image.Resampling.BILINEAR,
           'pillow_bicubic': Image.Resampling.BICUBIC, 'pillow_lanczos': Image.Resampling.LANCZOS}
# (height, width, channels) -> (height, width)
SIZES = [((375, 500, 3), (256, 256)), ((97, 131, 3), (224, 224)), ((512, 512, 3), (32, 32)),
         ((31, 641, 3), (224, 37)), ((40, 36, 1), (28, 28)), ((28, 28, 1), (57, 91)),
         ((64, 48, 3), (64, 20)), ((64, 48, 3), (20, 48)), ((1, 300, 3), (7, 3)),
         ((300, 1, 3), (3, 7)), ((2, 2, 3), (5, 5)), ((9, 10, 3), (1, 1)), ((33, 47, 3), (33, 47))]


def splitmix(name, index):
  h = 0xcbf29ce484222325
  for b in name.encode():
    h = ((h ^ b) * 0x100000001b3) % 2**64
  z = np.uint64(h) + (index.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
  z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
  z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
  return z ^ (z >> np.uint64(31))


def image_u8(number, height, width, channels):
  y, x, c = np.meshgrid(range(height), range(width), range(channels), indexing='ij')
  cell = max(1, height // 4)
  top = lambda kind, index: (splitmix(f'image/{number}/{kind}', index) >> np.uint64(56)).astype(int)
  fine = top('fine', (y * width + x) * channels + c)
  coarse = top('coarse', (y // cell * 64 + x // cell) * channels + c)
  weight = 3 if number % 2 == 0 else 1
  return ((weight * coarse + (4 - weight) * fine) >> 2).astype(np.uint8)


def resizes(out):
  cases = []
  for size_in, size_out in SIZES:
    for number in (0, 1):
      pixels = image_u8(number, *size_in)
      image = Image.fromarray(pixels[:, :, 0] if size_in[2] == 1 else pixels)
      for name, kind in FILTERS.items():
        made = np.asarray(image.resize(size_out[::-1], kind))
        case = {'image': number, 'in': size_in, 'out': size_out, 'filter': name,
                'crc32': '%08x' % zlib.crc32(made.tobytes())}
        if made.size <= 75:
          case['pixels'] = made.ravel().tolist()
        cases.append(case)
  with open(os.path.join(out, 'pillow_resize.json'), 'w') as f:
    f.write('{"pillow": "%s", "cases": [\n' % PIL.__version__)
    f.write(',\n'.join(json.dumps(c) for c in cases) + '\n]}\n')


def chunk(kind, data):
  return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))


def pack(rows, depth):
  """Rows [h, n] of samples as filtered scan lines (filter 0)."""
  data = b''
  for row in rows:
    if depth == 16:
      line = row.astype('>u2').tobytes()
    elif depth == 8:
      line = row.astype(np.uint8).tobytes()
    else:
      bits = ''.join(format(int(v), '0%db' % depth) for v in row)
      bits += '0' * (-len(bits) % 8)
      line = bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8))
    data += b'\0' + line
  return data


ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
         (1, 0, 2, 1)]


def png(samples, color_type, depth, interlaced, palette=None, transparency=None):
  height, width, count = samples.shape
  data = b''
  for top, left, dy, dx in ADAM7 if interlaced else [(0, 0, 1, 1)]:
    part = samples[top::dy, left::dx]
    if part.size:
      data += pack(part.reshape(part.shape[0], -1), depth)
  return (b'\x89PNG\r\n\x1a\n' +
          chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, depth, color_type, 0, 0, interlaced)) +
          (chunk(b'PLTE', palette.tobytes()) if palette is not None else b'') +
          (chunk(b'tRNS', transparency) if transparency is not None else b'') +
          chunk(b'IDAT', zlib.compress(data)) + chunk(b'IEND', b''))


def save(out, name, data, rgb):
  with open(os.path.join(out, name), 'wb') as f:
    f.write(data)
  with open(os.path.join(out, name + '.rgb'), 'wb') as f:
    f.write(np.ascontiguousarray(rgb, np.uint8).tobytes())


def pngs(out):
  height, width = 13, 11
  kinds = {'gray': (0, 1, (1, 2, 4, 8, 16)), 'rgb': (2, 3, (8, 16)), 'palette': (3, 1, (1, 2, 4, 8)),
           'gray_alpha': (4, 2, (8, 16)), 'rgba': (6, 4, (8, 16))}
  for name, (color_type, count, depths) in kinds.items():
    for depth in depths:
      for interlaced in (0, 1):
        u = splitmix(f'png/{name}/{depth}/{interlaced}', np.arange(height * width * count))
        samples = (u >> np.uint64(64 - depth)).astype(np.int64).reshape(height, width, count)
        palette = transparency = None
        if depth == 16:
          eight = samples >> 8  # TensorFlow drops the lower byte
        else:
          eight = samples * 255 // (2**depth - 1)
        if name == 'palette':
          palette = (splitmix('palette', np.arange(3 * 2**depth)) >> np.uint64(56)).astype(np.uint8)
          rgb = palette.reshape(-1, 3)[samples[:, :, 0]]
          transparency = bytes([0, 128]) if depth > 1 else None  # must not matter
        elif count < 3:
          rgb = np.repeat(eight[:, :, :1], 3, 2)
        else:
          rgb = eight[:, :, :3]
        label = f'{name}_{depth}' + ('_interlaced' if interlaced else '') + '.png'
        save(out, label, png(samples, color_type, depth, interlaced, palette, transparency), rgb)


def bmp(pixels, bits, top_down=False, palette=b'', masks=b''):
  """pixels: uint8 [h, w, n], in the order of the file."""
  height, width, count = pixels.shape
  rows = pixels if top_down else pixels[::-1]
  data = b''.join(r.tobytes() + b'\0' * (-r.size % 4) for r in rows)
  at = 14 + 40 + len(masks) + len(palette)
  return (b'BM' + struct.pack('<IHHI', at + len(data), 0, 0, at) +
          struct.pack('<IiiHHIIiiII', 40, width, -height if top_down else height, 1, bits,
                      3 if masks else 0, len(data), 2835, 2835, len(palette) // 4, 0) +
          masks + palette + data)


def bmps(out):
  rgb = image_u8(3, 9, 7, 3)
  bgr = rgb[:, :, ::-1]
  bgra = np.concatenate([bgr, image_u8(4, 9, 7, 1)], 2)
  masks = struct.pack('<III', 0xff0000, 0xff00, 0xff)
  save(out, 'bgr_24.bmp', bmp(bgr, 24), rgb)
  save(out, 'bgr_24_top_down.bmp', bmp(bgr, 24, top_down=True), rgb)
  save(out, 'bgra_32.bmp', bmp(bgra, 32), rgb)
  save(out, 'bgra_32_masks_top_down.bmp', bmp(bgra, 32, top_down=True, masks=masks), rgb)
  index = image_u8(5, 9, 7, 1)
  gray = b''.join(bytes([i, i, i, 0]) for i in range(256))
  save(out, 'gray_8.bmp', bmp(index, 8, palette=gray), np.repeat(index, 3, 2))
  colors = image_u8(6, 256, 1, 4)[:, 0]
  save(out, 'palette_8.bmp', bmp(index, 8, palette=colors.tobytes()),
       colors[:, 2::-1][index[:, :, 0]])


if __name__ == '__main__':
  resizes(sys.argv[1])
  pngs(sys.argv[1])
  bmps(sys.argv[1])
