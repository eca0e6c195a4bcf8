// zoo models, zoo show, zoo architectures: what there is.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "client/cli/invocation.h"
#include "client/cli/tables/import_table.h"
#include "client/cli/tables/table.h"

namespace zood::client::cli {
namespace {

constexpr std::size_t kLineWidth = 76;

// "latest: 3, stable: 2"
std::string Aliases(const v1::Model& model) {
  // A map of protobuf has no order.
  const std::map<std::string, std::int64_t> sorted(model.aliases().begin(), model.aliases().end());
  std::vector<std::string> parts;
  for (const auto& [alias, version] : sorted)
    parts.push_back(fmt::format("{}: {}", alias, version));
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::string DescribeModels(const v1::ListModelsResponse& answer) {
  if (answer.models().empty()) {
    return "There is no model yet. `zoo import --help` says how to get one in, `zoo architectures` "
           "which networks there are.\n";
  }
  Table table({{"MODEL"},
               {"VERSIONS", Table::Align::kRight},
               {"ALIASES"},
               {"LOADED"},
               {"MEMORY", Table::Align::kRight}});
  for (const v1::Model& model : answer.models()) {
    std::vector<std::string> loaded;
    std::int64_t memory = 0;
    for (const v1::VersionStatus& status : model.loaded()) {
      memory += status.memory_bytes();
      loaded.push_back(
          status.state() == v1::AVAILABLE
              ? fmt::format("{}", status.version())
              : fmt::format("{} ({})", status.version(), v1::VersionState_Name(status.state())));
    }
    table.Add({model.name(), fmt::format("{}", model.num_versions()), Aliases(model),
               loaded.empty() ? "-" : fmt::format("{}", fmt::join(loaded, ", ")),
               loaded.empty() ? "-" : FormatBytes(memory)});
  }
  return table.ToString();
}

std::string NetworkName(const v1::Version& version) {
  if (version.has_caffe()) return "described by a Caffe .prototxt";
  if (!version.has_zoo()) return "described by the file of its weights";
  return version.zoo().architecture();
}

// What a version grew from that a job made.
void AddLineage(const v1::Lineage& lineage, Table& table) {
  table.Add({"trained by", fmt::format("job {}, seed {}", lineage.job(), lineage.seed())});
  table.Add({"from", lineage.has_base()
                         ? fmt::format("{}@{} ({})", lineage.base().model(),
                                       lineage.base().version(), lineage.base().digest())
                         : std::string("initial values")});
  table.Add({"on dataset", lineage.dataset_digest()});
  table.Add({"plan", lineage.plan()});
}

// Some a line: there may be hundreds.
void AddEndPoints(const v1::Version& version, Table& table) {
  std::string title = "end points";
  std::string line;
  for (const std::string& name : version.end_points()) {
    if (!line.empty() && DisplayWidth(line) + 1 + DisplayWidth(name) > kLineWidth) {
      table.Add({std::exchange(title, ""), std::exchange(line, "")});
    }
    line += line.empty() ? name : " " + name;
  }
  if (!line.empty()) table.Add({title, line});
}

std::string DescribeVersion(const v1::Version& version) {
  Table table({{fmt::format("{}@{}", version.model(), version.version())}, {""}});
  table.Add({"digest", version.digest()});
  if (version.kind() == v1::CHECKPOINT) table.Add({"kind", "checkpoint of a training job"});
  table.Add({"created", FormatTime(version.created_at().seconds()) + " by " + version.build()});
  table.Add({"aliases", fmt::format("{}", fmt::join(version.aliases(), ", "))});
  table.Add(
      {"state", v1::VersionState_Name(version.status().state()) +
                    (version.status().error().empty() ? "" : ": " + version.status().error())});
  table.Add({"network", NetworkName(version)});
  table.Add({"input", fmt::format("{} x {} x {} (height, width, channels)", version.height(),
                                  version.width(), version.channels())});
  table.Add({"classes", fmt::format("{}", version.num_classes())});
  table.Add({"weights", fmt::format("{} in {}", FormatBytes(version.bytes()),
                                    FormatCount(version.num_tensors(), "tensor"))});
  for (const v1::SourceFile& source : version.sources()) {
    table.Add({"from", fmt::format("{} ({}, {}, SHA-256 {})", source.uri(), source.format(),
                                   FormatBytes(source.bytes()), source.sha256())});
  }
  if (version.has_import_report()) AddReport(version.import_report(), table);
  if (version.has_lineage()) AddLineage(version.lineage(), table);
  const std::map<std::string, double> metrics(version.metrics().begin(), version.metrics().end());
  for (const auto& [name, value] : metrics) table.Add({name, fmt::format("{:.6g}", value)});
  if (!version.note().empty()) table.Add({"note", version.note()});
  AddEndPoints(version, table);
  return table.ToString();
}

std::string DescribeVersions(const v1::ListVersionsResponse& answer) {
  Table table({{"VERSION", Table::Align::kRight},
               {"KIND"},
               {"CREATED"},
               {"STATE"},
               {"ALIASES"},
               {"WEIGHTS", Table::Align::kRight},
               {"NOTE"}});
  for (const v1::Version& version : answer.versions()) {
    table.Add({fmt::format("{}", version.version()),
               version.kind() == v1::CHECKPOINT ? "checkpoint" : "model",
               FormatTime(version.created_at().seconds()),
               v1::VersionState_Name(version.status().state()),
               fmt::format("{}", fmt::join(version.aliases(), ", ")), FormatBytes(version.bytes()),
               version.note()});
  }
  return table.ToString();
}

// With a version or alias: that one. Without: the one that answers, and the list of all.
absl::Status Show(const std::string& name, Session& session) {
  ZOOD_ASSIGN_OR_RETURN(const v1::ModelSpec model, ParseModelSpec(name));
  ZOOD_ASSIGN_OR_RETURN(const v1::Version version, session.client.GetVersion(model));
  std::string text = DescribeVersion(version);
  if (model.version_choice_case() == v1::ModelSpec::VERSION_CHOICE_NOT_SET && !session.json) {
    ZOOD_ASSIGN_OR_RETURN(const auto versions, session.client.ListVersions(model.name()));
    text += "\n" + DescribeVersions(versions);
  }
  Print(session, version, text);
  return absl::OkStatus();
}

std::string DescribeArchitectures(const v1::ListArchitecturesResponse& answer) {
  Table table({{"NETWORK"},
               {"FAMILY"},
               {"INPUT", Table::Align::kRight},
               {"CLASSES", Table::Align::kRight},
               {"TOP-1", Table::Align::kRight},
               {"TOP-5", Table::Align::kRight},
               {"PUBLISHED AS"}});
  const auto accuracy = [](bool known, double value) {
    return known ? fmt::format("{:.1f} %", value) : std::string("-");
  };
  for (const v1::Architecture& entry : answer.architectures()) {
    const v1::ZooNetwork& network = entry.defaults();
    std::vector<std::string> row = {
        entry.name(), entry.family(),
        fmt::format("{} x {} x {}", network.height(), network.width(), network.channels()),
        fmt::format("{}", network.num_classes())};
    if (entry.published().empty()) {
      row.insert(row.end(), {"-", "-", "-"});
      table.Add(row);
    }
    for (const v1::PublishedCheckpoint& published : entry.published()) {
      row.resize(4);
      row.push_back(accuracy(published.has_top1(), published.top1()));
      row.push_back(accuracy(published.has_top5(), published.top5()));
      row.push_back(published.archive());
      table.Add(row);
      row = {"", "", "", ""};
    }
  }
  return table.ToString() +
         "\nInputs are height x width x channels. Accuracies are as published: on ImageNet's "
         "validation images,\nof CIFAR ResNets on CIFAR-10's test images. "
         "`zoo import --arch NETWORK FILE` gets a file in.\n";
}

}  // namespace

void AddModelsCommands(CLI::App& app, Invocation& invocation) {
  CLI::App* models = app.add_subcommand("models", "The models that the daemon keeps");
  models->callback([&invocation] {
    invocation.action = [](Session& session) -> absl::Status {
      ZOOD_ASSIGN_OR_RETURN(const auto answer, session.client.ListModels());
      Print(session, answer, DescribeModels(answer));
      return absl::OkStatus();
    };
  });

  CLI::App* show = app.add_subcommand("show", "All about a version, and the versions of its model");
  const auto name = std::make_shared<std::string>();
  show->add_option("model", *name, "The model")->required()->check(IsModelSpec());
  show->callback([name, &invocation] {
    invocation.action = [name](Session& session) { return Show(*name, session); };
  });

  CLI::App* architectures =
      app.add_subcommand("architectures", "The networks that zood can build by name");
  architectures->callback([&invocation] {
    invocation.action = [](Session& session) -> absl::Status {
      ZOOD_ASSIGN_OR_RETURN(const auto answer, session.client.ListArchitectures());
      Print(session, answer, DescribeArchitectures(answer));
      return absl::OkStatus();
    };
  });
}

}  // namespace zood::client::cli
