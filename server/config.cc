#include "server/config.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <set>
#include <string_view>
#include <thread>

namespace zood::server {
namespace {

// Follows the XDG base directory specification.
std::string DefaultDataDir() {
  if (const char* data = std::getenv("XDG_DATA_HOME"); data != nullptr && *data == '/') {
    return std::string(data) + "/zood";
  }
  if (const char* home = std::getenv("HOME"); home != nullptr && *home == '/') {
    return std::string(home) + "/.local/share/zood";
  }
  return "/var/lib/zood";
}

// "--model-root" to "ZOOD_MODEL_ROOT".
std::string EnvironmentName(const std::string& option) {
  std::string name = "ZOOD_";
  for (const char c : option) {
    name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return name;
}

// Adds options to one group of the help page.
class Group {
 public:
  Group(CLI::App& app, std::string title) : app_(app), title_(std::move(title)) {}

  template <typename T>
  CLI::Option* Add(const std::string& name, T& value, const std::string& help) {
    return Describe(name, app_.add_option("--" + name, value, help)->capture_default_str());
  }
  CLI::Option* AddFlag(const std::string& name, bool& value, const std::string& help) {
    return Describe(name, app_.add_flag("--" + name + ",!--no-" + name, value, help));
  }

 private:
  CLI::Option* Describe(const std::string& name, CLI::Option* option) {
    return option->envname(EnvironmentName(name))->group(title_);
  }

  CLI::App& app_;
  const std::string title_;
};

// A number of bytes, with or without a unit: "6GiB", "512 MB", "1048576". CLI11 alone takes a minus
// sign, and wraps around.
CLI::Validator Bytes(std::uint64_t least, std::uint64_t most = std::uint64_t{1} << 62) {
  return CLI::Validator(
      [=](std::string& text) -> std::string {
        // 10^18 with a unit is the most that CLI11 multiplies without wrapping around unseen.
        const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
        if (digits == 0 || digits > 18) {
          return "'" + text + "' is no size; expected bytes, or a number with a unit, like 6GiB";
        }
        if (std::string wrong = CLI::AsSizeValue(/*kb_is_1000=*/false)(text); !wrong.empty()) {
          return wrong;
        }
        const std::uint64_t bytes = std::strtoull(text.c_str(), nullptr, 10);
        if (bytes >= least && bytes <= most) return "";
        return text + " bytes are not between " + std::to_string(least) + " and " +
               std::to_string(most);
      },
      "SIZE");
}

// A number of things.
CLI::Validator Count(std::uint64_t least, std::uint64_t most) {
  return CLI::Validator(
      [=](std::string& text) -> std::string {
        const bool digits = !text.empty() && text.size() <= 18 &&
                            text.find_first_not_of("0123456789") == std::string::npos;
        const std::uint64_t count = digits ? std::strtoull(text.c_str(), nullptr, 10) : 0;
        if (digits && count >= least && count <= most) return "";
        return "'" + text + "' is no whole number from " + std::to_string(least) + " to " +
               std::to_string(most);
      },
      "COUNT");
}

// CLI::Range takes "nan" for a number between any two.
CLI::Validator Number(double most) {
  return CLI::Validator(
      [=](std::string& text) -> std::string {
        char* end = nullptr;
        const double value = std::strtod(text.c_str(), &end);
        if (!text.empty() && *end == '\0' && value >= 0 && value <= most) return "";
        return "'" + text + "' is no number from 0 to " +
               std::to_string(static_cast<std::int64_t>(most));
      },
      "NUMBER");
}

void AddListening(CLI::App& app, ServeConfig& config) {
  Group group(app, "Listening");
  ServerOptions& server = config.server;
  group.Add("host", server.host,
            "Address to listen on, of version 4 or 6; 0.0.0.0 or :: for every interface");
  group.Add("port", server.port, "Port of gRPC; 0 picks one")->check(CLI::Range(0, 65535));
  group.Add("http-port", server.http_port, "Port of /metrics and /healthz; 0 picks one, -1: none")
      ->check(CLI::Range(-1, 65535));
  group.Add("ready-file", config.ready_file,
            "When serving, write a line `grpc=PORT http=PORT pid=PID` into this file");
  group
      .Add("grace-seconds", config.grace_seconds,
           "After SIGTERM, how long accepted requests may take to be answered")
      ->check(Number(1e6));
}

void AddModels(CLI::App& app, ServeConfig& config) {
  Group group(app, "Models");
  runtime::RuntimeOptions& runtime = config.server.runtime;
  group
      .Add("model-root", runtime.model_roots,
           "A directory that imports and evaluations by path may read; several with ':' between "
           "them, as in PATH, or in several options. Without one, files are only taken as uploads")
      ->delimiter(':');
  group
      .Add("load-on-start", config.server.load_on_start,
           "`MODEL`, `MODEL@VERSION-OR-ALIAS` or `all`; several with ',' between them, or in "
           "several options")
      ->delimiter(',');
  group.AddFlag("load-on-demand", runtime.manager.load_on_demand,
                "Load a model when a request names it (default)");
  group.AddFlag("verify-weights", runtime.load.verify_digests,
                "Check every byte of a model's weights when it is loaded (default)");
  group
      .Add("memory-budget", runtime.memory_budget,
           "Memory for loaded models, like 6GiB; 0: four fifths of the machine's or container's")
      ->transform(Bytes(0));
  group
      .Add("checkpoint-retention", config.checkpoint_retention_days,
           "Days after a job's end for which its checkpoints are kept; 0: for ever")
      ->check(Number(36500.0));
  group
      .Add("gc-interval-seconds", config.gc_interval_seconds,
           "How often the space of what was deleted is given back; 0: only by `zoo gc`")
      ->check(Number(1e6));
  group.Add("loader-threads", runtime.manager.loader_threads, "Models loaded at the same time")
      ->check(CLI::Range(1, 64));
}

void AddComputing(CLI::App& app, ServeConfig& config) {
  Group group(app, "Computing");
  runtime::RuntimeOptions& runtime = config.server.runtime;
  group
      .Add("batch-sizes", runtime.servable.batch_sizes,
           "Batch sizes that networks are compiled for, separated by commas")
      ->delimiter(',')
      ->check(CLI::Range(1, 1024));
  group
      .Add("max-batch-wait-ms", config.max_batch_wait_ms,
           "How long images wait for others that are known to be coming, to share a batch")
      ->check(Number(10000.0));
  group
      .Add("queue-capacity", runtime.servable.queue_capacity,
           "Images of one model that may wait, half of them of evaluations; more are refused")
      ->check(CLI::Range(1, 1 << 20));
  group
      .Add("compute-threads", config.compute_threads,
           "Threads that compute, of all lanes together, at most one for each core; 0: as many")
      ->check(CLI::Range(0, 4096));
  group
      .Add("lanes", runtime.lanes,
           "Batches computed at the same time, at most one for each computing thread")
      ->check(CLI::Range(1, 256));
  group
      .Add("decode-threads", runtime.classifier.decode_threads,
           "Threads that decode and preprocess; 0: one for every two cores")
      ->check(CLI::Range(0, 256));
}

void AddLimits(CLI::App& app, ServeConfig& config) {
  Group group(app, "Limits");
  serving::ClassifierOptions& classifier = config.server.runtime.classifier;
  group.Add("max-message-bytes", config.server.max_message_bytes, "Of one gRPC message")
      ->transform(Bytes(1024, std::numeric_limits<int>::max()));
  group
      .Add("max-request-memory", classifier.max_bytes_under_way,
           "Of all Classify requests in flight: their images and answers; more are refused")
      ->transform(Bytes(1));
  group.Add("max-images-per-request", classifier.max_images_per_request, "Of Classify")
      ->check(CLI::Range(1, 1 << 20));
  group.Add("max-image-bytes", classifier.image_limits.max_bytes, "Of an encoded image")
      ->transform(Bytes(1));
  group.Add("max-image-pixels", classifier.image_limits.max_pixels, "Height times width")
      ->check(Count(1, 1'000'000'000'000));
  group
      .Add("max-request-pixels", classifier.max_pixels_per_request,
           "Of all images of one Classify request")
      ->check(Count(1, 1'000'000'000'000));
  group
      .Add("max-decode-memory", classifier.max_decode_bytes,
           "Of all images that are decoded at the same time; others wait")
      ->transform(Bytes(1));
  group.Add("max-upload-bytes", config.server.max_upload_bytes, "Of all files of one import")
      ->transform(Bytes(1));
}

}  // namespace

void AddDataDirOption(CLI::App& app, std::string& data_dir) {
  data_dir = DefaultDataDir();
  Group(app, "Storage").Add("data-dir", data_dir, "Where zood keeps its store");
}

void AddServeOptions(CLI::App& app, ServeConfig& config) {
  config.server.runtime.classifier.decode_threads = 0;
  Group(app, "Configuration")
      .Add("config", config.config_file, "A file of options, one `name = value` a line");
  AddDataDirOption(app, config.data_dir);
  AddListening(app, config);
  AddModels(app, config);
  AddComputing(app, config);
  AddLimits(app, config);
  Group logging(app, "Logging");
  logging.Add("log-file", config.log_file,
              "A file that is appended to, and reopened on SIGHUP; standard error without one");
  logging.Add("log-level", config.log_level, "What to log")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}));
  logging.Add("log-format", config.log_format, "Text for people, JSON lines for programs")
      ->check(CLI::IsMember({"text", "json"}));
}

namespace {

// CLI11 2.4 silently ignores what it takes for wrong in the environment, every list included.
void ReadEnvironment(CLI::App& app) {
  for (CLI::Option* option : app.get_options()) {
    const std::string& name = option->get_envname();
    const char* value = name.empty() ? nullptr : std::getenv(name.c_str());
    if (option->count() > 0 || value == nullptr || *value == '\0') continue;
    option->add_result(value);
    option->run_callback();
  }
}

// Editors of some systems begin a file with U+FEFF in UTF-8, which would be part of the first name.
void PassByteOrderMark(std::istream& file) {
  char mark[3];
  if (!file.read(mark, 3) || std::string_view(mark, 3) != "\xEF\xBB\xBF") {
    file.clear();
    file.seekg(0);
  }
}

// CLI11 reads files for an application's options only, not for a command's.
void ReadConfigFile(CLI::App& app, const ServeConfig& config) {
  if (config.config_file.empty()) return;
  std::ifstream file(config.config_file);
  if (!file) throw CLI::FileError::Missing(config.config_file);
  PassByteOrderMark(file);
  for (const CLI::ConfigItem& item : CLI::ConfigBase().from_config(file)) {
    CLI::Option* option = app.get_option_no_throw("--" + item.name);
    if (option == nullptr || !item.parents.empty()) {
      throw CLI::ConfigError("'" + config.config_file + "': there is no option '" +
                             item.fullname() + "'");
    }
    if (option->count() > 0) continue;
    if (option->get_expected_min() == 0) {
      option->add_result(option->get_flag_value(item.name, CLI::ConfigBase().to_flag(item)));
    } else {
      option->add_result(item.inputs);
    }
    option->run_callback();
  }
}

}  // namespace

void ReadOtherSources(CLI::App& app, const ServeConfig& config) {
  ReadEnvironment(app);
  ReadConfigFile(app, config);
}

void Resolve(ServeConfig& config) {
  runtime::RuntimeOptions& runtime = config.server.runtime;
  const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  runtime.data_dir = config.data_dir;
  runtime.importer.build = Build();
  runtime.servable.max_wait =
      std::chrono::microseconds(static_cast<std::int64_t>(config.max_batch_wait_ms * 1000));
  runtime.fine_tuner.checkpoint_retention = std::chrono::milliseconds(
      static_cast<std::int64_t>(config.checkpoint_retention_days * 24 * 3600 * 1000));
  config.server.gc_interval =
      std::chrono::milliseconds(static_cast<std::int64_t>(config.gc_interval_seconds * 1000));
  // Never more computing threads than cores: a thread that waits for one that has no core spins.
  const int threads = config.compute_threads > 0 ? std::min(config.compute_threads, cores) : cores;
  runtime.lanes = std::min(runtime.lanes, threads);
  runtime.servable.threads_per_lane = threads / runtime.lanes;
  if (runtime.classifier.decode_threads == 0) {
    runtime.classifier.decode_threads = std::max(1, cores / 2);
  }
  runtime.classifier.max_images_per_request =
      std::min(runtime.classifier.max_images_per_request, runtime.servable.queue_capacity);
  const std::set<int> sizes(runtime.servable.batch_sizes.begin(),
                            runtime.servable.batch_sizes.end());
  runtime.servable.batch_sizes.assign(sizes.begin(), sizes.end());
  // A single image must always fit.
  if (runtime.servable.batch_sizes.empty() || runtime.servable.batch_sizes.front() != 1) {
    runtime.servable.batch_sizes.insert(runtime.servable.batch_sizes.begin(), 1);
  }
}

}  // namespace zood::server
