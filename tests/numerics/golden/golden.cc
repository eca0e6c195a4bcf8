#include "tests/numerics/golden/golden.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "tests/support/oracle_fill.h"

namespace zood::testing {
namespace {

using nlohmann::json;

std::uint64_t Hex(const json& text) { return std::stoull(text.get<std::string>(), nullptr, 16); }
Shape ShapeOf(const json& extents) { return Shape(extents.get<std::vector<std::int64_t>>()); }

GoldenTensor TensorOf(const std::string& name, const json& from) {
  return {.name = name,
          .shape = ShapeOf(from.at("shape")),
          .mean = from.at("mean"),
          .rms = from.at("rms"),
          .min = from.at("min"),
          .max = from.at("max"),
          .first8 = from.at("first8"),
          .last8 = from.at("last8")};
}

Golden Parse(const json& from) {
  const std::string model = from.at("model");
  // A file named for its size: LeNet on images of 12x12.
  Golden golden{.model = model == "lenet12" ? "lenet" : model,
                .args = {.num_classes = from.at("num_classes"),
                         .height = from.at("image_size"),
                         .width = from.at("image_size"),
                         .channels = from.at("channels")},
                .normalize = from.at("normalize"),
                .input = TensorOf("input", from.at("input")),
                .logits = from.at("logits_f64")};
  for (const json& image : from.at("images")) {
    golden.images.push_back({.index = image.at("index"),
                             .u8_sum = image.at("u8_sum"),
                             .u8_first12 = image.at("u8_first12")});
  }
  const json& variables = from.at("variables");
  golden.variable_count = variables.at("count");
  golden.variable_elements = variables.at("elements");
  golden.variable_bits_sum = Hex(variables.at("bits_sum"));
  for (const json& sample : variables.at("samples")) {
    GoldenVariable& variable = golden.variable_samples.emplace_back(
        GoldenVariable{.name = sample.at("name"),
                       .shape = ShapeOf(sample.at("shape")),
                       .bits_sum = Hex(sample.at("bits_sum"))});
    for (const std::string value : sample.at("first4")) {
      variable.first4.push_back(std::strtod(value.c_str(), nullptr));
    }
  }
  for (const json& image : from.at("top5")) {
    std::vector<int>& classes = golden.top5.emplace_back();
    for (const json& pair : image) classes.push_back(pair.at(0));
  }
  for (const auto& [name, tensor] : from.at("end_points").items()) {
    golden.end_points.push_back(TensorOf(name, tensor));
  }
  return golden;
}

// One rounding for each float32 operation, as the goldens were made.
std::vector<float> Normalize(const std::string& how, const std::vector<std::uint8_t>& pixels) {
  std::vector<float> x(pixels.begin(), pixels.end());
  if (how == "vgg") {
    constexpr float kMeanRgb[] = {123.68f, 116.78f, 103.94f};
    for (std::size_t i = 0; i < x.size(); ++i) x[i] -= kMeanRgb[i % 3];
  } else if (how == "inception") {
    for (float& value : x) value = (value * static_cast<float>(1.0 / 255) - 0.5f) * 2.0f;
  } else if (how == "lenet") {
    for (float& value : x) value = (value - 128.0f) / 128.0f;
  } else {  // "cifarnet": the image's own mean and deviation, in double precision
    double sum = 0, squares = 0;
    const auto count = static_cast<double>(x.size());
    for (const float value : x) sum += value;
    const double mean = sum / count;
    for (const float value : x) squares += (value - mean) * (value - mean);
    const double deviation = std::max(std::sqrt(squares / count), 1 / std::sqrt(count));
    for (float& value : x) value = static_cast<float>((value - mean) / deviation);
  }
  return x;
}

}  // namespace

std::string GoldenDirectory() {
  const char* const given = std::getenv("ZOOD_GOLDEN_DIR");
  return given != nullptr && *given != '\0' ? given : ZOOD_TEST_DATA "/golden";
}

std::vector<std::string> GoldenFiles() {
  std::vector<std::string> paths;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(GoldenDirectory(), error)) {
    if (entry.path().extension() == ".json") paths.push_back(entry.path().string());
  }
  std::ranges::sort(paths);
  return paths;
}

std::string GoldenTestName(const std::string& path) {
  std::string name = std::filesystem::path(path).stem().string();
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return name;
}

absl::StatusOr<Golden> LoadGolden(const std::string& path) {
  try {
    std::ifstream file(path);
    Golden golden = Parse(json::parse(file));
    const std::size_t images = golden.images.size();
    if (images == 0 || golden.logits.size() != images || golden.top5.size() != images) {
      return InvalidArgument("{}: images, logits_f64 and top5 do not go together", path);
    }
    if (golden.normalize != "vgg" && golden.normalize != "inception" &&
        golden.normalize != "lenet" && golden.normalize != "cifarnet") {
      return InvalidArgument("{}: no normalization '{}'", path, golden.normalize);
    }
    return golden;
  } catch (const std::exception& error) {
    return InvalidArgument("{}: not a golden file: {}", path, error.what());
  }
}

absl::StatusOr<graph::Graph> BuildGoldenGraph(const std::string& model,
                                              const models::NetworkArgs& args) {
  const models::Zoo zoo = models::Zoo::Standard();
  ZOOD_ASSIGN_OR_RETURN(const models::Architecture* architecture, zoo.Find(model));
  return models::BuildGraph(*architecture, args);
}

std::vector<float> MakeImages(const Golden& golden) {
  std::vector<float> images;
  for (const GoldenImage& image : golden.images) {
    const auto pixels =
        ImageU8(image.index, golden.args.height, golden.args.width, golden.args.channels);
    const std::vector<float> normalized = Normalize(golden.normalize, pixels);
    images.insert(images.end(), normalized.begin(), normalized.end());
  }
  return images;
}

}  // namespace zood::testing
