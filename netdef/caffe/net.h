// The network that a Caffe file describes, as plain data with every default filled in: from a
// .prototxt, or from the .caffemodel that carries it beside the weights.
//
// It is the network as Caffe would build it for phase TEST: layers that its include and exclude
// rules leave out are gone, the identifiers of V1 `layers` are the type names of today
// (INNER_PRODUCT is "InnerProduct"), and all three ways to state an input end up in `inputs`.
// Names and meanings: https://github.com/BVLC/caffe/blob/master/src/caffe/proto/caffe.proto
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "base/shape.h"
#include "checkpoint/limits.h"

namespace zood::netdef {

// A value for each spatial axis.
struct CaffeSpatial {
  std::int64_t height = 0;
  std::int64_t width = 0;

  friend bool operator==(const CaffeSpatial&, const CaffeSpatial&) = default;
};

// Blobs: weights [num_output, in / group, kernel.height, kernel.width], then, with a bias,
// [num_output]. Output extent: floor((in + 2 pad - (dilation (kernel - 1) + 1)) / stride) + 1.
// Convolution, DepthwiseConvolution, and Deconvolution, which is the transpose.
struct CaffeConvolution {
  std::int64_t num_output = 0;
  bool bias_term = true;
  CaffeSpatial kernel;
  CaffeSpatial stride = {1, 1};
  CaffeSpatial pad = {0, 0};
  CaffeSpatial dilation = {1, 1};
  std::int64_t group = 1;  // divides num_output; 0: as many as channels come in, where they divide
};

// Output extent: ceil((in + 2 pad - kernel) / stride) + 1 (floor unless round_up), one less when
// there is padding and the last window would start at or beyond in + pad. An average divides by the
// window clipped to in + pad: padding counts, what overhangs it does not.
struct CaffePooling {
  enum class Method : std::uint8_t { kMax, kAverage, kStochastic };
  Method method = Method::kMax;
  bool global = false;  // over the whole image; then kernel is 0
  CaffeSpatial kernel;
  CaffeSpatial stride = {1, 1};
  CaffeSpatial pad = {0, 0};
  bool round_up = true;
};

// Blobs: weights [num_output, in] (or [in, num_output] if transpose), then, with a bias,
// [num_output]; `in` runs over the axes from `axis` on, C before H before W.
struct CaffeInnerProduct {
  std::int64_t num_output = 0;
  bool bias_term = true;
  std::int64_t axis = 1;
  bool transpose = false;
};

// x (k + alpha / n sum x^2)^-beta over n = local_size neighboring channels, or, within_channel,
// over a local_size x local_size window (then n is local_size^2).
struct CaffeLrn {
  std::int64_t local_size = 5;  // odd
  float alpha = 1;
  float beta = 0.75F;
  float k = 1;
  bool within_channel = false;
};

struct CaffeEltwise {
  enum class Operation : std::uint8_t { kProduct, kSum, kMax };
  Operation operation = Operation::kSum;
  std::vector<float> coefficients;  // of a sum; one for each bottom, or none: all 1
};

struct CaffeConcat {
  std::int64_t axis = 1;  // negative: from the end
};

// Blobs: mean, variance, and a scale factor [1] by which both are to be divided (0 gives 0).
// (x - mean) / sqrt(variance + eps); gamma and beta are a Scale layer's.
struct CaffeBatchNorm {
  bool use_global_stats = true;
  float moving_average_fraction = 0.999F;
  float eps = 1e-5F;
};

// Blobs: the factors, then, with bias_term, the bias; both of the shape of num_axes axes from
// `axis` on. With two bottoms the second one is the factor and blob 0 is missing.
struct CaffeScale {
  std::int64_t axis = 1;
  std::int64_t num_axes = 1;  // -1: all from `axis` on
  bool bias_term = false;
};

// Blob: the bias, as for Scale.
struct CaffeBias {
  std::int64_t axis = 1;
  std::int64_t num_axes = 1;
};

struct CaffeRelu {
  float negative_slope = 0;
};

// Blob: the slope of each channel, or one for all.
struct CaffePRelu {
  bool channel_shared = false;
};

struct CaffeElu {
  float alpha = 1;
};

struct CaffeDropout {  // nothing happens outside of training
  float ratio = 0.5F;
};

// Softmax, and SoftmaxWithLoss.
struct CaffeSoftmax {
  std::int64_t axis = 1;
};

struct CaffeFlatten {
  std::int64_t axis = 1;
  std::int64_t end_axis = -1;
};

// (shift + scale x)^power
struct CaffePower {
  float power = 1;
  float scale = 1;
  float shift = 0;
};

// Extents for num_axes axes from `axis` on (-1: all); 0 copies the bottom's extent, one -1 is
// whatever remains.
struct CaffeReshape {
  std::vector<std::int64_t> dims;
  std::int64_t axis = 0;
  std::int64_t num_axes = -1;
};

struct CaffeSlice {
  std::int64_t axis = 1;
  std::vector<std::int64_t> slice_points;  // ascending; none: equal parts, one for each top
};

struct CaffeClip {
  float min = 0;
  float max = 0;
};

// What a layer of data does to images: (pixel - mean) * scale, after a cut of crop_size x
// crop_size from the middle.
struct CaffeTransform {
  std::optional<float> scale;
  bool mirror = false;             // at random: for training
  std::int64_t crop_size = 0;      // 0: none
  std::vector<float> mean_values;  // one for all channels, or one for each
  std::string mean_file;
  std::int64_t forced_channels = 0;  // 3 or 1 where images are made so; 0: as they are stored

  bool empty() const {
    return !scale && !mirror && crop_size == 0 && mean_values.empty() && mean_file.empty();
  }
};

// A layer without bottoms. Its first top holds images, the others what belongs to them; extents
// that it does not say are 0.
struct CaffeData {
  CaffeTransform transform;
  std::int64_t channels = 0;
  std::int64_t height = 0;  // before the cut
  std::int64_t width = 0;
};

struct CaffeLayer {
  std::string name;
  std::string type;                  // "Convolution", "Pooling", ..., or one unknown to Caffe
  std::vector<std::string> bottoms;  // names of blobs; a top equal to a bottom is computed in place
  std::vector<std::string> tops;
  float loss_weight = 1;  // of its first top, where it is a loss
  // What the type calls for; std::monostate for types without parameters (Sigmoid, TanH, ReLU6,
  // AbsVal, BNLL, Split, Silence, ...) and for types that are not listed above.
  std::variant<std::monostate, CaffeConvolution, CaffePooling, CaffeInnerProduct, CaffeLrn,
               CaffeEltwise, CaffeConcat, CaffeBatchNorm, CaffeScale, CaffeBias, CaffeRelu,
               CaffePRelu, CaffeElu, CaffeDropout, CaffeSoftmax, CaffeFlatten, CaffePower,
               CaffeReshape, CaffeSlice, CaffeClip, CaffeData>
      parameters;
};

struct CaffeInput {
  std::string name;  // of the blob
  Shape shape;       // as stated: NCHW of an image; the batch has no meaning
  CaffeTransform transform;
};

struct CaffeNet {
  std::string name;
  std::vector<CaffeInput> inputs;  // may be empty where a layer of data feeds the network
  std::vector<CaffeLayer>
      layers;  // in the order of the file, which is that of computation; no Input
};

// `where` is the path by which messages call it. A definition may be as long as
// Limits::max_metadata_bytes / 256, a mebibyte by default: parsed, it takes that many times as
// much.
//
// InvalidArgument, with line and column, for text that does not parse or names an unknown field;
// InvalidArgument, with the layer's name, for parameters that make no sense; Unimplemented for the
// V0 layers of 2013; ResourceExhausted for a definition that is too long.
absl::StatusOr<CaffeNet> ParseCaffeText(std::string_view prototxt, const std::string& where,
                                        const checkpoint::Limits& limits = {});

// The network in the bytes of a .caffemodel. Errors as above, and DataLoss for damaged bytes.
// Weights are not read. A model that was trained carries the layers of training: expect a
// Split where a blob is used twice, and a loss at the end.
absl::StatusOr<CaffeNet> ParseCaffeModel(std::span<const std::byte> caffemodel,
                                         const std::string& where,
                                         const checkpoint::Limits& limits = {});

}  // namespace zood::netdef
