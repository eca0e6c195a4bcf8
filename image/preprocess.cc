// Runs a PreprocessSpec. Two things keep it fast: crops only narrow the view of the pixels, and
// arithmetic waits in a list until a row is read for another reason, when the row is in the cache.
#include "image/preprocess.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/status.h"
#include "image/memory_errors.h"
#include "image/preprocess_plan.h"
#include "image/resize.h"

namespace zood::image {
namespace {

// One arithmetic step, ready for whole rows.
struct RowOperation {
  enum class Kind { kSubtract, kMultiply, kDivide };
  Kind kind = Kind::kSubtract;
  std::vector<float> values;   // one, or one for each channel
  std::vector<float> pattern;  // `values` repeated over a row where they differ

  void Repeat(std::size_t length) {
    if (values.size() == 1 || pattern.size() >= length) return;
    pattern.resize(length);
    for (std::size_t i = 0; i < length; ++i) pattern[i] = values[i % values.size()];
  }

  void Apply(float* row, std::size_t length) {
    Repeat(length);
    switch (kind) {
      case Kind::kSubtract:
        return ForEach(row, length, [](float x, float y) { return x - y; });
      case Kind::kMultiply:
        return ForEach(row, length, [](float x, float y) { return x * y; });
      case Kind::kDivide:
        return ForEach(row, length, [](float x, float y) { return x / y; });
    }
  }

 private:
  template <typename F>
  void ForEach(float* __restrict row, std::size_t length, F f) const {
    if (values.size() == 1) {
      const float value = values[0];
      for (std::size_t i = 0; i < length; ++i) row[i] = f(row[i], value);
    } else {
      const float* __restrict operand = pattern.data();
      for (std::size_t i = 0; i < length; ++i) row[i] = f(row[i], operand[i]);
    }
  }
};

// The image on its way through the steps: a view of 8-bit or of float pixels, either the caller's
// or our own, and the arithmetic that is still to be applied to it. Colors stay in the order RGB
// until the end; the values of operations are reordered instead.
class Runner {
 public:
  Runner(const Image& image, ChannelOrder order)
      : channels_(image.channels),
        is_bgr_(order == ChannelOrder::kBgr && image.channels == 3),
        bytes_(image.pixels.data()),
        stride_(image.row_length()),
        size_(image.size()) {}
  Runner(const FloatImage& image, ChannelOrder order)
      : channels_(image.channels),
        is_bgr_(order == ChannelOrder::kBgr && image.channels == 3),
        floats_(image.pixels.data()),
        stride_(image.row_length()),
        size_(image.size()) {}

  // Applies steps[i] and returns the index of the first step that is still to be done.
  absl::StatusOr<std::size_t> Step(const std::vector<PreprocessStep>& steps, std::size_t i) {
    const PreprocessStep& step = steps[i];
    if (IsResize(step)) {
      const bool crop_follows = i + 1 < steps.size() && IsCrop(steps[i + 1]);
      ZOOD_RETURN_IF_ERROR(ApplyResize(step, crop_follows ? &steps[i + 1] : nullptr));
      return crop_follows ? i + 2 : i + 1;
    }
    if (IsCrop(step)) {
      ZOOD_ASSIGN_OR_RETURN(const Window window, WindowOf(step, size_));
      Narrow(window);
    } else {
      ZOOD_RETURN_IF_ERROR(std::visit([this](const auto& s) { return Apply(s); }, step));
    }
    return i + 1;
  }

  void Write(float* out) {
    const std::size_t length = row_length();
    for (int y = 0; y < size_.height; ++y, out += length) {
      ReadRow(y, 0, size_.width, out);
      if (!is_bgr_) continue;
      for (std::size_t x = 0; x < length; x += 3) std::swap(out[x], out[x + 2]);
    }
  }

  Size size() const { return size_; }

 private:
  std::size_t row_length() const { return static_cast<std::size_t>(size_.width) * channels_; }

  // A part of a row as floats, with the waiting arithmetic applied.
  void ReadRow(int y, int first, int count, float* row) {
    const std::size_t at = y * stride_ + static_cast<std::size_t>(first) * channels_;
    const std::size_t length = static_cast<std::size_t>(count) * channels_;
    if (bytes_ != nullptr) {
      const std::uint8_t* from = bytes_ + at;
      for (std::size_t i = 0; i < length; ++i) row[i] = static_cast<float>(from[i]);
    } else {
      std::copy_n(floats_ + at, length, row);
    }
    for (RowOperation& operation : waiting_) operation.Apply(row, length);
  }

  void Narrow(const Window& window) {
    const std::size_t at = window.top * stride_ + static_cast<std::size_t>(window.left) * channels_;
    if (bytes_ != nullptr) {
      bytes_ += at;
    } else {
      floats_ += at;
    }
    size_ = {window.height, window.width};
  }

  void Hold(std::vector<std::uint8_t> pixels, Size size) {
    byte_buffer_ = std::move(pixels);
    bytes_ = byte_buffer_.data();
    floats_ = nullptr;
    size_ = size;
    stride_ = row_length();
  }
  void Hold(std::vector<float> pixels, Size size) {
    float_buffer_ = std::move(pixels);
    floats_ = float_buffer_.data();
    bytes_ = nullptr;
    waiting_.clear();
    size_ = size;
    stride_ = row_length();
  }

  std::size_t Elements(Size size) const {
    return static_cast<std::size_t>(size.height) * size.width * channels_;
  }

  // `crop`, where there is one, is the step that follows: only what it keeps is computed.
  absl::Status ApplyResize(const PreprocessStep& step, const PreprocessStep* crop) {
    ZOOD_ASSIGN_OR_RETURN(const ResizeTarget target, TargetOf(step, size_));
    Window window = {0, 0, target.size.height, target.size.width};
    if (crop != nullptr) {
      ZOOD_ASSIGN_OR_RETURN(window, WindowOf(*crop, target.size));
    }
    const Size kept = {window.height, window.width};
    ZOOD_RETURN_IF_ERROR(CheckPixels(kept));
    if (IsPillow(target.filter)) {
      ZOOD_RETURN_IF_ERROR(CheckPixels(
          ResampleIntermediate(size_, target.size, PillowFilter(target.filter), window)));
      std::vector<std::uint8_t> pixels(Elements(kept));
      ResampleWindow(bytes_, stride_, size_, channels_, target.size, PillowFilter(target.filter),
                     window, pixels.data());
      Hold(std::move(pixels), kept);
      return absl::OkStatus();
    }
    std::vector<float> pixels(Elements(kept));
    const RowReader read_row = [this](int y, int first, int count, float* row) {
      ReadRow(y, first, count, row);
    };
    ResizeBilinearWindow(read_row, size_, channels_, target.size, TfGrid(target.filter), window,
                         pixels.data());
    Hold(std::move(pixels), kept);
    return absl::OkStatus();
  }

  absl::Status Apply(const CropOrPad& step) {
    ZOOD_ASSIGN_OR_RETURN(const Window window, WindowOf(step, size_));
    Narrow(window);
    const Size padded = {step.height, step.width};
    if (size_ == padded) return absl::OkStatus();
    const std::size_t row = static_cast<std::size_t>(padded.width) * channels_;
    const std::size_t first =
        (padded.height - size_.height) / 2 * row +
        static_cast<std::size_t>((padded.width - size_.width) / 2) * channels_;
    if (bytes_ != nullptr && waiting_.empty() && IsByte(step.padding)) {
      std::vector<std::uint8_t> pixels(Elements(padded), static_cast<std::uint8_t>(step.padding));
      for (int y = 0; y < size_.height; ++y) {
        std::copy_n(bytes_ + y * stride_, row_length(), pixels.data() + first + y * row);
      }
      Hold(std::move(pixels), padded);
      return absl::OkStatus();
    }
    std::vector<float> pixels(Elements(padded), step.padding);
    for (int y = 0; y < size_.height; ++y) {
      ReadRow(y, 0, size_.width, pixels.data() + first + y * row);
    }
    Hold(std::move(pixels), padded);
    return absl::OkStatus();
  }

  absl::Status Apply(const Subtract& step) {
    return Wait(RowOperation::Kind::kSubtract, step.values);
  }
  absl::Status Apply(const Multiply& step) {
    return Wait(RowOperation::Kind::kMultiply, step.values);
  }
  absl::Status Apply(const Divide& step) { return Wait(RowOperation::Kind::kDivide, step.values); }

  absl::Status Wait(RowOperation::Kind kind, std::vector<float> values) {
    if (is_bgr_) std::reverse(values.begin(), values.end());
    waiting_.push_back({.kind = kind, .values = std::move(values), .pattern = {}});
    return absl::OkStatus();
  }

  absl::Status Apply(const Standardize&) {
    std::vector<float> pixels(Elements(size_));
    for (int y = 0; y < size_.height; ++y) {
      ReadRow(y, 0, size_.width, pixels.data() + y * row_length());
    }
    const auto count = static_cast<double>(pixels.size());
    double sum = 0;
    for (const float x : pixels) sum += x;
    const double mean = sum / count;
    double squares = 0;
    for (const float x : pixels) squares += (x - mean) * (x - mean);
    const double deviation = std::max(std::sqrt(squares / count), 1 / std::sqrt(count));
    for (float& x : pixels) x = static_cast<float>((x - mean) / deviation);
    Hold(std::move(pixels), size_);
    return absl::OkStatus();
  }

  // Resizing and cropping are handled by Step.
  absl::Status Apply(const ResizeShorterSide&) { return absl::OkStatus(); }
  absl::Status Apply(const Resize&) { return absl::OkStatus(); }
  absl::Status Apply(const CentralCrop&) { return absl::OkStatus(); }
  absl::Status Apply(const CentralCropFraction&) { return absl::OkStatus(); }
  absl::Status Apply(const CentralSquare&) { return absl::OkStatus(); }

  const int channels_;
  const bool is_bgr_;
  // Exactly one of the two views is set. `stride_` counts values.
  const std::uint8_t* bytes_ = nullptr;
  const float* floats_ = nullptr;
  std::size_t stride_ = 0;
  Size size_;
  std::vector<RowOperation> waiting_;
  std::vector<std::uint8_t> byte_buffer_;
  std::vector<float> float_buffer_;
};

absl::Status CheckImage(const Image& image, int channels) {
  const bool sound = image.height >= 1 && image.width >= 1 && image.height <= kMaxSide &&
                     image.width <= kMaxSide &&
                     image.pixels.size() == image.row_length() * image.height;
  if (!sound) {
    return InvalidArgument(
        "the image is declared as {} x {} x {} (height, width, channels) and holds {} "
        "values; sides must be 1 to {}",
        image.height, image.width, image.channels, image.pixels.size(), kMaxSide);
  }
  if (image.channels != channels) {
    return InvalidArgument("the image has {} channels, the preprocessing expects {}",
                           image.channels, channels);
  }
  return absl::OkStatus();
}

absl::Status RunSteps(const PreprocessSpec& spec, const Image& image, std::span<float> out) {
  ZOOD_ASSIGN_OR_RETURN(const Shape shape, OutputShape(spec));
  if (out.size() != static_cast<std::size_t>(shape.num_elements())) {
    return InvalidArgument("the result has {} values {}, the buffer has room for {}",
                           shape.num_elements(), shape.ToString(), out.size());
  }
  ZOOD_RETURN_IF_ERROR(CheckImage(image, spec.decode.channels));
  Runner runner(image, spec.channel_order);
  for (std::size_t i = 0; i < spec.steps.size();) {
    const absl::StatusOr<std::size_t> next = runner.Step(spec.steps, i);
    if (!next.ok()) return Annotate(next.status(), Place(i, spec.steps[i]));
    i = *next;
  }
  runner.Write(out.data());
  return absl::OkStatus();
}

absl::Status RunArithmetic(const PreprocessSpec& spec, const FloatImage& image,
                           std::span<float> out) {
  ZOOD_ASSIGN_OR_RETURN(const Shape shape, OutputShape(spec));
  const Shape found{image.height, image.width, image.channels};
  if (found != shape || image.pixels.size() != out.size() ||
      out.size() != static_cast<std::size_t>(shape.num_elements())) {
    return InvalidArgument(
        "the image is {} with {} values, the buffer has room for {}; expected {}", found.ToString(),
        image.pixels.size(), out.size(), shape.ToString());
  }
  Runner runner(image, spec.channel_order);
  for (std::size_t i = 0; i < spec.steps.size(); ++i) {
    if (IsResize(spec.steps[i]) || IsCrop(spec.steps[i]) ||
        std::holds_alternative<CropOrPad>(spec.steps[i])) {
      continue;
    }
    ZOOD_RETURN_IF_ERROR(runner.Step(spec.steps, i).status());
  }
  runner.Write(out.data());
  return absl::OkStatus();
}

}  // namespace

absl::Status Preprocess(const PreprocessSpec& spec, const Image& image, std::span<float> out) {
  return CatchBadAlloc("preprocessing an image", [&] { return RunSteps(spec, image, out); });
}

absl::Status Normalize(const PreprocessSpec& spec, const FloatImage& image, std::span<float> out) {
  return CatchBadAlloc("preprocessing an image", [&] { return RunArithmetic(spec, image, out); });
}

absl::Status PreprocessEncoded(const PreprocessSpec& spec, std::span<const std::byte> bytes,
                               const DecodeLimits& limits, std::span<float> out) {
  ZOOD_ASSIGN_OR_RETURN(const Image image, Decode(bytes, spec.decode, limits));
  return Preprocess(spec, image, out);
}

}  // namespace zood::image
