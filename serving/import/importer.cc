#include "serving/import/importer.h"

#include <algorithm>
#include <cmath>
#include <new>
#include <optional>
#include <utility>

#include "base/checksum.h"
#include "base/labels_text.h"
#include "base/mapping.h"
#include "base/status.h"
#include "base/unicode.h"
#include "checkpoint/reader.h"
#include "engine/executable.h"
#include "graph/operations.h"
#include "netdef/formats.h"
#include "serving/import/import_weights.h"
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

std::string FormatName(checkpoint::Format format) {
  switch (format) {
    case checkpoint::Format::kTensorFlowV1:
      return "tensorflow_v1";
    case checkpoint::Format::kTensorFlowV2:
      return "tensorflow_v2";
    case checkpoint::Format::kCaffe:
      return "caffe";
    case checkpoint::Format::kPyTorch:
      return "pytorch";
  }
  return "unknown";
}

// What a network answers to some picture, once and slowly: only whether it answers at all counts.
absl::Status CheckComputes(std::shared_ptr<const graph::Graph> graph, const TensorMap& weights) {
  const engine::CompileOptions options{.batch_sizes = {1}, .end_points = {}, .threads = 1};
  ZOOD_ASSIGN_OR_RETURN(auto executable, engine::Executable::Compile(graph, weights, options));
  ZOOD_ASSIGN_OR_RETURN(auto execution, engine::Execution::Create(std::move(executable)));
  std::uint32_t state = 1;
  for (float& value : execution->input(1)) {
    state = state * 1664525 + 1013904223;  // Numerical Recipes' generator
    value = static_cast<float>(state >> 8) * 0x1p-23f - 1;
  }
  ZOOD_RETURN_IF_ERROR(execution->Run(1));
  if (!std::ranges::all_of(execution->logits(), [](float x) { return std::isfinite(x); })) {
    return InvalidArgument(
        "the network answers a picture with numbers that are not finite: are these the weights of "
        "a trained network, and is it the right network?");
  }
  return absl::OkStatus();
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

  absl::StatusOr<store::PublishedVersion> Run() {
    const MappingWatch watch;
    const auto version = Prepare();
    // Before any other error, which may have come of the bytes that are missing.
    ZOOD_RETURN_IF_ERROR(watch.Check());
    if (!version.ok()) return version.status();
    return importer_.catalogue_.Publish(*version, weights_);
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
    ZOOD_RETURN_IF_ERROR(CheckComputes(graph_, weights_));
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

  absl::Status ReadNetwork() {
    weight_files_ = request_.files;
    netdef::NetworkSpec spec = request_.network;
    std::string where = "the network";
    if (!request_.network_file.empty()) {
      ZOOD_ASSIGN_OR_RETURN(where, FindFile(request_.files, request_.network_file, "network file"));
      ZOOD_ASSIGN_OR_RETURN(spec.source, ReadText(where, "network file"));
      ZOOD_ASSIGN_OR_RETURN(spec.format, netdef::FormatOf(spec.source, where));
      std::erase(weight_files_, where);
      others_.push_back({where, "prototxt"});
    }
    ZOOD_ASSIGN_OR_RETURN(network_, netdef::BuildNetwork(spec, importer_.zoo_, where));
    graph_ = network_->graph();
    const double operations = graph::CountOperations(*graph_);
    if (operations > importer_.options_.max_operations) {
      return ResourceExhausted(
          "the network takes {:.1e} operations for one picture; {:.1e} are allowed", operations,
          importer_.options_.max_operations);
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
    ZOOD_ASSIGN_OR_RETURN(const auto reader,
                          checkpoint::Open(files_, weight_files_.front(), plan.limits));
    for (const std::string& file : weight_files_) {
      const bool belongs = std::ranges::any_of(reader->files(), [&](const std::string& part) {
        return LastComponent(part) == LastComponent(file) ||
               LastComponent(part).starts_with(std::string(LastComponent(file)) + ".");
      });
      if (!belongs && file != weight_files_.front()) {
        return InvalidArgument("'{}' is no part of the checkpoint '{}', and nothing else names it",
                               file, weight_files_.front());
      }
    }
    format_ = FormatName(reader->format());
    weight_paths_.assign(reader->files().begin(), reader->files().end());
    ZOOD_ASSIGN_OR_RETURN(
        weights_,
        ImportWeights(*reader, *network_, request_.prefer_moving_averages,
                      [&](std::int64_t done, std::int64_t total) { return Read(done, total); }));
    claim_.Resize(plan.compiling_bytes);
    return graph_->CheckWeights(weights_);
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
  TensorMap weights_;
  std::vector<std::string> weight_files_;  // of the request
  std::vector<std::string> weight_paths_;  // of the reader
  std::string format_;
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
  if (!request.network_file.empty()) return absl::OkStatus();  // it is read first
  if (request.network.source.size() > options_.max_text_bytes) {
    return InvalidArgument("the network's description has {} bytes; {} are allowed",
                           request.network.source.size(), options_.max_text_bytes);
  }
  return netdef::BuildNetwork(request.network, zoo_).status();
}

absl::StatusOr<store::PublishedVersion> Importer::Import(FileSystem& files,
                                                         const ImportRequest& request,
                                                         const ImportProgress& progress,
                                                         const std::function<bool()>& cancelled) {
  ZOOD_RETURN_IF_ERROR(Check(request));
  Mutex mutex;
  CondVar changed;
  std::optional<absl::StatusOr<store::PublishedVersion>> result;
  worker_.Post([&] {
    auto published = [&]() -> absl::StatusOr<store::PublishedVersion> {
      try {
        return Job(*this, files, request, progress, cancelled).Run();
      } catch (const std::bad_alloc&) {
        return ResourceExhausted(
            "the import of {} needs more memory than there is; unload a model, or lower "
            "--memory-budget if other programs need the memory",
            request.model);
      }
    }();
    MutexLock lock(mutex);
    result = std::move(published);
    changed.NotifyAll();
  });
  MutexLock lock(mutex);
  while (!result) changed.Wait(mutex);
  if (result->ok()) return *std::move(result);
  return absl::Status(result->status().code(),
                      DisplayPath(request, std::string(result->status().message())));
}

}  // namespace zood::serving
