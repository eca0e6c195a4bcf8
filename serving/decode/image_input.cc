#include "serving/decode/image_input.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/status.h"
#include "image/image.h"
#include "image/pixels.h"
#include "image/preprocess.h"

namespace zood::serving {
namespace {

absl::Status CheckBytes(std::string_view bytes, const Shape& shape, std::size_t element) {
  const std::optional<std::int64_t> elements = shape.CheckedNumElements();
  if (!elements || static_cast<std::uint64_t>(*elements) != bytes.size() / element ||
      bytes.size() % element != 0) {
    return InvalidArgument("a tensor of shape {} holds {} bytes of elements of {} bytes",
                           shape.ToString(), bytes.size(), element);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<float>> FromInput(const dataset::NetworkInput& source,
                                             const Shape& expected) {
  if (source.shape != expected) {
    return InvalidArgument("the input tensor has shape {}; the network takes {}",
                           source.shape.ToString(), expected.ToString());
  }
  ZOOD_RETURN_IF_ERROR(CheckBytes(source.bytes, source.shape, sizeof(float)));
  std::vector<float> input(source.bytes.size() / sizeof(float));
  std::memcpy(input.data(), source.bytes.data(), source.bytes.size());
  // A ReLU makes a zero of what is no number: the answer would look like one.
  if (!std::ranges::all_of(input, [](float x) { return std::isfinite(x); })) {
    return InvalidArgument("the input tensor holds numbers that are not finite");
  }
  return input;
}

// What is too large to be decoded will be so at the next attempt, too.
absl::Status AsInvalid(const absl::Status& status) {
  if (status.code() != absl::StatusCode::kResourceExhausted) return status;
  return absl::InvalidArgumentError(status.message());
}

}  // namespace

absl::StatusOr<DecodeCost> CostOf(const dataset::ImageSource& source,
                                  const image::PreprocessSpec& spec,
                                  const image::DecodeLimits& limits) {
  if (const auto* pixels = std::get_if<dataset::PixelImage>(&source)) {
    const std::uint64_t bytes = pixels->bytes.size();
    return DecodeCost{.pixels = bytes,
                      .memory = bytes * static_cast<std::uint64_t>(spec.decode.channels)};
  }
  const auto* encoded = std::get_if<dataset::EncodedImage>(&source);
  if (encoded == nullptr) return DecodeCost{};
  const auto header =
      image::ReadHeader(std::as_bytes(std::span(encoded->bytes)), spec.decode, limits);
  if (!header.ok()) return AsInvalid(header.status());
  return DecodeCost{.pixels = static_cast<std::uint64_t>(header->size.height) *
                              static_cast<std::uint64_t>(header->size.width),
                    .memory = header->memory};
}

absl::StatusOr<std::vector<float>> PrepareImage(const dataset::ImageSource& source,
                                                const Servable& servable,
                                                const image::DecodeLimits& limits,
                                                PrepareTimes& times) {
  const Shape& batched = servable.graph().input_shape();
  const Shape expected{batched[1], batched[2], batched[3]};
  if (const auto* input = std::get_if<dataset::NetworkInput>(&source))
    return FromInput(*input, expected);

  const image::PreprocessSpec& spec = servable.preprocess();
  const Clock::time_point begun = Clock::now();
  absl::StatusOr<image::Image> image;
  if (const auto* encoded = std::get_if<dataset::EncodedImage>(&source)) {
    image = image::Decode(std::as_bytes(std::span(encoded->bytes)), spec.decode, limits);
  } else {
    const auto& pixels = std::get<dataset::PixelImage>(source);
    image = image::FromPixels(std::as_bytes(std::span(pixels.bytes)), pixels.shape,
                              spec.decode.channels, limits);
  }
  if (!image.ok()) return AsInvalid(image.status());
  const Clock::time_point decoded = Clock::now();
  times.decode_ms = Milliseconds(decoded - begun);
  std::vector<float> values(static_cast<std::size_t>(expected.num_elements()));
  if (absl::Status status = image::Preprocess(spec, *image, values); !status.ok()) {
    return AsInvalid(status);
  }
  times.preprocess_ms = Milliseconds(Clock::now() - decoded);
  return values;
}

}  // namespace zood::serving
