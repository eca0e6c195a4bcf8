// The calls of client.h that classify files and bytes.
#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "base/file.h"
#include "base/status.h"
#include "client/client.h"
#include "client/status.h"

namespace zood::client {
namespace {

// A request is a message: well below the daemon's limit of one, which is 64 MiB unless set.
constexpr std::size_t kRequestBytes = std::size_t{16} << 20;
constexpr std::size_t kRequestImages = 32;

v1::ClassifyRequest MakeRequest(const v1::ModelSpec& model, const ClassifyOptions& options) {
  v1::ClassifyRequest request;
  *request.mutable_model() = model;
  request.set_top_k(options.top_k);
  request.set_threshold(options.threshold);
  request.set_logits(options.logits);
  request.set_outcome_per_image(options.outcome_per_image);
  for (const std::string& name : options.end_points) request.add_end_points(name);
  return request;
}

absl::StatusOr<std::string> ReadImage(const std::string& path) {
  ZOOD_ASSIGN_OR_RETURN(const auto contents, FileSystem::Native().Open(path));
  const auto bytes = contents->bytes();
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

void SetError(const absl::Status& status, v1::ImageResult& result) {
  result.mutable_error()->set_code(static_cast<int>(status.code()));
  result.mutable_error()->set_message(std::string(status.message()));
}

// Whether the daemon may take fewer images where it refused several: its limits of images
// (--max-images-per-request) and bytes (--max-message-bytes) are its operator's.
bool MayBeTooMany(const absl::Status& status) {
  return absl::IsResourceExhausted(status) || absl::IsInvalidArgument(status);
}

// Sends files in requests of a size that the daemon takes, and puts the answers together.
class FileClassifier {
 public:
  using Progress = Client::ClassifyProgressFn;

  FileClassifier(Client& client, const v1::ModelSpec& model, const std::vector<std::string>& paths,
                 const ClassifyOptions& options)
      : client_(client), pinned_(model), paths_(paths), options_(options) {
    for (std::size_t i = 0; i < paths.size(); ++i) all_.add_results();
  }

  absl::StatusOr<v1::ClassifyResponse> Run(const Progress& progress) {
    for (std::size_t next = 0; next < paths_.size();) {
      ZOOD_ASSIGN_OR_RETURN(Batch batch, Fill(next));
      if (!batch.indices.empty()) {
        const absl::StatusOr<v1::ClassifyResponse> answer = client_.Classify(batch.request);
        if (answer.ok()) {
          ZOOD_RETURN_IF_ERROR(Take(batch, *answer));
        } else {
          ZOOD_ASSIGN_OR_RETURN(const bool again, Refused(batch, answer.status()));
          if (again) continue;
        }
      }
      next = batch.end;
      if (progress) {
        progress(static_cast<std::int64_t>(next), static_cast<std::int64_t>(paths_.size()));
      }
    }
    return std::move(all_);
  }

 private:
  struct Batch {
    v1::ClassifyRequest request;
    std::vector<std::size_t> indices;  // of the files in it
    std::size_t end = 0;               // the file after its last
  };

  absl::StatusOr<Batch> Fill(std::size_t next) {
    Batch batch{.request = MakeRequest(pinned_, options_), .end = next};
    std::size_t bytes = 0;
    for (; batch.end < paths_.size() && bytes < kRequestBytes && batch.indices.size() < most_;
         ++batch.end) {
      absl::StatusOr<std::string> image = ReadImage(paths_[batch.end]);
      if (!image.ok()) {
        if (!options_.outcome_per_image) return image.status();
        SetError(image.status(), Result(batch.end));
        continue;
      }
      bytes += image->size();
      batch.request.add_images()->set_encoded(*std::move(image));
      batch.indices.push_back(batch.end);
    }
    return batch;
  }

  absl::Status Take(const Batch& batch, const v1::ClassifyResponse& answer) {
    if (static_cast<std::size_t>(answer.results_size()) != batch.indices.size()) {
      return Internal("the daemon answered {} results for {} images", answer.results_size(),
                      batch.indices.size());
    }
    // An alias may move between two requests; the results shall be those of one version.
    pinned_.set_version(answer.model().version());
    *all_.mutable_model() = answer.model();
    all_.set_labels_digest(answer.labels_digest());
    for (std::size_t i = 0; i < batch.indices.size(); ++i) {
      Result(batch.indices[i]) = answer.results(static_cast<int>(i));
    }
    all_.set_total_ms(all_.total_ms() + answer.total_ms());
    return absl::OkStatus();
  }

  // True when the files are to be sent again, fewer at a time.
  absl::StatusOr<bool> Refused(const Batch& batch, const absl::Status& status) {
    std::vector<std::string> sent;
    for (const std::size_t index : batch.indices) sent.push_back(paths_[index]);
    const absl::Status named = NameImage(status, sent);
    if (named != status || !MayBeTooMany(named)) return named;
    if (sent.size() > 1) {
      most_ = sent.size() / 2;
      return true;
    }
    if (options_.outcome_per_image && paths_.size() > 1 && IsTooLarge(named)) {
      SetError(named, Result(batch.indices.front()));
      return false;
    }
    return paths_.size() == 1 ? named : Annotate(named, sent.front());
  }

  v1::ImageResult& Result(std::size_t index) {
    return *all_.mutable_results(static_cast<int>(index));
  }

  Client& client_;
  v1::ModelSpec pinned_;
  const std::vector<std::string>& paths_;
  const ClassifyOptions& options_;
  std::size_t most_ = kRequestImages;
  v1::ClassifyResponse all_;
};

}  // namespace

absl::StatusOr<v1::ClassifyResponse> Client::ClassifyBytes(const v1::ModelSpec& model,
                                                           const std::vector<std::string>& images,
                                                           const ClassifyOptions& options) {
  v1::ClassifyRequest request = MakeRequest(model, options);
  for (const std::string& image : images) request.add_images()->set_encoded(image);
  return Classify(request);
}

absl::StatusOr<v1::ClassifyResponse> Client::ClassifyFiles(const v1::ModelSpec& model,
                                                           const std::vector<std::string>& paths,
                                                           const ClassifyOptions& options,
                                                           const ClassifyProgressFn& progress) {
  if (paths.empty()) return InvalidArgument("there is no image to classify");
  for (const std::string& path : paths) {
    if (!options.outcome_per_image) ZOOD_RETURN_IF_ERROR(FileSystem::Native().Open(path).status());
  }
  return FileClassifier(*this, model, paths, options).Run(progress);
}

}  // namespace zood::client
