// Caffe's network description as the generated message, from its two forms. What comes out still
// has Caffe's defaults and history in it; caffe_net.h is what others read.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "checkpoint/limits.h"
#include "netdef/caffe/caffe.pb.h"

namespace zood::netdef {

// Messages say `where`. Errors as of ParseCaffeText() and ParseCaffeModel().
absl::StatusOr<formats::caffe::NetParameter> ParseCaffeSchemaText(std::string_view prototxt,
                                                                  const std::string& where,
                                                                  const checkpoint::Limits& limits);
absl::StatusOr<formats::caffe::NetParameter> ParseCaffeSchemaModel(
    std::span<const std::byte> caffemodel, const std::string& where,
    const checkpoint::Limits& limits);

// Brings a description to the form of today: V1 `layers` become `layer`. Unimplemented for V0
// layers; InvalidArgument when both forms are there.
absl::Status UpgradeCaffeSchema(formats::caffe::NetParameter& net);

}  // namespace zood::netdef
