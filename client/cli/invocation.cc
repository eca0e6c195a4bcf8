#include "client/cli/invocation.h"

#include <fmt/format.h>
#include <google/protobuf/message.h>
#include <google/protobuf/util/json_util.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "base/status.h"
#include "client/cli/tables/table.h"
#include "client/status.h"

namespace zood::client::cli {
namespace {

constexpr const char* kFooter =
    "Models are named NAME, NAME@VERSION or NAME@ALIAS; NAME alone is the alias `stable`, or the "
    "newest\nversion where that is not set. --address, --timeout and --json may stand anywhere.\n\n"
    "Exit codes:\n"
    "  0  done\n"
    "  1  the daemon answered with an error, or a file here cannot be read\n"
    "  2  the command line makes no sense\n"
    "  3  no daemon answers at the address";

}  // namespace

ExitCode ExitCodeOf(const absl::Status& status) {
  if (status.ok()) return kExitOk;
  return IsUnreachable(status) ? kExitUnreachable : kExitFailed;
}

std::string ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  std::string json;
  // Fails only for messages with google.protobuf.Any, which zood.v1 does not use.
  (void)google::protobuf::util::MessageToJsonString(message, &json, options);
  return json;
}

void Print(const Session& session, const google::protobuf::Message& message,
           const std::string& text) {
  const std::string out = session.json ? ToJson(message) : text;
  std::fwrite(out.data(), 1, out.size(), stdout);
}

const CLI::Validator& IsModelSpec() {
  static const CLI::Validator validator(
      [](std::string& text) {
        const absl::Status status = ParseModelSpec(text).status();
        return std::string(status.message());
      },
      "NAME[@VERSION|@ALIAS]", "model");
  return validator;
}

absl::Status SetSize(const std::string& size, v1::ZooNetwork& network) {
  const std::size_t x = size.find('x');
  const std::string height = size.substr(0, x);
  const std::string width = x == std::string::npos ? height : size.substr(x + 1);
  const auto number = [](const std::string& text) {
    const bool digits = !text.empty() && text.size() <= 5 &&
                        text.find_first_not_of("0123456789") == std::string::npos;
    return digits ? std::stoi(text) : 0;
  };
  if (number(height) == 0 || number(width) == 0) {
    return InvalidArgument("--size '{}': expected pixels like 224, or HEIGHTxWIDTH", size);
  }
  network.set_height(number(height));
  network.set_width(number(width));
  return absl::OkStatus();
}

void AddCommands(CLI::App& app, Invocation& invocation) {
  app.require_subcommand(1);
  app.fallthrough();  // options of zoo itself may follow the command
  app.footer(kFooter);
  app.add_option("--address", invocation.client.address, "The daemon's HOST:PORT")
      ->envname("ZOO_ADDRESS")
      ->capture_default_str();
  app.add_option("--timeout", invocation.timeout_seconds,
                 "Seconds that a call may take (default: 120, without limit for what takes long: "
                 "imports, evaluations, loading, jobs)")
      ->check(CLI::PositiveNumber);
  app.add_flag("--json", invocation.json, "Print JSON (protobuf's mapping of zood.v1)");
  AddClassifyCommand(app, invocation);
  AddDatasetCommands(app, invocation);
  AddEvalCommand(app, invocation);
  AddFinetuneCommands(app, invocation);
  AddImportCommand(app, invocation);
  AddModelsCommands(app, invocation);
  AddManageCommands(app, invocation);
  AddStatusCommand(app, invocation);
}

namespace {

// Prints what help or version asked for, or what is wrong with the command line.
int Report(CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == 0) return app.exit(error);
  const CLI::App* command = &app;
  std::string name = app.get_name();
  while (!command->get_subcommands().empty()) {
    command = command->get_subcommands().front();
    name += " " + command->get_name();
  }
  std::string what = error.what();
  if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr &&
      what == "A subcommand is required") {  // as CLI11 says it
    const std::vector<std::string> rest = app.remaining(/*recurse=*/true);
    what = rest.empty() ? "the command is missing"
                        : fmt::format("there is no command '{}'", rest.front());
  }
  // Errors of ours begin with the command's name already.
  if (const std::string own = command->get_name() + ": "; what.starts_with(own)) {
    what.erase(0, own.size());
  }
  fmt::print(stderr, "{}: {}\n`{} --help` says what there is.\n", name, Printable(what), name);
  return kExitUsage;
}

}  // namespace

int Run(int argc, char** argv, const std::string& version) {
  CLI::App app("zoo talks to zood, the model-zoo serving daemon.", "zoo");
  Invocation invocation;
  AddCommands(app, invocation);
  app.set_version_flag("--version", "zoo " + version);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return Report(app, error);
  }
  if (invocation.timeout_seconds > 0) {
    const std::chrono::milliseconds limit(
        static_cast<std::int64_t>(invocation.timeout_seconds * 1000));
    invocation.client.call_timeout = limit;
    invocation.client.long_call_timeout = limit;
    invocation.client.connect_timeout = std::min(invocation.client.connect_timeout, limit);
  }
  const auto run = [&]() -> absl::Status {
    absl::StatusOr<Client> client = Client::Connect(invocation.client);
    if (!client.ok()) return client.status();
    Session session{.client = *client, .json = invocation.json};
    return invocation.action(session);
  };
  const absl::Status status = run();
  if (!status.ok() && !invocation.quiet) {
    fmt::print(stderr, "zoo: {}\n", Printable(std::string(status.message())));
  }
  return ExitCodeOf(status);
}

}  // namespace zood::client::cli
