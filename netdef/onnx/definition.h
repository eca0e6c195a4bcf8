// The definition of a network that an ONNX model describes. For netdef/formats.cc only.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "netdef/network_definition.h"

namespace zood::netdef {

// Errors as of BuildNetwork(); those of the description say `where`.
absl::StatusOr<NetworkPtr> BuildOnnxDefinition(const NetworkSpec& spec, const std::string& where);

}  // namespace zood::netdef
