// Operators that compute nothing when the network runs: shapes, views, constants.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/status.h"
#include "base/text.h"
#include "netdef/onnx/builder.h"

namespace zood::netdef {
namespace {

constexpr double kBatch = OnnxConstant::kBatch;

std::int64_t CountOf(const std::vector<std::int64_t>& dims) {
  return std::accumulate(dims.begin(), dims.end(), std::int64_t{1}, std::multiplies<>());
}

OnnxConstant VectorOf(std::vector<double> values) {
  const auto count = static_cast<std::int64_t>(values.size());
  return {.dims = {count}, .values = std::move(values)};
}

}  // namespace

OnnxConstant ToOnnxConstant(const Tensor& tensor) {
  OnnxConstant constant{.dims = {tensor.shape().begin(), tensor.shape().end()}, .values = {}};
  const auto copy = [&](auto element) {
    for (const auto value : tensor.values<decltype(element)>()) {
      constant.values.push_back(static_cast<double>(value));
    }
  };
  switch (tensor.dtype()) {
    case DType::kInt64:
      copy(std::int64_t());
      break;
    case DType::kFloat64:
      copy(double());
      break;
    case DType::kBool:
      copy(std::uint8_t());
      break;
    default:
      // Small integers and floats are exact as float32, or they are numbers that no shape has.
      if (const auto floats = tensor.ToFloat32(); floats.ok()) {
        constant.values.assign(floats->values<float>().begin(), floats->values<float>().end());
      }
  }
  return constant;
}

OnnxBuilder::Made OnnxBuilder::Identity(const OnnxNode& node) {
  const OnnxValue* value = Find(node, 0);
  if (value == nullptr) return InvalidArgument("it has no input");
  const auto* map = std::get_if<OnnxMap>(value);
  constexpr std::int64_t kFloat = 1;
  constexpr std::int64_t kFloat16 = 10;
  constexpr std::int64_t kDouble = 11;
  const std::int64_t to = node.Int("to", kFloat);
  if (map != nullptr && to != kFloat && to != kDouble && to != kFloat16) {
    return Unimplemented("of a map to another type than float");
  }
  auto* constant = std::get_if<OnnxConstant>(value);
  if (constant != nullptr && node.op == "Cast" && to != kFloat && to != kDouble && to != kFloat16) {
    OnnxConstant whole = *constant;
    for (double& number : whole.values) number = std::trunc(number);
    return std::vector<OnnxValue>{std::move(whole)};
  }
  return std::vector<OnnxValue>{*value};
}

OnnxBuilder::Made OnnxBuilder::ShapeOf(const OnnxNode& node) {
  const OnnxValue* value = Find(node, 0);
  std::vector<double> lengths;
  if (const auto* map = std::get_if<OnnxMap>(value)) {
    for (int axis = 0; axis < map->axes.rank(); ++axis) {
      const std::int64_t length = map->axes.Length(axis);
      lengths.push_back(length < 0 ? kBatch : static_cast<double>(length));
    }
    if (map->padding != graph::Padding2d{}) return Unimplemented("of a map with zeros around it");
  } else if (const auto* weight = std::get_if<OnnxWeightRef>(value)) {
    lengths.assign(weight->shape.begin(), weight->shape.end());
  } else if (const auto* constant = std::get_if<OnnxConstant>(value)) {
    lengths.assign(constant->dims.begin(), constant->dims.end());
  }
  const auto rank = static_cast<std::int64_t>(lengths.size());
  const auto clamp = [&](std::int64_t at) {
    return std::clamp<std::int64_t>(at < 0 ? at + rank : at, 0, rank);
  };
  const std::int64_t begin = clamp(node.Int("start", 0));
  const std::int64_t end = std::max(begin, clamp(node.Int("end", rank)));
  return std::vector<OnnxValue>{VectorOf({lengths.begin() + begin, lengths.begin() + end})};
}

OnnxBuilder::Made OnnxBuilder::ConstantNode(const OnnxNode& node) {
  for (const auto& [name, attribute] : node.attributes) {
    if (name == "value" && attribute.t) {
      return std::vector<OnnxValue>{ToOnnxConstant(*attribute.t)};
    }
    if (name == "value_float") {
      return std::vector<OnnxValue>{OnnxConstant{.dims = {}, .values = {attribute.f}}};
    }
    if (name == "value_int") {
      return std::vector<OnnxValue>{
          OnnxConstant{.dims = {}, .values = {static_cast<double>(attribute.i)}}};
    }
    if (name == "value_floats") {
      return std::vector<OnnxValue>{VectorOf({attribute.floats.begin(), attribute.floats.end()})};
    }
    if (name == "value_ints") {
      return std::vector<OnnxValue>{VectorOf({attribute.ints.begin(), attribute.ints.end()})};
    }
  }
  return Unimplemented("without a value of numbers");
}

OnnxBuilder::Made OnnxBuilder::ConstantOfShape(const OnnxNode& node) {
  constexpr std::int64_t kMost = 1 << 16;
  ZOOD_ASSIGN_OR_RETURN(const std::vector<std::int64_t> dims, Integers(node, 0, ""));
  double number = 0;
  const auto value = node.attributes.find("value");
  if (value != node.attributes.end() && value->second.t) {
    const OnnxConstant constant = ToOnnxConstant(*value->second.t);
    if (constant.values.size() == 1) number = constant.values[0];
  }
  std::int64_t count = 1;
  for (const std::int64_t dim : dims) {
    if (dim < 0 || dim > kMost || count * dim > kMost) return Unimplemented("of so many numbers");
    count *= dim;
  }
  return std::vector<OnnxValue>{OnnxConstant{
      .dims = dims, .values = std::vector<double>(static_cast<std::size_t>(count), number)}};
}

OnnxBuilder::Made OnnxBuilder::Gather(const OnnxNode& node) {
  ZOOD_ASSIGN_OR_RETURN(const OnnxConstant data, Constant(node, 0));
  ZOOD_ASSIGN_OR_RETURN(const OnnxConstant indices, Constant(node, 1));
  if (data.dims.size() != 1 || node.Int("axis", 0) != 0) {
    return Unimplemented("of more than a list of numbers");
  }
  OnnxConstant gathered{.dims = indices.dims, .values = {}};
  const auto size = static_cast<double>(data.values.size());
  for (const double index : indices.values) {
    const double at = index < 0 ? index + size : index;
    if (!(at >= 0 && at < size)) return InvalidArgument("index {} of {}", index, size);
    gathered.values.push_back(data.values[static_cast<std::size_t>(at)]);
  }
  return std::vector<OnnxValue>{std::move(gathered)};
}

OnnxBuilder::Made OnnxBuilder::ArithmeticOfConstants(const OnnxNode& node, const OnnxConstant& a,
                                                     const OnnxConstant& b) {
  if (a.values.size() != b.values.size() && a.values.size() != 1 && b.values.size() != 1) {
    return Unimplemented("of lists of different lengths");
  }
  const OnnxConstant& longer = a.values.size() >= b.values.size() ? a : b;
  OnnxConstant result{.dims = longer.dims, .values = {}};
  for (std::size_t i = 0; i < longer.values.size(); ++i) {
    const double x = a.values[a.values.size() == 1 ? 0 : i];
    const double y = b.values[b.values.size() == 1 ? 0 : i];
    if (x == kBatch || y == kBatch) {
      return Unimplemented("with the batch's size, which is not known");
    }
    const double quotient = y == 0 ? 0 : x / y;
    result.values.push_back(node.op == "Add"   ? x + y
                            : node.op == "Sub" ? x - y
                            : node.op == "Mul" ? x * y
                                               : quotient);
  }
  return std::vector<OnnxValue>{std::move(result)};
}

absl::StatusOr<OnnxValue> OnnxBuilder::Transformed(OnnxWeightRef weight,
                                                   std::vector<int> permutation) const {
  std::vector<std::int64_t> dims;
  std::vector<bool> used(permutation.size());
  for (const int from : permutation) {
    if (from < 0 || from >= weight.shape.rank() || used[static_cast<std::size_t>(from)]) {
      return InvalidArgument("it is no permutation of {} axes", weight.shape.rank());
    }
    used[static_cast<std::size_t>(from)] = true;
    dims.push_back(weight.shape[from]);
  }
  if (static_cast<int>(dims.size()) != weight.shape.rank()) {
    return InvalidArgument("it is no permutation of {} axes", weight.shape.rank());
  }
  weight.shape = Shape(std::move(dims));
  weight.steps.push_back({.permutation = std::move(permutation), .reshaped = {}});
  return weight;
}

OnnxBuilder::Made OnnxBuilder::Transpose(const OnnxNode& node) {
  const OnnxValue* value = Find(node, 0);
  const auto* weight = std::get_if<OnnxWeightRef>(value);
  const auto* map = std::get_if<OnnxMap>(value);
  if (weight == nullptr && map == nullptr) return Unimplemented("of a constant");
  const int rank = weight != nullptr ? weight->shape.rank() : map->axes.rank();
  std::vector<std::int64_t> reversed;
  for (int axis = rank - 1; axis >= 0; --axis) reversed.push_back(axis);
  const std::vector<std::int64_t> permutation = node.Ints("perm", reversed);
  if (weight != nullptr) {
    ZOOD_ASSIGN_OR_RETURN(OnnxValue made,
                          Transformed(*weight, {permutation.begin(), permutation.end()}));
    return std::vector<OnnxValue>{std::move(made)};
  }
  OnnxMap made = *map;
  const std::optional<Axes> axes = map->axes.Transposed(permutation);
  if (!axes) return InvalidArgument("it is no permutation of {} axes", rank);
  made.axes = *axes;
  return std::vector<OnnxValue>{std::move(made)};
}

OnnxBuilder::Made OnnxBuilder::Flatten(const OnnxNode& node) {
  ZOOD_ASSIGN_OR_RETURN(OnnxMap map, PlainMap(node, 0));
  ZOOD_ASSIGN_OR_RETURN(const int axis, AxisOf(node.Int("axis", 1), map.axes.rank() + 1));
  const std::optional<Axes> axes = map.axes.Reshaped({-1, -1});
  if (axis != 1 || !axes) return Unimplemented("of other axes than all behind the batch's");
  map.axes = *axes;
  return std::vector<OnnxValue>{std::move(map)};
}

OnnxBuilder::Made OnnxBuilder::Reshape(const OnnxNode& node) {
  std::vector<double> wanted;
  if (node.Has("shape")) {
    for (const std::int64_t length : node.Ints("shape", {})) {
      wanted.push_back(static_cast<double>(length));
    }
  } else {
    ZOOD_ASSIGN_OR_RETURN(const OnnxConstant constant, Constant(node, 1));
    wanted = constant.values;
  }
  const OnnxValue* value = Find(node, 0);
  const auto* map = std::get_if<OnnxMap>(value);
  const auto* weight = std::get_if<OnnxWeightRef>(value);
  const auto* constant = std::get_if<OnnxConstant>(value);
  std::vector<std::int64_t> lengths;
  const bool keeps_zeros = node.Int("allowzero", 0) != 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    std::int64_t length = wanted[i] == kBatch ? -1 : static_cast<std::int64_t>(wanted[i]);
    if (wanted[i] == kBatch && i > 0) return Unimplemented("with the batch behind other axes");
    if (length == 0 && !keeps_zeros) {
      const int axis = static_cast<int>(i);
      if (map != nullptr && axis < map->axes.rank()) length = map->axes.Length(axis);
      if (weight != nullptr && axis < weight->shape.rank()) length = weight->shape[axis];
    }
    lengths.push_back(length);
  }
  if (map != nullptr) {
    if (map->padding != graph::Padding2d{}) return Unimplemented("of a map with zeros around it");
    OnnxMap made = *map;
    const std::optional<Axes> axes = map->axes.Reshaped(lengths);
    if (!axes) {
      return Unimplemented("of {} to [{}]", map->axes.ToString(), fmt::join(lengths, ","));
    }
    made.axes = *axes;
    return std::vector<OnnxValue>{std::move(made)};
  }
  const std::int64_t elements = weight != nullptr
                                    ? weight->shape.num_elements()
                                    : static_cast<std::int64_t>(constant->values.size());
  std::int64_t known = 1;
  std::int64_t* open = nullptr;
  for (std::int64_t& length : lengths) {
    if (length == -1 && open == nullptr) {
      open = &length;
    } else if (length <= 0 || known > elements / length) {
      return InvalidArgument("{} elements do not fit [{}]", elements, fmt::join(lengths, ","));
    } else {
      known *= length;
    }
  }
  if (open != nullptr) *open = elements / known;
  if (CountOf(lengths) != elements) {
    return InvalidArgument("{} elements do not fit [{}]", elements, fmt::join(lengths, ","));
  }
  if (constant != nullptr) {
    return std::vector<OnnxValue>{OnnxConstant{.dims = lengths, .values = constant->values}};
  }
  OnnxWeightRef made = *weight;
  made.shape = Shape(lengths);
  made.steps.push_back({.permutation = {}, .reshaped = made.shape});
  return std::vector<OnnxValue>{std::move(made)};
}

OnnxBuilder::Made OnnxBuilder::Squeeze(const OnnxNode& node) {
  ZOOD_ASSIGN_OR_RETURN(std::vector<std::int64_t> wanted, Integers(node, 1, "axes"));
  const OnnxValue* value = Find(node, 0);
  if (const auto* constant = std::get_if<OnnxConstant>(value)) {
    OnnxConstant made = *constant;
    if (made.values.size() == 1) made.dims.clear();
    return std::vector<OnnxValue>{std::move(made)};
  }
  ZOOD_ASSIGN_OR_RETURN(OnnxMap map, PlainMap(node, 0));
  std::vector<int> axes;
  for (const std::int64_t axis : wanted) {
    ZOOD_ASSIGN_OR_RETURN(axes.emplace_back(), AxisOf(axis, map.axes.rank()));
  }
  for (int axis = 1; wanted.empty() && axis < map.axes.rank(); ++axis) {
    if (map.axes.Length(axis) == 1) axes.push_back(axis);
  }
  std::ranges::sort(axes, std::ranges::greater());
  for (const int axis : axes) {
    const std::optional<Axes> fewer = map.axes.Removed(axis);
    if (!fewer) return InvalidArgument("axis {} of {} is not 1", axis, map.axes.ToString());
    map.axes = *fewer;
  }
  return std::vector<OnnxValue>{std::move(map)};
}

OnnxBuilder::Made OnnxBuilder::Unsqueeze(const OnnxNode& node) {
  ZOOD_ASSIGN_OR_RETURN(std::vector<std::int64_t> axes, Integers(node, 1, "axes"));
  const OnnxValue* value = Find(node, 0);
  std::vector<std::int64_t> dims;
  if (const auto* constant = std::get_if<OnnxConstant>(value)) {
    dims = constant->dims;
  } else if (const auto* weight = std::get_if<OnnxWeightRef>(value)) {
    dims.assign(weight->shape.begin(), weight->shape.end());
  } else if (const auto* map = std::get_if<OnnxMap>(value)) {
    if (map->padding != graph::Padding2d{}) return Unimplemented("of a map with zeros around it");
    dims = map->axes.Lengths();
  }
  const int rank = static_cast<int>(dims.size() + axes.size());
  for (std::int64_t& axis : axes) {
    ZOOD_ASSIGN_OR_RETURN(axis, AxisOf(axis, rank));
  }
  std::ranges::sort(axes);
  std::optional<Axes> of_map;
  if (const auto* map = std::get_if<OnnxMap>(value)) of_map = map->axes;
  for (const std::int64_t axis : axes) {
    if (axis > static_cast<std::int64_t>(dims.size())) return InvalidArgument("axis {}", axis);
    dims.insert(dims.begin() + axis, 1);
    if (of_map) of_map = of_map->Inserted(static_cast<int>(axis));
  }
  if (const auto* constant = std::get_if<OnnxConstant>(value)) {
    return std::vector<OnnxValue>{OnnxConstant{.dims = dims, .values = constant->values}};
  }
  if (const auto* weight = std::get_if<OnnxWeightRef>(value)) {
    OnnxWeightRef made = *weight;
    made.shape = Shape(dims);
    made.steps.push_back({.permutation = {}, .reshaped = made.shape});
    return std::vector<OnnxValue>{std::move(made)};
  }
  OnnxMap made = std::get<OnnxMap>(*value);
  made.axes = *of_map;
  return std::vector<OnnxValue>{std::move(made)};
}

}  // namespace zood::netdef
