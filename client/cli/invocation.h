// What the commands of zoo share: how they are declared, run, and what they exit with.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "client/client.h"

namespace CLI {
class App;
class Validator;
}  // namespace CLI
namespace google::protobuf {
class Message;
}

namespace zood::client::cli {

enum ExitCode : int {
  kExitOk = 0,
  kExitFailed = 1,       // the daemon answered with an error, or a file here cannot be read
  kExitUsage = 2,        // the command line makes no sense
  kExitUnreachable = 3,  // no daemon answers
};

ExitCode ExitCodeOf(const absl::Status& status);

// What a command works with.
struct Session {
  Client& client;
  bool json = false;  // print messages as JSON, not tables
};

// What the command line asked for.
struct Invocation {
  ClientOptions client;
  double timeout_seconds = 0;
  bool json = false;
  bool quiet = false;  // errors are told by the exit code alone
  std::function<absl::Status(Session&)> action;
};

// Declares `zoo`'s options and commands; parsing sets the rest of `invocation`, which must outlive
// `app`.
void AddCommands(CLI::App& app, Invocation& invocation);

// The whole program: parses, connects, runs, reports. Returns the exit code.
int Run(int argc, char** argv, const std::string& version);

// The message by protobuf's JSON mapping, fields by their names in the .proto files.
std::string ToJson(const google::protobuf::Message& message);

// Prints text (tables) for people, `message` as JSON for programs.
void Print(const Session& session, const google::protobuf::Message& message,
           const std::string& text);

// NAME, NAME@VERSION or NAME@ALIAS.
const CLI::Validator& IsModelSpec();

// A network's input from "224" or "224x320", height first. InvalidArgument for anything else.
absl::Status SetSize(const std::string& size, v1::ZooNetwork& network);

// One function for each group of commands.
void AddClassifyCommand(CLI::App& app, Invocation& invocation);
void AddDatasetCommands(CLI::App& app, Invocation& invocation);   // dataset ...
void AddFinetuneCommands(CLI::App& app, Invocation& invocation);  // finetune ...
void AddEvalCommand(CLI::App& app, Invocation& invocation);
void AddImportCommand(CLI::App& app, Invocation& invocation);
void AddModelsCommands(CLI::App& app, Invocation& invocation);  // models, show, architectures
void AddManageCommands(CLI::App& app, Invocation& invocation);  // alias, load, unload, rm
void AddStatusCommand(CLI::App& app, Invocation& invocation);

}  // namespace zood::client::cli
