#include "tests/numerics/training/training_golden.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>
#include <utility>

#include "base/status.h"

namespace zood::testing {
namespace {

using nlohmann::json;

std::map<std::string, Statistics> StatisticsOf(const json& from) {
  std::map<std::string, Statistics> all;
  for (const auto& [name, tensor] : from.items()) {
    all[name] = {.rms = tensor.at("rms"), .mean = tensor.at("mean"), .first = tensor.at("first")};
  }
  return all;
}

using Arguments = std::map<std::string, float>;

// A constructor of TensorFlow's: what it takes, in order, with the defaults, after the learning
// rate; and what it is here.
struct Constructor {
  std::vector<std::pair<std::string, float>> parameters;
  std::function<absl::StatusOr<train::OptimizerPtr>(Arguments&)> make;
};

const std::map<std::string, Constructor>& Constructors() {
  static const std::map<std::string, Constructor> all = {
      {"GradientDescentOptimizer", {{}, [](Arguments&) { return train::Sgd(); }}},
      {"MomentumOptimizer",
       {{{"momentum", 0.9f}, {"use_locking", 0}, {"name", 0}, {"use_nesterov", 0}},
        [](Arguments& a) {
          return train::Momentum({.momentum = a["momentum"], .nesterov = a["use_nesterov"] != 0});
        }}},
      {"AdagradOptimizer",
       {{{"initial_accumulator_value", 0.1f}},
        [](Arguments& a) {
          return train::Adagrad({.initial_accumulator_value = a["initial_accumulator_value"]});
        }}},
      {"AdadeltaOptimizer",
       {{{"rho", 0.95f}, {"epsilon", 1e-8f}},
        [](Arguments& a) { return train::Adadelta({.rho = a["rho"], .epsilon = a["epsilon"]}); }}},
      {"AdamOptimizer",
       {{{"beta1", 0.9f}, {"beta2", 0.999f}, {"epsilon", 1e-8f}},
        [](Arguments& a) {
          return train::Adam({.beta1 = a["beta1"], .beta2 = a["beta2"], .epsilon = a["epsilon"]});
        }}},
      {"FtrlOptimizer",
       {{{"learning_rate_power", -0.5f},
         {"initial_accumulator_value", 0.1f},
         {"l1_regularization_strength", 0},
         {"l2_regularization_strength", 0}},
        [](Arguments& a) {
          return train::Ftrl({.learning_rate_power = a["learning_rate_power"],
                              .initial_accumulator_value = a["initial_accumulator_value"],
                              .l1 = a["l1_regularization_strength"],
                              .l2 = a["l2_regularization_strength"]});
        }}},
      {"RMSPropOptimizer",
       {{{"decay", 0.9f},
         {"momentum", 0},
         {"epsilon", 1e-10f},
         {"use_locking", 0},
         {"centered", 0}},
        [](Arguments& a) {
          return train::RmsProp({.decay = a["decay"],
                                 .momentum = a["momentum"],
                                 .epsilon = a["epsilon"],
                                 .centered = a["centered"] != 0});
        }}}};
  return all;
}

// "0.9", "momentum 0.9" or "momentum=0.9"; True and False are 1 and 0.
absl::Status ReadArgument(const std::string& text, const std::string& by_position,
                          Arguments& arguments) {
  static const std::regex form(
      "\\s*(?:(\\w+)(?:\\s+|\\s*=\\s*))?(True|False|-?[0-9.]+(?:e-?[0-9]+)?)\\s*");
  std::smatch match;
  if (!std::regex_match(text, match, form)) return InvalidArgument("no argument '{}'", text);
  const std::string name = match[1].matched ? match[1].str() : by_position;
  if (!arguments.contains(name)) return InvalidArgument("no argument named '{}'", name);
  const std::string value = match[2];
  arguments[name] = value == "True" ? 1.0f : value == "False" ? 0.0f : std::stof(value);
  return absl::OkStatus();
}

// "MomentumOptimizer(0.0005, 0.9)": TensorFlow's constructor with its arguments.
absl::Status ReadOptimizer(const std::string& text, TrainingGolden& golden) {
  static const std::regex form("(\\w+)\\((.*)\\)");
  std::smatch match;
  if (!std::regex_match(text, match, form)) return InvalidArgument("no optimizer in '{}'", text);
  const auto found = Constructors().find(match[1]);
  if (found == Constructors().end()) return InvalidArgument("no optimizer '{}'", text);
  const Constructor& constructor = found->second;
  std::vector<std::string> positions = {"learning_rate"};
  Arguments arguments = {{"learning_rate", 0.0f}};
  for (const auto& [name, value] : constructor.parameters) {
    positions.push_back(name);
    arguments[name] = value;
  }
  std::istringstream list(match[2]);
  std::size_t position = 0;
  for (std::string argument; std::getline(list, argument, ','); ++position) {
    const std::string name = position < positions.size() ? positions[position] : "";
    ZOOD_RETURN_IF_ERROR(Annotate(ReadArgument(argument, name, arguments), text));
  }
  if (arguments["learning_rate"] <= 0) return InvalidArgument("no learning rate in '{}'", text);
  golden.learning_rate = arguments["learning_rate"];
  ZOOD_ASSIGN_OR_RETURN(golden.optimizer, constructor.make(arguments));
  return absl::OkStatus();
}

// The optimizers of small_networks.json, whose arguments the oracle's README gives.
absl::Status TakeSmallOptimizer(const std::string& name, TrainingGolden& golden) {
  golden.learning_rate = 0.01f;
  absl::StatusOr<train::OptimizerPtr> optimizer = train::Sgd();
  if (name == "momentum") optimizer = train::Momentum({.momentum = 0.9f});
  if (name == "adagrad") optimizer = train::Adagrad({.initial_accumulator_value = 0.1f});
  if (name == "adadelta") optimizer = train::Adadelta({.rho = 0.95f, .epsilon = 1});
  if (name == "adam") optimizer = train::Adam({.beta1 = 0.9f, .beta2 = 0.999f, .epsilon = 1});
  if (name == "ftrl") optimizer = train::Ftrl({});
  if (name == "rmsprop") {
    optimizer = train::RmsProp({.decay = 0.9f, .momentum = 0.9f, .epsilon = 1});
  }
  ZOOD_ASSIGN_OR_RETURN(golden.optimizer, std::move(optimizer));
  return absl::OkStatus();
}

void ReadRun(const json& from, TrainingGolden& golden) {
  golden.regularized_variables = from.at("reg_variables");
  for (const json& step : from.at("steps")) {
    golden.steps.push_back({.cross_entropy = step.at("cross_entropy"),
                            .auxiliary = step.value("auxiliary", 0.0),
                            .regularization = step.at("regularization"),
                            .total = step.at("total")});
  }
  golden.gradients = StatisticsOf(from.at("gradients_of_step_0"));
  golden.after = StatisticsOf(from.at("after"));
}

void ReadTask(const json& from, TrainingGolden& golden) {
  golden.labels = from.at("labels").get<std::vector<std::int32_t>>();
  golden.weight_decay = from.at("weight_decay");
  golden.label_smoothing = from.at("label_smoothing");
}

absl::StatusOr<TrainingGolden> ParseNetwork(const json& from) {
  TrainingGolden golden;
  ReadTask(from, golden);
  Golden& network = golden.network;
  golden.name = network.model = from.at("model");
  network.args = {.num_classes = from.at("num_classes"),
                  .height = from.at("image_size"),
                  .width = from.at("image_size")};
  network.normalize = from.at("normalize");
  for (const int index : from.at("image_indices")) network.images.push_back({.index = index});
  ZOOD_RETURN_IF_ERROR(ReadOptimizer(from.at("optimizer"), golden));
  ReadRun(from, golden);
  return golden;
}

// "image_u8(0..3, 12, 12, 1), normalize lenet".
absl::Status ReadImages(const std::string& text, Golden& network) {
  static const std::regex form(
      "image_u8\\((\\d+)\\.\\.(\\d+), (\\d+), (\\d+), (\\d+)\\), normalize (\\w+)");
  std::smatch match;
  if (!std::regex_match(text, match, form)) return InvalidArgument("no images in '{}'", text);
  for (int i = std::stoi(match[1]); i <= std::stoi(match[2]); ++i) {
    network.images.push_back({.index = i});
  }
  network.args.height = std::stoi(match[3]);
  network.args.width = std::stoi(match[4]);
  network.args.channels = std::stoi(match[5]);
  network.normalize = match[6];
  return absl::OkStatus();
}

absl::Status ParseSmallNetworks(const json& from, std::vector<TrainingGolden>& goldens) {
  for (const auto& [name, network] : from.items()) {
    for (const auto& [optimizer, run] : network.at("runs").items()) {
      TrainingGolden golden;
      ReadTask(network, golden);
      golden.name = name + "_" + optimizer;
      golden.network.model = name == "lenet12" ? "lenet" : name;
      golden.network.args.num_classes = network.at("classes");
      ZOOD_RETURN_IF_ERROR(ReadImages(network.at("images"), golden.network));
      ZOOD_RETURN_IF_ERROR(TakeSmallOptimizer(optimizer, golden));
      ReadRun(run, golden);
      goldens.push_back(std::move(golden));
    }
  }
  return absl::OkStatus();
}

absl::Status Load(const std::filesystem::path& path, std::vector<TrainingGolden>& goldens) {
  std::ifstream file(path);
  const json from = json::parse(file);
  if (from.contains("optimizers")) return absl::OkStatus();
  if (!from.contains("model")) return ParseSmallNetworks(from, goldens);
  ZOOD_ASSIGN_OR_RETURN(TrainingGolden golden, ParseNetwork(from));
  goldens.push_back(std::move(golden));
  return absl::OkStatus();
}

}  // namespace

std::string TrainingGoldenDirectory() {
  const char* const given = std::getenv("ZOOD_TRAINING_GOLDEN_DIR");
  return given != nullptr && *given != '\0' ? given : ZOOD_TEST_DATA "/training";
}

absl::StatusOr<std::vector<TrainingGolden>> LoadTrainingGoldens() {
  std::vector<std::filesystem::path> paths;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(TrainingGoldenDirectory(), error)) {
    if (entry.path().extension() == ".json") paths.push_back(entry.path());
  }
  std::ranges::sort(paths);
  std::vector<TrainingGolden> goldens;
  for (const auto& path : paths) {
    try {
      ZOOD_RETURN_IF_ERROR(Annotate(Load(path, goldens), path.string()));
    } catch (const std::exception& exception) {
      return InvalidArgument("{}: not a file of training steps: {}", path.string(),
                             exception.what());
    }
  }
  return goldens;
}

}  // namespace zood::testing
