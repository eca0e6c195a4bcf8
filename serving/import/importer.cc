#include "serving/import/importer.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <utility>

#include "base/checksum.h"
#include "base/labels_text.h"
#include "base/mapping.h"
#include "base/status.h"
#include "base/tensorflow/files.h"
#include "base/text.h"
#include "base/wire.h"
#include "checkpoint/reader.h"
#include "graph/operations.h"
#include "netdef/formats.h"
#include "serving/import/import_weights.h"
#include "serving/import/trial_run.h"
#include "serving/version_loader.h"
#include "store/names.h"

namespace zood::serving {
namespace {

std::string_view LastComponent(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

// Where the file of this name is among `files`.
absl::StatusOr<std::string> FindFile(const std::vector<std::string>& files, const std::string& name,
                                     const char* what) {
  for (const std::string& file : files) {
    if (file == name || LastComponent(file) == LastComponent(name)) return file;
  }
  return InvalidArgument("the {} '{}' is not among the import's files", what, name);
}

// The graph and the state file that TensorFlow writes beside a checkpoint: not looked at.
bool IsBesideCheckpoint(std::string_view file) {
  return LastComponent(file) == "checkpoint" || file.ends_with(".meta");
}

// Whether the reader, which has the files `parts`, was opened for `file` too.
bool BelongsTo(std::span<const std::string> parts, std::string_view file) {
  const std::string prefix = PrefixOfPart(file).value_or(std::string(file));
  return std::ranges::any_of(parts, [&](const std::string& part) {
    return LastComponent(part) == LastComponent(file) ||
           LastComponent(part).starts_with(std::string(LastComponent(prefix)) + ".");
  });
}

}  // namespace

// One import, from its files to its version.
class Importer::Job {
 public:
  Job(Importer& importer, FileSystem& files, const ImportRequest& request,
      const ImportProgress& progress, const std::function<bool()>& cancelled)
      : importer_(importer),
        files_(files),
        request_(request),
        progress_(progress),
        cancelled_(cancelled) {}

  absl::StatusOr<Imported> Run() {
    const MappingWatch watch;
    const auto version = Prepare();
    // Before any other error, which may have come of the bytes that are missing.
    ZOOD_RETURN_IF_ERROR(watch.Check());
    if (!version.ok()) return version.status();
    // What will be loaded is what was stored.
    const auto check = [&](const store::LoadedVersion& stored) {
      return PartsOf(stored, importer_.zoo_).status();
    };
    ZOOD_ASSIGN_OR_RETURN(auto published,
                          importer_.catalogue_.Publish(*version, mapped_.weights, check));
    return Imported{.published = std::move(published), .report = std::move(report_)};
  }

 private:
  absl::StatusOr<store::NewVersion> Prepare() {
    ZOOD_RETURN_IF_ERROR(ReadNetwork());
    ZOOD_RETURN_IF_ERROR(ReadLabels());
    ZOOD_RETURN_IF_ERROR(FindMean());
    ZOOD_RETURN_IF_ERROR(ReadVariables());
    ZOOD_RETURN_IF_ERROR(Gone());
    ZOOD_RETURN_IF_ERROR(CheckPreprocess());
    progress_(ImportStage::kChecking, 0, 0);
    ZOOD_RETURN_IF_ERROR(
        TrialRun(graph_, mapped_.weights, importer_.options_.max_trial_run, cancelled_));
    ZOOD_RETURN_IF_ERROR(Gone());
    progress_(ImportStage::kPublishing, 0, 0);
    return Describe();
  }

  absl::Status Gone() const {
    return cancelled_ && cancelled_() ? Cancelled("the caller has gone") : absl::OkStatus();
  }

  // Told at most a hundred times: there may be very many variables.
  absl::Status Read(std::int64_t done, std::int64_t total) const {
    const auto percent = [&](std::int64_t of) {
      return of * 100 / std::max<std::int64_t>(1, total);
    };
    if (done == 0 || percent(done) != percent(done - 1)) {
      progress_(ImportStage::kReading, done, total);
    }
    return Gone();
  }

  absl::StatusOr<std::string> ReadText(const std::string& path, const char* what) {
    ZOOD_ASSIGN_OR_RETURN(const std::uint64_t size, files_.Size(path));
    if (size > importer_.options_.max_text_bytes) {
      return InvalidArgument("the {} '{}' has {} bytes; {} are allowed", what, path, size,
                             importer_.options_.max_text_bytes);
    }
    if (size == 0) return InvalidArgument("the {} '{}' is empty", what, path);
    ZOOD_ASSIGN_OR_RETURN(const auto contents, files_.Open(path));
    const auto bytes = contents->bytes();
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }

  // The file that holds weights and their network alike.
  absl::StatusOr<std::string> FindModelFile() {
    for (const std::string& file : request_.files) {
      const auto contents = files_.Open(file);
      if (!contents.ok()) continue;
      const auto* format = netdef::FormatOf(AsText((*contents)->bytes()));
      if (format != nullptr && format->has_weights) return file;
    }
    return InvalidArgument(
        "the import names no network, and none of its files describes one together with its "
        "weights, as ONNX's models do: name an architecture (ListArchitectures), or a .prototxt");
  }

  absl::Status ReadNetwork() {
    weight_files_ = request_.files;
    netdef::NetworkSpec spec = request_.network;
    std::string where = "the network";
    if (!request_.network_file.empty() || spec.format.empty()) {
      if (request_.network_file.empty()) {
        ZOOD_ASSIGN_OR_RETURN(where, FindModelFile());
      } else {
        ZOOD_ASSIGN_OR_RETURN(where,
                              FindFile(request_.files, request_.network_file, "network file"));
      }
      ZOOD_ASSIGN_OR_RETURN(const auto contents, files_.Open(where));
      const std::string_view file = AsText(contents->bytes());
      ZOOD_ASSIGN_OR_RETURN(const netdef::NetworkSpec described,
                            netdef::Describe(file, where, importer_.options_.max_text_bytes));
      spec.format = described.format;
      spec.source = described.source;
      if (!netdef::FormatOf(file)->has_weights) {
        std::erase(weight_files_, where);
        others_.push_back({where, "prototxt"});
      }
    }
    ZOOD_ASSIGN_OR_RETURN(network_, netdef::BuildNetwork(spec, importer_.zoo_, where));
    graph_ = network_->graph();
    const double operations = graph::CountOperations(*graph_);
    if (operations > importer_.options_.max_operations) {
      return ResourceExhausted(
          "the network takes {:.1e} operations for one image; {:.1e} are allowed", operations,
          importer_.options_.max_operations);
    }
    const graph::LargestStep largest = graph::FindLargestStep(*graph_);
    if (largest.operations > importer_.options_.max_layer_operations) {
      return ResourceExhausted(
          "the layer '{}' takes {:.1e} operations for one image; {:.1e} are allowed",
          Printable(largest.node->name), largest.operations,
          importer_.options_.max_layer_operations);
    }
    return absl::OkStatus();
  }

  absl::Status ReadLabels() {
    const auto classes = static_cast<std::size_t>(network_->num_classes());
    if (const auto* given = std::get_if<std::vector<std::string>>(&request_.labels)) {
      labels_ = *given;
    } else if (const auto* file = std::get_if<LabelFile>(&request_.labels)) {
      ZOOD_ASSIGN_OR_RETURN(const std::string path,
                            FindFile(request_.files, file->file, "label file"));
      ZOOD_ASSIGN_OR_RETURN(const std::string text, ReadText(path, "label file"));
      ZOOD_ASSIGN_OR_RETURN(labels_, ParseLabels(text, importer_.DisplayPath(request_, path)));
      std::erase(weight_files_, path);
      others_.push_back({path, "labels"});
    } else {
      labels_ = network_->Labels();
      return absl::OkStatus();
    }
    if (labels_.size() != classes) {
      return InvalidArgument("there are {} labels, but the network has {} classes", labels_.size(),
                             classes);
    }
    return absl::OkStatus();
  }

  absl::Status FindMean() {
    if (request_.mean_file.empty()) return absl::OkStatus();
    if (request_.preprocess) {
      return InvalidArgument(
          "the import has a mean file and preprocessing of its own; put the mean into the "
          "preprocessing, or leave that out");
    }
    ZOOD_ASSIGN_OR_RETURN(mean_path_, FindFile(request_.files, request_.mean_file, "mean file"));
    std::erase(weight_files_, mean_path_);
    others_.push_back({mean_path_, "mean"});
    return absl::OkStatus();
  }

  absl::Status ReadVariables() {
    if (weight_files_.empty()) return InvalidArgument("the import names no file with weights");
    const MemoryPlan plan =
        PlanMemory(*graph_, importer_.options_.limits, importer_.budget_.left());
    ZOOD_ASSIGN_OR_RETURN(claim_,
                          importer_.budget_.Claim(plan.bytes, "the import of " + request_.model));
    // Any of them names the checkpoint; best one that holds weights.
    const auto beside = [](const std::string& file) { return IsBesideCheckpoint(file); };
    auto first = std::ranges::find_if_not(weight_files_, beside);
    if (first == weight_files_.end()) first = weight_files_.begin();
    ZOOD_ASSIGN_OR_RETURN(const auto reader, checkpoint::Open(files_, *first, plan.limits));
    for (const std::string& file : weight_files_) {
      if (file != *first && !beside(file) && !BelongsTo(reader->files(), file)) {
        return InvalidArgument("'{}' is no part of the checkpoint '{}', and nothing else names it",
                               file, *first);
      }
    }
    format_ = std::string(checkpoint::Id(reader->format()));
    weight_paths_.assign(reader->files().begin(), reader->files().end());
    ZOOD_ASSIGN_OR_RETURN(mapped_, ImportWeights(*reader, *network_, request_.weights,
                                                 [&](std::int64_t done, std::int64_t total) {
                                                   return Read(done, total);
                                                 }));
    report_ = ReportOf(mapped_, format_);
    if (labels_.empty()) report_.assumptions.push_back("no labels were given: classes are numbers");
    if (!reader->remark().empty()) {
      report_.choices.push_back(importer_.DisplayPath(request_, reader->remark()));
    }
    claim_.Resize(plan.compiling_bytes);
    return graph_->CheckWeights(mapped_.weights);
  }

  absl::Status CheckPreprocess() {
    if (request_.preprocess) {
      preprocess_ = *request_.preprocess;
    } else {
      std::optional<Tensor> mean;
      if (!mean_path_.empty()) {
        ZOOD_ASSIGN_OR_RETURN(mean, ReadMean(files_, mean_path_));
      }
      ZOOD_ASSIGN_OR_RETURN(netdef::NetworkPreprocessing own,
                            network_->Preprocessing(mean ? &*mean : nullptr));
      preprocess_ = std::move(own.spec);
      std::ranges::move(own.found, std::back_inserter(report_.choices));
      std::ranges::move(own.unused, std::back_inserter(report_.choices));
      std::ranges::move(own.assumed, std::back_inserter(report_.assumptions));
    }
    ZOOD_ASSIGN_OR_RETURN(const Shape made, image::OutputShape(preprocess_));
    const Shape& wanted = graph_->input_shape();
    if (!std::ranges::equal(made, wanted.dims().subspan(1))) {
      return InvalidArgument("the preprocessing makes images of shape {}, but the network takes {}",
                             made.ToString(), wanted.ToString());
    }
    return absl::OkStatus();
  }

  absl::StatusOr<store::Source> SourceOf(const std::string& path, const std::string& format) {
    ZOOD_ASSIGN_OR_RETURN(const auto contents, files_.Open(path));
    Sha256 sha;
    sha.Update(contents->bytes());
    return store::Source{.uri = importer_.DisplayPath(request_, path),
                         .sha256 = sha.HexDigest(),
                         .bytes = contents->bytes().size(),
                         .format = format};
  }

  absl::StatusOr<store::NewVersion> Describe() {
    store::NewVersion version{.model = request_.model,
                              .network = netdef::ToJson(network_->spec()),
                              .preprocess = image::ToJson(preprocess_),
                              .labels = labels_,
                              .tags = request_.tags,
                              .aliases = request_.aliases};
    version.provenance.build = importer_.options_.build;
    version.provenance.note = request_.note;
    version.import_report = ToJson(report_);
    for (const std::string& path : weight_paths_) {
      ZOOD_ASSIGN_OR_RETURN(version.provenance.sources.emplace_back(), SourceOf(path, format_));
    }
    for (const auto& [path, format] : others_) {
      ZOOD_ASSIGN_OR_RETURN(version.provenance.sources.emplace_back(), SourceOf(path, format));
    }
    return version;
  }

  Importer& importer_;
  FileSystem& files_;
  const ImportRequest& request_;
  const ImportProgress& progress_;
  const std::function<bool()>& cancelled_;

  // What the steps find out.
  netdef::NetworkPtr network_;
  std::shared_ptr<const graph::Graph> graph_;
  std::vector<std::string> labels_;
  image::PreprocessSpec preprocess_;
  MemoryClaim claim_;
  models::MappedWeights mapped_;
  std::vector<std::string> weight_files_;  // of the request
  std::vector<std::string> weight_paths_;  // of the reader
  std::string format_;
  ImportReport report_;
  std::string mean_path_;
  std::vector<std::pair<std::string, std::string>> others_;  // path, format
};

Importer::Importer(Catalogue& catalogue, const models::Zoo& zoo, MemoryBudget& budget,
                   ImporterOptions options)
    : catalogue_(catalogue),
      zoo_(zoo),
      budget_(budget),
      options_(std::move(options)),
      worker_({.name = "zood-importer", .threads = 1, .nice = 10}) {}

std::string Importer::DisplayPath(const ImportRequest& request, std::string text) {
  if (request.display_directory.empty()) return text;
  const std::string prefix = request.display_directory + "/";
  for (std::size_t at = text.find(prefix); at != std::string::npos; at = text.find(prefix, at)) {
    text.erase(at, prefix.size());
  }
  return text;
}

absl::Status Importer::Check(const ImportRequest& request) const {
  ZOOD_RETURN_IF_ERROR(store::CheckModelName(request.model));
  for (const std::string& alias : request.aliases) {
    ZOOD_RETURN_IF_ERROR(store::CheckAlias(alias));
  }
  // A file that describes the network is read first.
  if (!request.network_file.empty() || request.network.format.empty()) return absl::OkStatus();
  if (request.network.source.size() > options_.max_text_bytes) {
    return InvalidArgument("the network's description has {} bytes; {} are allowed",
                           request.network.source.size(), options_.max_text_bytes);
  }
  return netdef::BuildNetwork(request.network, zoo_).status();
}

namespace {

// What the caller and the importer's thread tell each other.
struct Exchange {
  Mutex mutex;
  CondVar changed;
  bool begun ABSL_GUARDED_BY(mutex) = false;
  bool given_up ABSL_GUARDED_BY(mutex) = false;
  std::optional<absl::StatusOr<Imported>> result ABSL_GUARDED_BY(mutex);
};

}  // namespace

absl::StatusOr<Imported> Importer::Import(FileSystem& files, const ImportRequest& request,
                                          const ImportProgress& progress,
                                          const std::function<bool()>& cancelled) {
  ZOOD_RETURN_IF_ERROR(Check(request));
  const auto exchange = std::make_shared<Exchange>();
  worker_.Post([&, this, exchange] {
    {
      const MutexLock lock(exchange->mutex);
      if (exchange->given_up) return;  // and the references lead nowhere
      exchange->begun = true;
    }
    auto imported = [&]() -> absl::StatusOr<Imported> {
      try {
        return Job(*this, files, request, progress, cancelled).Run();
      } catch (const std::bad_alloc&) {
        return ResourceExhausted(
            "the import of {} needs more memory than there is; unload a model, or lower "
            "--memory-budget if other programs need the memory",
            request.model);
      }
    }();
    const MutexLock lock(exchange->mutex);
    exchange->result = std::move(imported);
    exchange->changed.NotifyAll();
  });
  constexpr auto kLook = std::chrono::milliseconds(50);
  const MutexLock lock(exchange->mutex);
  while (!exchange->result) {
    exchange->changed.WaitUntil(exchange->mutex, std::chrono::steady_clock::now() + kLook);
    // One that waits for another import need not wait on for nobody.
    if (!exchange->begun && cancelled && cancelled()) {
      exchange->given_up = true;
      return Cancelled("the caller has gone");
    }
  }
  absl::StatusOr<Imported>& result = *exchange->result;
  if (result.ok()) return std::move(result);
  return absl::Status(result.status().code(),
                      DisplayPath(request, std::string(result.status().message())));
}

}  // namespace zood::serving
