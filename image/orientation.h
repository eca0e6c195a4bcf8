// Photos that a camera stored sideways. Private to this room.
#pragma once

#include <cstddef>
#include <span>

#include "image/format.h"
#include "image/image.h"

namespace zood::image {

// The orientation of EXIF 2.3 (tag 0x0112), 1 to 8, that the file holds (JPEG, PNG, WebP). 1, which
// is upright, where there is none or nothing that can be read: it does not touch the pixels.
int OrientationOf(Format format, std::span<const std::byte> bytes);

// The image turned upright: what is stored with `orientation` as EXIF says, mirrored and rotated.
Image Turned(Image image, int orientation);

}  // namespace zood::image
