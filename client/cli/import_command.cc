// zoo import: a checkpoint becomes a version of a model.
#include <fmt/format.h>
#include <google/protobuf/util/json_util.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/status.h"
#include "base/tensorflow/files.h"
#include "base/text.h"
#include "client/cli/invocation.h"
#include "client/cli/progress.h"
#include "client/cli/tables/import_table.h"
#include "client/cli/tables/table.h"

namespace zood::client::cli {
namespace {

struct Options {
  std::vector<std::string> files;
  std::string name;
  std::string architecture;
  std::string prototxt;
  std::string mean_file;
  std::string output;
  std::string labels;
  std::string preprocess;
  std::string note;
  int classes = 0;
  std::string size;
  int channels = 0;
  std::vector<std::string> aliases;
  bool load = false;
  bool no_moving_averages = false;
  std::string weights_in;
  std::vector<std::string> leave_aside;
  bool remote = false;
};

std::string NameOf(const std::string& path) {
  return Escaped(std::filesystem::path(path).filename().string());
}

absl::Status SetPreprocessing(const std::string& path, v1::ImportSpec& spec) {
  ZOOD_ASSIGN_OR_RETURN(const auto contents, FileSystem::Native().Open(path));
  const auto bytes = contents->bytes();
  const auto parsed = google::protobuf::util::JsonStringToMessage(
      std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()),
      spec.mutable_preprocessing());
  if (parsed.ok()) return absl::OkStatus();
  return InvalidArgument("{}: not a zood.v1.Preprocessing as JSON: {}", path,
                         parsed.message().ToString());
}

absl::StatusOr<v1::ImportSpec> ToSpec(const Options& options) {
  v1::ImportSpec spec;
  spec.set_model(options.name.empty() ? options.architecture : options.name);
  if (!options.prototxt.empty()) {
    spec.mutable_caffe()->set_file(NameOf(options.prototxt));
    if (!options.mean_file.empty()) spec.mutable_caffe()->set_mean_file(NameOf(options.mean_file));
    spec.set_output(options.output);
  } else {
    v1::ZooNetwork* network = spec.mutable_zoo();
    network->set_architecture(options.architecture);
    network->set_num_classes(options.classes);
    network->set_channels(options.channels);
    if (!options.size.empty()) ZOOD_RETURN_IF_ERROR(SetSize(options.size, *network));
    spec.set_output(options.output);
  }
  if (!options.labels.empty()) spec.set_label_file(NameOf(options.labels));
  if (!options.preprocess.empty()) ZOOD_RETURN_IF_ERROR(SetPreprocessing(options.preprocess, spec));
  if (options.no_moving_averages) spec.set_prefer_moving_averages(false);
  spec.set_weights_in(options.weights_in);
  for (const std::string& pattern : options.leave_aside) spec.add_leave_aside(pattern);
  for (const std::string& alias : options.aliases) spec.add_aliases(alias);
  spec.set_note(options.note);
  spec.set_load(options.load);
  return spec;
}

// The files that accompany the weights.
std::vector<std::string> OtherFiles(const Options& options) {
  std::vector<std::string> files;
  for (const std::string& file : {options.prototxt, options.mean_file, options.labels}) {
    if (!file.empty()) files.push_back(file);
  }
  return files;
}

std::string StageName(v1::ImportProgress::Stage stage) {
  switch (stage) {
    case v1::ImportProgress::RECEIVING:
      return "sending";
    case v1::ImportProgress::READING:
      return "reading";
    case v1::ImportProgress::CHECKING:
      return "checking";
    case v1::ImportProgress::PUBLISHING:
      return "publishing";
    case v1::ImportProgress::LOADING:
      return "loading";
    default:
      return "importing";
  }
}

void Show(Progress& progress, const v1::ImportProgress& at) {
  std::string figures;
  if (at.stage() == v1::ImportProgress::RECEIVING) {
    figures = fmt::format("{} of {}", FormatBytes(at.done()), FormatBytes(at.total()));
  } else if (at.total() > 0) {
    figures = fmt::format("{} of {}", at.done(), FormatCount(at.total(), "variable"));
  }
  progress.Update(StageName(at.stage()), at.done(), at.total(), figures);
}

// The checkpoints that the weight files are of, none twice.
absl::StatusOr<std::vector<std::string>> CheckpointsOf(const Options& options) {
  std::vector<std::string> found;
  for (const std::string& file : options.files) {
    // A shell's "folder/*" names the state file beside what it speaks of.
    if (options.files.size() > 1 && IsStateFile(FileSystem::Native(), file)) continue;
    ZOOD_ASSIGN_OR_RETURN(const FoundCheckpoint checkpoint, FindCheckpoint(file));
    if (!checkpoint.remark.empty()) fmt::print(stderr, "{}\n", checkpoint.remark);
    if (std::ranges::find(found, checkpoint.path) == found.end()) found.push_back(checkpoint.path);
  }
  return found;
}

absl::StatusOr<v1::Version> Upload(const Options& options, const v1::ImportSpec& spec,
                                   Client& client, const Client::ImportProgressFn& progress) {
  ZOOD_ASSIGN_OR_RETURN(std::vector<std::string> paths, CheckpointsOf(options));
  for (const std::string& path : OtherFiles(options)) paths.push_back(path);
  std::vector<UploadFile> files;
  std::set<std::string> names;
  for (const std::string& path : paths) {
    ZOOD_ASSIGN_OR_RETURN(const std::vector<UploadFile> parts, FilesOfCheckpoint(path));
    for (const UploadFile& part : parts) {
      if (names.insert(part.name).second) files.push_back(part);
    }
  }
  return client.UploadModel(spec, files, progress);
}

absl::StatusOr<v1::Version> ImportRemote(const Options& options, const v1::ImportSpec& spec,
                                         Client& client, const Client::ImportProgressFn& progress) {
  v1::ImportModelRequest request;
  *request.mutable_spec() = spec;
  for (const std::string& path : options.files) request.add_paths(path);
  for (const std::string& path : OtherFiles(options)) request.add_paths(path);
  return client.ImportModel(request, progress);
}

absl::Status Import(const Options& options, Session& session) {
  ZOOD_ASSIGN_OR_RETURN(const v1::ImportSpec spec, ToSpec(options));
  v1::Version version;
  {
    Progress progress;
    const auto show = [&](const v1::ImportProgress& at) { Show(progress, at); };
    ZOOD_ASSIGN_OR_RETURN(version, options.remote
                                       ? ImportRemote(options, spec, session.client, show)
                                       : Upload(options, spec, session.client, show));
  }
  std::string text = fmt::format(
      "{}, version {}: {} in {}, {}\n", version.model(), version.version(),
      FormatBytes(version.bytes()), FormatCount(version.num_tensors(), "tensor"),
      version.status().state() == v1::UNLOADED ? "not loaded yet"
                                               : v1::VersionState_Name(version.status().state()));
  Table report({{"IMPORT"}, {""}});
  AddReport(version.import_report(), report);
  text += report.ToString() + DescribeAnswering(version);
  Print(session, version, text);
  if (version.status().state() == v1::FAILED) {
    return FailedPrecondition("version {} of {} is stored but cannot be loaded: {}",
                              version.version(), version.model(), version.status().error());
  }
  return absl::OkStatus();
}

void AddNetworkOptions(CLI::App& command, Options& options) {
  CLI::Option* arch = command.add_option("-a,--arch", options.architecture,
                                         "The network's name in the zoo (`zoo architectures`)");
  CLI::Option* prototxt = command.add_option(
      "--prototxt", options.prototxt, "The Caffe description of the network, instead of --arch");
  arch->excludes(prototxt);
  command.add_option("--classes", options.classes, "Outputs of the network, if not as published")
      ->check(CLI::PositiveNumber)
      ->excludes(prototxt);
  command.add_option("--size", options.size, "Input in pixels, as 224 or HEIGHTxWIDTH")
      ->excludes(prototxt);
  command.add_option("--channels", options.channels, "Input channels: 1 (gray) or 3")
      ->check(CLI::IsMember({1, 3}))
      ->excludes(prototxt);
  command
      .add_option("--output", options.output,
                  "The blob or layer that answers, where the network has several outputs")
      ->needs(prototxt);
  command.add_option("--mean-file", options.mean_file, "Caffe's mean image (mean.binaryproto)")
      ->needs(prototxt);
}

}  // namespace

void AddImportCommand(CLI::App& app, Invocation& invocation) {
  CLI::App* command =
      app.add_subcommand("import",
                         "Make a version of a model from a checkpoint.\nTensorFlow (a .ckpt file, "
                         "the prefix or any of "
                         "its parts, or their directory), Caffe (.caffemodel), PyTorch (.pth, .th, "
                         ".pt), safetensors, NumPy (.npy, .npz), ONNX (.onnx, which describes its "
                         "network itself).\nThe files are sent to the daemon "
                         "unless --remote says that they lie on its machine.");
  const auto options = std::make_shared<Options>();
  command
      ->add_option("file", options->files, "Weight files; of TensorFlow also a prefix or directory")
      ->required();
  command->add_option("-n,--name", options->name, "The model's name (default: the architecture's)");
  AddNetworkOptions(*command, *options);
  command->add_option("--labels", options->labels,
                      "Class names, one a line, with or without their indices (0:daisy)");
  command->add_option(
      "--preprocess", options->preprocess,
      "Preprocessing instead of the network's own: a zood.v1.Preprocessing as JSON");
  command->add_option("--alias", options->aliases, "Point this alias at the version too")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_option("--note", options->note, "Words to keep with the version");
  command->add_flag("--load", options->load, "Load the version at once");
  command->add_flag("--no-moving-averages", options->no_moving_averages,
                    "Take the plain variables where the file has moving averages too");
  command
      ->add_option("--weights-in", options->weights_in,
                   "The part of the file that holds the network, where several fit: \"student\", "
                   "\"state_dict.module\"; \".\" for what stands outside of all")
      ->type_name("NAME");
  command
      ->add_option(
          "--leave-aside", options->leave_aside,
          "Variables that look like the network's weights but are not (RE2, from the start "
          "of their names)")
      ->type_name("PATTERN")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_flag("--remote", options->remote,
                    "Paths are on the daemon's machine, under its --model-root");
  command->callback([options, &invocation] {
    const bool describes_itself = std::ranges::any_of(
        options->files, [](const std::string& file) { return file.ends_with(".onnx"); });
    if (options->architecture.empty() && options->prototxt.empty() && !describes_itself) {
      throw CLI::ValidationError(
          "import",
          "the network is missing: give --arch (`zoo architectures` lists the "
          "names), --prototxt, or an .onnx file");
    }
    if (options->architecture.empty() && options->name.empty()) {
      throw CLI::ValidationError("import", "--name is missing: only --arch gives a model a name");
    }
    v1::ZooNetwork ignored;
    if (!options->size.empty() && !SetSize(options->size, ignored).ok()) {
      throw CLI::ValidationError(
          "--size", "expected pixels like 224, or HEIGHTxWIDTH; found '" + options->size + "'");
    }
    invocation.action = [options](Session& session) { return Import(*options, session); };
  });
}

}  // namespace zood::client::cli
