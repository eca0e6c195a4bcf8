// What an operator can set: by flag, by environment variable, or in a file, under the same names.
#pragma once

#include <chrono>
#include <string>

#include "server/server.h"

namespace CLI {
class App;
}

namespace zood::server {

struct ServeConfig {
  ServerOptions server;
  std::string config_file;
  std::string data_dir;
  std::string ready_file;
  std::string log_level = "info";
  std::string log_format = "text";
  std::string log_file;
  double grace_seconds = 30;
  double max_batch_wait_ms = 2;
  double checkpoint_retention_days = 7;
  double gc_interval_seconds = 60;
  int compute_threads = 0;
};

// Adds every option to `app`. --port is ZOOD_PORT in the environment and `port = ` in the file that
// --config names; a flag beats the environment, which beats the file.
void AddServeOptions(CLI::App& app, ServeConfig& config);

// After parsing: gives the options that no flag set the values of the environment, then of the file
// that --config names. Throws CLI::ParseError, naming the option, as parsing does.
void ReadOtherSources(CLI::App& app, const ServeConfig& config);

// The store's directory, for `serve` and the offline commands alike.
void AddDataDirOption(CLI::App& app, std::string& data_dir);

// What the values that stand for others mean: derived members of config.server. Threads and lanes
// that the machine has no cores for are left out.
void Resolve(ServeConfig& config);

}  // namespace zood::server
