// What a Caffe network usually takes, with what its description says of it.
#pragma once

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "netdef/caffe/image_input.h"
#include "netdef/network_definition.h"

namespace zood::netdef {

// BGR (gray where the network takes one channel), 0 to 255, less the mean, times the scale. The
// whole image is resized to the size that it had before Caffe's cut, where the mean image or the
// layer of data says it, and the center of it taken; otherwise resized to the input's size.
//
// `mean`, [channels, height, width], is subtracted by channel; null: the values of the description.
// InvalidArgument where either has other channels than the input.
absl::StatusOr<NetworkPreprocessing> CaffePreprocessing(const CaffeImageInput& input,
                                                        const Tensor* mean);

}  // namespace zood::netdef
