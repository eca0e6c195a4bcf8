// The definition of a network that a Caffe .prototxt describes. For netdef/formats.cc only.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "netdef/network_definition.h"

namespace zood::netdef {

// Whether a file may be Caffe's text: printable, with a layer or one of a network's fields in it.
bool IsCaffeText(std::string_view file);

// Errors as of BuildNetwork(); those of the text say `where`.
absl::StatusOr<NetworkPtr> BuildCaffeDefinition(const NetworkSpec& spec, const std::string& where);

}  // namespace zood::netdef
