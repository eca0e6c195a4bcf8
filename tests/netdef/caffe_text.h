// Small Caffe networks for tests, written as text and evaluated by the reference engine.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "netdef/caffe/net.h"
#include "netdef/caffe/network.h"
#include "tests/numerics/reference/reference_engine.h"

namespace zood::netdef {

inline std::string Input(int channels, int height, int width) {
  return fmt::format(
      "name: 'test' layer {{ name: 'data' type: 'Input' top: 'data' input_param {{ "
      "shape {{ dim: 1 dim: {} dim: {} dim: {} }} }} }} ",
      channels, height, width);
}

inline std::string Layer(const std::string& type, const std::string& name,
                         const std::string& bottom, const std::string& rest = "") {
  return fmt::format("layer {{ name: '{}' type: '{}' bottom: '{}' top: '{}' {} }} ", name, type,
                     bottom, name, rest);
}

inline std::string Classifier(const std::string& bottom, int classes,
                              const std::string& name = "fc") {
  return Layer("InnerProduct", name, bottom,
               fmt::format("inner_product_param {{ num_output: {} }}", classes));
}

inline absl::StatusOr<CaffeNetwork> Build(const std::string& text, const std::string& output = "") {
  const auto definition = ParseCaffeText(text, "test.prototxt");
  if (!definition.ok()) return definition.status();
  return CaffeNetwork::Build(*definition, output);
}

inline Tensor Values(const Shape& shape, std::vector<float> values) {
  return *Tensor::FromVector(shape, std::move(values));
}

// Distinct small numbers.
inline Tensor Some(const Shape& shape, float seed = 0.3f) {
  std::vector<float> values(static_cast<std::size_t>(shape.num_elements()));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = std::sin(seed + 1.7f * static_cast<float>(i));
  }
  return Values(shape, std::move(values));
}

// What `network` answers to an image, [height, width, channels].
inline std::vector<double> Answer(const CaffeNetwork& network, const TensorMap& file,
                                  const Tensor& image) {
  const auto mapped = network.MapWeights(file);
  EXPECT_TRUE(mapped.ok()) << mapped.status();
  if (!mapped.ok()) return {};
  const graph::NodeId output[] = {network.graph().logits()};
  const auto results =
      reference::Evaluate(network.graph(), mapped->weights, image.values<float>(), 1, output);
  EXPECT_TRUE(results.ok()) << results.status();
  return results.ok() ? results->at(output[0]) : std::vector<double>{};
}

inline std::string ErrorOf(const std::string& text, absl::StatusCode code,
                           const std::string& output = "") {
  const auto network = Build(text, output);
  EXPECT_EQ(network.status().code(), code) << network.status();
  return std::string(network.status().message());
}

inline constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
inline constexpr auto kUnimplemented = absl::StatusCode::kUnimplemented;

}  // namespace zood::netdef
