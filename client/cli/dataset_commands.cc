// zoo dataset: labeled images that jobs learn from.
#include "client/cli/dataset_commands.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/labels_text.h"
#include "base/status.h"
#include "base/text.h"
#include "client/cli/progress.h"
#include "client/cli/tables/table.h"

namespace zood::client::cli {
namespace {

constexpr int kListPage = 1000;
constexpr int kItemsPage = 10000;

struct ItemsOptions {
  std::string dataset;
  std::string split;
  std::optional<int> label;
  std::int64_t max = 100;
};

struct RemoveOptions {
  std::string dataset;
  bool force = false;
};

std::string StageName(v1::DatasetProgress::Stage stage) {
  switch (stage) {
    case v1::DatasetProgress::RECEIVING:
      return "sending";
    case v1::DatasetProgress::READING:
      return "reading";
    case v1::DatasetProgress::CHECKING:
      return "checking";
    case v1::DatasetProgress::PUBLISHING:
      return "publishing";
    default:
      return "working";
  }
}

void Show(Progress& progress, const v1::DatasetProgress& at) {
  const bool bytes = at.stage() == v1::DatasetProgress::RECEIVING;
  const auto figure = [&](std::int64_t count) {
    return bytes ? FormatBytes(count) : fmt::format("{}", count);
  };
  std::string figures;
  if (at.done() > 0 || at.total() > 0) {
    figures = figure(at.done()) + (at.total() > 0 ? " of " + figure(at.total()) : "") +
              (bytes ? "" : " images");
  }
  progress.Update(StageName(at.stage()), at.done(), at.total(), figures);
}

absl::Status SetClasses(const std::string& path, v1::DatasetSpec& spec) {
  ZOOD_ASSIGN_OR_RETURN(const auto contents, FileSystem::Native().Open(path));
  const auto bytes = contents->bytes();
  ZOOD_ASSIGN_OR_RETURN(
      const std::vector<std::string> classes,
      ParseLabels({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path));
  for (const std::string& name : classes) spec.add_classes(name);
  if (spec.classes().empty()) return InvalidArgument("{}: expected class names, one a line", path);
  return absl::OkStatus();
}

absl::StatusOr<v1::DatasetSpec> ToSpec(const DatasetOptions& options) {
  v1::DatasetSpec spec;
  spec.set_name(options.name);
  if (!options.labels.empty()) ZOOD_RETURN_IF_ERROR(SetClasses(options.labels, spec));
  if (options.validation) spec.mutable_split()->set_validation(*options.validation);
  if (options.test) spec.mutable_split()->set_test(*options.test);
  if (options.split_seed != 0) spec.mutable_split()->set_seed(options.split_seed);
  if (options.layout == "classes") spec.set_layout(v1::DatasetSpec::CLASSES);
  if (options.layout == "splits") spec.set_layout(v1::DatasetSpec::SPLITS);
  spec.set_note(options.note);
  return spec;
}

// One path is a dataset by itself; several lie beside each other (the two files of MNIST, parts of
// a TFRecord), and a folder among them keeps its name.
absl::StatusOr<DatasetFiles> FilesOf(const std::vector<std::string>& paths) {
  if (paths.size() == 1) return FilesOfDataset(paths.front());
  DatasetFiles files;
  for (const std::string& path : paths) {
    ZOOD_ASSIGN_OR_RETURN(DatasetFiles below, FilesOfDataset(path));
    const std::filesystem::path clean = std::filesystem::path(path + "/").parent_path();
    const bool folder = std::filesystem::is_directory(clean);
    for (UploadFile& file : below.files) {
      if (folder) file.name = Escaped(clean.filename().string()) + "/" + file.name;
      files.files.push_back(std::move(file));
    }
    std::ranges::move(below.left_out, std::back_inserter(files.left_out));
  }
  return files;
}

// What is not sent, as far as it fits on a screen.
void PrintLeftOut(const std::vector<std::string>& left_out) {
  constexpr std::size_t kShown = 10;
  for (std::size_t i = 0; i < std::min(left_out.size(), kShown); ++i) {
    fmt::print(stderr, "not sent: {}\n", Printable(left_out[i]));
  }
  if (left_out.size() > kShown) {
    fmt::print(stderr, "not sent: {} more files or folders\n", left_out.size() - kShown);
  }
}

// Before anything is sent: what the name stands for never changes.
absl::Status CheckNameIsFree(const std::string& name, Client& client) {
  const absl::StatusOr<v1::Dataset> there = client.GetDataset(name);
  if (absl::IsNotFound(there.status())) return absl::OkStatus();
  if (!there.ok()) return there.status();
  return AlreadyExists(
      "the daemon already has a dataset '{0}' ({1}, made {2}), so nothing was sent; choose another "
      "name, or remove that one first: zoo dataset rm {0}",
      name, FormatCount(there->num_items(), "image"), FormatTime(there->created_at().seconds()));
}

absl::Status Create(const DatasetOptions& options, Session& session) {
  ZOOD_RETURN_IF_ERROR(CheckNameIsFree(options.name, session.client));
  ZOOD_ASSIGN_OR_RETURN(const v1::Dataset dataset, MakeDataset(options, session.client));
  Print(session, dataset, DescribeDataset(dataset));
  return absl::OkStatus();
}

absl::Status List(Session& session) {
  v1::ListDatasetsResponse all;
  v1::ListDatasetsRequest request;
  request.set_page_size(kListPage);
  do {
    ZOOD_ASSIGN_OR_RETURN(const v1::ListDatasetsResponse page,
                          session.client.ListDatasets(request));
    all.MergeFrom(page);
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  all.clear_next_page_token();
  Print(session, all, DescribeDatasets(all));
  return absl::OkStatus();
}

absl::Status ShowItems(const ItemsOptions& options, Session& session) {
  v1::ListDatasetItemsRequest request;
  request.set_dataset(options.dataset);
  if (options.split == "train") request.set_split(v1::TRAIN);
  if (options.split == "validation") request.set_split(v1::VALIDATION);
  if (options.split == "test") request.set_split(v1::TEST);
  if (options.label) request.set_label(*options.label);
  v1::ListDatasetItemsResponse all;
  const auto room = [&] {
    if (options.max == 0) return kItemsPage;
    return static_cast<int>(std::min<std::int64_t>(options.max - all.items_size(), kItemsPage));
  };
  do {
    request.set_page_size(room());
    ZOOD_ASSIGN_OR_RETURN(const v1::ListDatasetItemsResponse page,
                          session.client.ListDatasetItems(request));
    all.mutable_items()->MergeFrom(page.items());
    all.set_next_page_token(page.next_page_token());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty() && room() > 0);
  const bool more = !all.next_page_token().empty();
  Print(session, all,
        DescribeItems(all) + (more ? "There are more: --max 0 lists all of them.\n" : ""));
  return absl::OkStatus();
}

absl::Status Remove(const RemoveOptions& options, Session& session) {
  ZOOD_RETURN_IF_ERROR(session.client.DeleteDataset(options.dataset, options.force));
  Print(session, v1::DeleteDatasetResponse(), fmt::format("{}: removed\n", options.dataset));
  return absl::OkStatus();
}

void AddCreate(CLI::App& group, Invocation& invocation) {
  CLI::App* command = group.add_subcommand(
      "create",
      "Make a dataset from a folder with a subfolder of images for each class, a CSV index with "
      "its images,\na tar or zip of either, TFRecord, MNIST's or CIFAR-10's files.\nThe files "
      "are "
      "sent to the daemon unless --remote says that they lie on its machine.");
  command->footer(
      "Examples:\n"
      "  zoo dataset create flowers ./flower_photos --validation 0.2\n"
      "  zoo dataset create fashion train-images-idx3-ubyte.gz train-labels-idx1-ubyte.gz");
  const auto options = std::make_shared<DatasetOptions>();
  command->add_option("name", options->name, "What to call it")->required();
  command->add_option("path", options->paths, "A folder, an archive, or files")->required();
  AddDatasetOptions(*command, *options);
  command->add_option("--note", options->note, "Words to keep with the dataset");
  command->callback([options, &invocation] {
    if (options->remote && options->paths.size() != 1) {
      throw CLI::ValidationError("--remote", "expected one path on the daemon's machine");
    }
    invocation.action = [options](Session& session) { return Create(*options, session); };
  });
}

void AddItems(CLI::App& group, Invocation& invocation) {
  CLI::App* command = group.add_subcommand("items", "The images of a dataset");
  command->footer("Example:\n  zoo dataset items flowers --split validation --label 3");
  const auto options = std::make_shared<ItemsOptions>();
  command->add_option("name", options->dataset, "The dataset")->required();
  command->add_option("--split", options->split, "Only these: train, validation or test")
      ->check(CLI::IsMember({"train", "validation", "test"}));
  command->add_option("--label", options->label, "Only images of this class, by its number")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--max", options->max, "At most so many; 0 for all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->callback([options, &invocation] {
    invocation.action = [options](Session& session) { return ShowItems(*options, session); };
  });
}

void AddShow(CLI::App& group, Invocation& invocation) {
  CLI::App* command =
      group.add_subcommand("show", "Classes, splits, and the images that were left out");
  command->footer("Example:\n  zoo dataset show flowers");
  const auto name = std::make_shared<std::string>();
  command->add_option("name", *name, "The dataset")->required();
  command->callback([name, &invocation] {
    invocation.action = [name](Session& session) -> absl::Status {
      ZOOD_ASSIGN_OR_RETURN(const v1::Dataset dataset, session.client.GetDataset(*name));
      Print(session, dataset, DescribeDataset(dataset));
      return absl::OkStatus();
    };
  });
}

void AddRemove(CLI::App& group, Invocation& invocation) {
  CLI::App* command = group.add_subcommand("rm", "Remove a dataset; versions trained on it stay");
  command->footer("Example:\n  zoo dataset rm flowers");
  const auto options = std::make_shared<RemoveOptions>();
  command->add_option("name", options->dataset, "The dataset")->required();
  command->add_flag("-f,--force", options->force,
                    "Even if unfinished jobs need it; those that still wait will fail");
  command->callback([options, &invocation] {
    invocation.action = [options](Session& session) { return Remove(*options, session); };
  });
}

}  // namespace

void AddDatasetOptions(CLI::App& command, DatasetOptions& options, const std::string& group) {
  command
      .add_flag("--remote", options.remote,
                "The path is on the daemon's machine, under its --model-root")
      ->group(group);
  command
      .add_option("--labels", options.labels,
                  "Class names in the order of their numbers, one a line (default: the source's)")
      ->group(group);
  command
      .add_option("--validation", options.validation,
                  "Share of the images to validate on, where the source does not say "
                  "(default: 0.1)")
      ->check(CLI::Range(0.0, 1.0))
      ->group(group);
  command.add_option("--test", options.test, "Share of the images to test on (default: 0)")
      ->check(CLI::Range(0.0, 1.0))
      ->group(group);
  command
      .add_option("--layout", options.layout,
                  "What the outermost folders are: classes, splits, or auto, which tells by their "
                  "names and contents and asks where it is not clear (default)")
      ->check(CLI::IsMember({"auto", "classes", "splits"}))
      ->group(group);
  command.add_option("--split-seed", options.split_seed, "Splits another way")->group(group);
}

absl::StatusOr<v1::Dataset> MakeDataset(const DatasetOptions& options, Client& client) {
  ZOOD_ASSIGN_OR_RETURN(const v1::DatasetSpec spec, ToSpec(options));
  Progress progress;
  const auto show = [&](const v1::DatasetProgress& at) { Show(progress, at); };
  if (options.remote) {
    v1::ImportDatasetRequest request;
    *request.mutable_spec() = spec;
    request.set_path(options.paths.front());
    return client.ImportDataset(request, show);
  }
  ZOOD_ASSIGN_OR_RETURN(const DatasetFiles files, FilesOf(options.paths));
  progress.Clear();
  PrintLeftOut(files.left_out);
  return client.UploadDataset(spec, files.files, show);
}

std::string DatasetNameOf(const std::string& path) {
  std::error_code ignored;
  const std::filesystem::path whole = std::filesystem::absolute(path, ignored).lexically_normal();
  std::string stem = (whole.has_filename() ? whole : whole.parent_path()).filename().string();
  for (const char* end : {".gz", ".xz", ".bz2", ".tgz", ".zip", ".tar", ".csv"}) {
    if (stem.size() > std::string(end).size() && stem.ends_with(end)) {
      stem.resize(stem.size() - std::string(end).size());
    }
  }
  std::string name;
  for (const char c : stem) {
    const bool upper = c >= 'A' && c <= 'Z';
    const bool alphanumeric = upper || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (name.empty() && !alphanumeric) continue;
    name += upper                                  ? static_cast<char>(c - 'A' + 'a')
            : alphanumeric || c == '.' || c == '-' ? c
                                                   : '_';
  }
  return name.substr(0, 128);
}

void AddDatasetCommands(CLI::App& app, Invocation& invocation) {
  CLI::App* group = app.add_subcommand("dataset", "Labeled images that jobs learn from");
  group->require_subcommand(1);
  AddCreate(*group, invocation);
  CLI::App* list = group->add_subcommand("list", "The datasets that the daemon keeps");
  list->callback([&invocation] { invocation.action = List; });
  AddShow(*group, invocation);
  AddItems(*group, invocation);
  AddRemove(*group, invocation);
}

}  // namespace zood::client::cli
