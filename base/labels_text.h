// Files that name the classes of a network.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace zood {

// The class names in a labels file, by class index: a name a line, in the order of the classes, or
// with its index before each ("0:daisy" as TF-slim writes, "0 daisy", "0,daisy", a tab), in
// any order, counted from 0 or from 1. It is text as of DecodeText(); names are in normalization
// form C, without white space around them. Empty lines at the end are none.
//
// InvalidArgument, naming the line, for what is not text, an empty name between others, and for an
// index that is there twice or missing; `where` is what messages call the file.
absl::StatusOr<std::vector<std::string>> ParseLabels(std::string_view file, std::string_view where);

}  // namespace zood
