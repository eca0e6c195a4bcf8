// zoo alias, zoo load, zoo unload, zoo rm, zoo gc: what changes the models and their store.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <string>

#include "base/status.h"
#include "client/cli/invocation.h"
#include "client/cli/tables/table.h"

namespace zood::client::cli {
namespace {

struct Options {
  std::string model;
  std::string alias;
  std::int64_t version = 0;
  bool remove = false;
  bool all = false;
  bool force = false;
};

absl::Status DeleteAlias(const Options& options, Session& session) {
  ZOOD_ASSIGN_OR_RETURN(const v1::DeleteAliasResponse answer,
                        session.client.DeleteAlias(options.model, options.alias));
  Print(session, answer,
        fmt::format("{} no longer has the alias {}, which was version {}\n", options.model,
                    options.alias, answer.previous_version()));
  return absl::OkStatus();
}

absl::Status SetAlias(const Options& options, Session& session) {
  ZOOD_ASSIGN_OR_RETURN(const v1::SetAliasResponse answer,
                        session.client.SetAlias(options.model, options.alias, options.version));
  const std::int64_t previous = answer.previous_version();
  Print(session, answer,
        fmt::format("{}@{} is version {}{}\n", options.model, options.alias, options.version,
                    previous > 0 ? fmt::format(" (was {})", previous) : ""));
  return absl::OkStatus();
}

absl::Status Load(const Options& options, Session& session) {
  ZOOD_ASSIGN_OR_RETURN(const v1::ModelSpec model, ParseModelSpec(options.model));
  ZOOD_ASSIGN_OR_RETURN(const v1::LoadModelResponse answer, session.client.LoadModel(model));
  Print(session, answer,
        fmt::format("{}, version {}: {}, {}\n", model.name(), answer.status().version(),
                    v1::VersionState_Name(answer.status().state()),
                    FormatBytes(answer.status().memory_bytes())));
  return absl::OkStatus();
}

absl::Status Unload(const Options& options, Session& session) {
  ZOOD_ASSIGN_OR_RETURN(const v1::ModelSpec model, ParseModelSpec(options.model));
  ZOOD_ASSIGN_OR_RETURN(const v1::UnloadModelResponse answer, session.client.UnloadModel(model));
  Print(session, answer,
        answer.versions().empty() ? fmt::format("{}: nothing was loaded\n", ToString(model))
                                  : fmt::format("{}: unloaded version {}\n", model.name(),
                                                fmt::join(answer.versions(), ", ")));
  return absl::OkStatus();
}

absl::Status Remove(const Options& options, Session& session) {
  ZOOD_ASSIGN_OR_RETURN(const v1::ModelSpec model, ParseModelSpec(options.model));
  if (options.all) {
    ZOOD_RETURN_IF_ERROR(session.client.DeleteModel(model.name()));
    Print(session, v1::DeleteModelResponse(), fmt::format("{}: removed\n", model.name()));
    return absl::OkStatus();
  }
  std::int64_t number = model.version();
  if (model.version_choice_case() == v1::ModelSpec::kAlias) {
    ZOOD_ASSIGN_OR_RETURN(const v1::Version version, session.client.GetVersion(model));
    number = version.version();
  }
  ZOOD_RETURN_IF_ERROR(session.client.DeleteVersion(model.name(), number, options.force));
  Print(session, v1::DeleteVersionResponse(),
        fmt::format("{}: removed version {}\n", model.name(), number));
  return absl::OkStatus();
}

absl::Status CollectGarbage(Session& session) {
  ZOOD_ASSIGN_OR_RETURN(const v1::CollectGarbageResponse answer, session.client.CollectGarbage());
  Print(session, answer,
        fmt::format("{} freed: {} forgotten, {} removed, {} of them rewritten\n",
                    FormatBytes(answer.bytes_freed()),
                    FormatCount(answer.tensors_forgotten(), "tensor"),
                    FormatCount(answer.packs_removed(), "pack"), answer.packs_rewritten()));
  return absl::OkStatus();
}

using Function = absl::Status (*)(const Options&, Session&);

CLI::App* AddCommand(CLI::App& app, const std::string& name, const std::string& help,
                     const std::shared_ptr<Options>& options) {
  CLI::App* command = app.add_subcommand(name, help);
  command->add_option("model", options->model, "The model")->required()->check(IsModelSpec());
  return command;
}

void AddAlias(CLI::App& app, Invocation& invocation) {
  const auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("alias", "Point an alias at a version, or remove it");
  command->add_option("model", options->model, "The model's name")->required();
  command->add_option("alias", options->alias, "The alias: `stable`, or your own")->required();
  CLI::Option* version =
      command->add_option("version", options->version, "The version")->check(CLI::PositiveNumber);
  CLI::Option* remove = command->add_flag("-d,--delete", options->remove, "Remove the alias");
  remove->excludes(version);
  command->callback([options, &invocation] {
    if (!options->remove && options->version == 0) {
      throw CLI::ValidationError("alias", "give the version's number, or --delete");
    }
    invocation.action = [options](Session& session) {
      return options->remove ? DeleteAlias(*options, session) : SetAlias(*options, session);
    };
  });
}

void AddSimple(CLI::App& app, Invocation& invocation, const std::string& name,
               const std::string& help, Function function) {
  const auto options = std::make_shared<Options>();
  AddCommand(app, name, help, options)->callback([options, function, &invocation] {
    invocation.action = [=](Session& session) { return function(*options, session); };
  });
}

void AddRemove(CLI::App& app, Invocation& invocation) {
  const auto options = std::make_shared<Options>();
  CLI::App* command = AddCommand(app, "rm", "Remove a version, or a model with --all", options);
  command->add_flag("--all", options->all, "Remove the model with all its versions");
  command->add_flag("-f,--force", options->force, "Even if aliases name the version: they go too");
  command->callback([options, &invocation] {
    const bool names_version = options->model.find('@') != std::string::npos;
    if (names_version == options->all) {
      throw CLI::ValidationError("rm",
                                 "name a version (MODEL@VERSION), or give --all for a model "
                                 "with all its versions");
    }
    invocation.action = [options](Session& session) { return Remove(*options, session); };
  });
}

}  // namespace

void AddManageCommands(CLI::App& app, Invocation& invocation) {
  AddAlias(app, invocation);
  AddSimple(app, invocation, "load", "Load a model and wait until it answers", Load);
  AddSimple(app, invocation, "unload", "Unload a version, or every version of a model", Unload);
  AddRemove(app, invocation);
  app.add_subcommand("gc", "Give back the space of what was deleted, now instead of soon")
      ->callback([&invocation] { invocation.action = CollectGarbage; });
}

}  // namespace zood::client::cli
