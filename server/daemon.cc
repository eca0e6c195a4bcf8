#include "server/daemon.h"

#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <system_error>

#include "base/status.h"
#include "server/config.h"
#include "server/listen_address.h"
#include "server/log.h"
#include "server/offline.h"
#include "server/server.h"

namespace zood::server {
namespace {

// How long a computing thread spins at a barrier before it sleeps (docs/architecture.md, Threads):
// spinning for ever loses whole time slices when another process wants the processor, sleeping at
// once costs 10 to 25 % of an idle machine's speed.
constexpr const char* kSpinCount = "5000";
constexpr const char* kMarker = "ZOOD_OPENMP_SET";

// libgomp reads its environment when it is loaded, before main: so the program starts once more.
void ExecuteAgainForOpenMp(char** argv) {
  const bool decided = std::getenv("GOMP_SPINCOUNT") != nullptr ||
                       std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv(kMarker) != nullptr;
  if (decided) return;
  setenv("GOMP_SPINCOUNT", kSpinCount, 0);
  setenv(kMarker, "1", 1);
  std::array<char, 4096> self{};
  const ssize_t length = readlink("/proc/self/exe", self.data(), self.size() - 1);
  if (length > 0) execv(self.data(), argv);
  // Where that is not possible zood works all the same, only slower on a busy machine.
}

absl::Status WriteReadyFile(const std::string& path, const Server& server) {
  // Written aside, then renamed, so that no reader sees half of it.
  const std::string part = path + ".part";
  {
    std::ofstream file(part, std::ios::trunc);
    file << fmt::format("grpc={} http={} pid={}\n", server.port(), server.http_port(), getpid());
    if (!file.flush()) return Unavailable("'{}' cannot be written", part);
  }
  std::error_code error;
  std::filesystem::rename(part, path, error);
  if (error) return Unavailable("'{}' cannot be written: {}", path, error.message());
  return absl::OkStatus();
}

// SIGTERM, SIGINT and SIGHUP are taken by sigwait() on the main thread and blocked everywhere else.
sigset_t BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return signals;
}

// What SIGHUP asks for. Only the log file can be reloaded while the daemon runs.
void Reload(Log& log) {
  if (!log.has_file()) {
    return log.Info("SIGHUP: there is nothing to reload without --log-file; serving continues");
  }
  const absl::Status reopened = log.Reopen();
  if (reopened.ok()) return log.Info("SIGHUP: log file reopened");
  log.Error("SIGHUP: the log file cannot be reopened; the old one stays in use",
            {{"error", std::string(reopened.message())}});
}

absl::Status Serve(ServeConfig& config, const models::Zoo& zoo) {
  const int lanes = config.server.runtime.lanes;
  Resolve(config);
  const sigset_t signals = BlockSignals();
  ZOOD_ASSIGN_OR_RETURN(const std::unique_ptr<Log> log,
                        Log::Create(config.log_level, config.log_format, config.log_file));
  const runtime::RuntimeOptions& runtime = config.server.runtime;
  const int threads = runtime.lanes * runtime.servable.threads_per_lane;
  if (runtime.lanes < lanes || threads < config.compute_threads) {
    log->Warning(
        "fewer computing threads than asked for: there are no more cores",
        {{"lanes", std::to_string(runtime.lanes)}, {"compute_threads", std::to_string(threads)}});
  }
  ZOOD_ASSIGN_OR_RETURN(const std::unique_ptr<Server> server,
                        Server::Start(config.server, zoo, *log));
  log->Info("serving",
            {{"build", Build()},
             {"grpc", HostAndPort(config.server.host, server->port())},
             {"http", HostAndPort(config.server.host, server->http_port())},
             {"data_dir", config.data_dir},
             {"memory_budget", serving::FormatBytes(server->runtime().budget().total())}});
  if (!config.ready_file.empty()) {
    ZOOD_RETURN_IF_ERROR(WriteReadyFile(config.ready_file, *server));
  }
  int signal_number = 0;
  while (sigwait(&signals, &signal_number) == 0 && signal_number == SIGHUP) Reload(*log);
  log->Info("draining", {{"signal", strsignal(signal_number)}});
  server->Stop(std::chrono::milliseconds(static_cast<std::int64_t>(config.grace_seconds * 1000)));
  log->Info("stopped");
  return absl::OkStatus();
}

absl::Status NotWritten(int error) {
  return Unavailable("the output cannot be written: {}", std::generic_category().message(error));
}

// Runs a command that prints. What it printed has arrived, or the command has failed.
template <typename Command>
absl::Status Printing(Command command) {
  absl::Status status;
  errno = 0;
  try {
    status = command();
  } catch (const std::system_error& error) {  // of fmt::print
    return NotWritten(error.code().value());
  }
  std::cout.flush();
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0 || !std::cout) {
    status.Update(NotWritten(errno != 0 ? errno : EIO));
  }
  return status;
}

int Report(const absl::Status& status) {
  if (status.ok()) return 0;
  fmt::print(stderr, "zood: {}\n", std::string(status.message()));
  return 1;
}

}  // namespace

int RunDaemon(int argc, char** argv, const models::Zoo& zoo) {
  CLI::App app("zood serves a zoo of pretrained image classifiers over gRPC.");
  app.set_version_flag("--version", Build());
  app.require_subcommand(1);

  ServeConfig config;
  CLI::App* serve = app.add_subcommand(
      "serve",
      "Serve models until SIGTERM.\nEvery option --some-name is also ZOOD_SOME_NAME in the "
      "environment and `some-name = value` in the file that --config names; a flag beats the "
      "environment, which beats the file.");
  AddServeOptions(*serve, config);

  std::string data_dir;
  std::string path;
  bool quick = false;
  CLI::App* inspect = app.add_subcommand("inspect", "Show what a weight file holds");
  inspect->add_option("file", path, "A file, a TensorFlow prefix, or a directory")->required();
  CLI::App* fsck = app.add_subcommand("fsck", "Check the store, with no daemon running");
  AddDataDirOption(*fsck, data_dir);
  fsck->add_flag("--quick", quick, "Check headers and sizes only, not every byte");
  CLI::App* gc = app.add_subcommand("gc", "Give back unused space, with no daemon running");
  AddDataDirOption(*gc, data_dir);
  // Now that the commands have their own: without one, the help is that of all of them.
  app.set_help_flag();
  app.set_help_all_flag("-h,--help,--help-all", "Help of every command");

  try {
    app.parse(argc, argv);
    if (serve->parsed()) ReadOtherSources(*serve, config);
  } catch (const CLI::ParseError& error) {
    int code = 0;
    const absl::Status printed = Printing([&] {
      code = app.exit(error);
      return absl::OkStatus();
    });
    return code == 0 ? Report(printed) : 2;
  }
  if (inspect->parsed()) return Report(Printing([&] { return Inspect(path); }));
  if (fsck->parsed()) return Report(Printing([&] { return Fsck(data_dir, !quick); }));
  if (gc->parsed()) return Report(Printing([&] { return Gc(data_dir); }));
  ExecuteAgainForOpenMp(argv);
  return Report(Serve(config, zoo));
}

}  // namespace zood::server
