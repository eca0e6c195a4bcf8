// A client of the zood daemon: the zood.v1 services as C++ methods.
//
//   ZOOD_ASSIGN_OR_RETURN(zood::client::Client client, zood::client::Client::Connect());
//   ZOOD_ASSIGN_OR_RETURN(zood::v1::ModelSpec model,
//   zood::client::ParseModelSpec("resnet@stable")); ZOOD_ASSIGN_OR_RETURN(auto answer,
//   client.ClassifyFiles(model, {"coffee.jpg"})); fmt::print("{}\n",
//   answer.results(0).classes(0).label());
//
// Every method returns the message that the daemon answered, or an error: the daemon's own with its
// code and words, or one of this library (see IsUnreachable). Messages and their meaning, errors of
// each call included, are described in proto/zood/v1/*.proto.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/tensorflow/files.h"
#include "zood/v1/classifier.pb.h"
#include "zood/v1/common.pb.h"
#include "zood/v1/daemon.pb.h"
#include "zood/v1/datasets.pb.h"
#include "zood/v1/evaluation.pb.h"
#include "zood/v1/fine_tuning.pb.h"
#include "zood/v1/models.pb.h"

namespace zood::client {

struct ClientOptions {
  // HOST:PORT, or any other name that gRPC resolves ("unix:/run/zood.sock").
  std::string address = "localhost:8500";
  std::chrono::milliseconds connect_timeout{5000};
  // Of a call that answers one message, those below aside. Zero: no limit.
  std::chrono::milliseconds call_timeout{120000};
  // Of LoadModel, UnloadModel, PromoteJob, CreateJob, CollectGarbage, and of all calls that stream.
  // Zero: no limit.
  std::chrono::milliseconds long_call_timeout{0};
  // Of one answer. Requests are limited by the daemon (--max-message-bytes).
  int max_answer_bytes = 256 << 20;
};

struct ClassifyOptions {
  int top_k = 5;
  float threshold = 0;                  // classes less probable than this are left out
  std::vector<std::string> end_points;  // intermediate results to answer too
  bool logits = false;
  // An image that cannot be read or classified costs the others nothing: its result holds `error`.
  bool outcome_per_image = false;
};

// A file of an upload: where it is, and what the daemon shall call it.
struct UploadFile {
  std::string path;
  // UTF-8; bytes that are none are escaped. Of a dataset's: with '/' between directories, and at
  // the end of an empty directory; otherwise without any.
  std::string name;
};

// What a dataset is made from.
struct DatasetFiles {
  std::vector<UploadFile> files;
  // What lies there and is not sent, with the reason, for people.
  std::vector<std::string> left_out;
};

// "NAME", "NAME@3" or "NAME@stable". InvalidArgument for anything else.
absl::StatusOr<v1::ModelSpec> ParseModelSpec(const std::string& text);

// The inverse.
std::string ToString(const v1::ModelSpec& spec);

// The checkpoint that a person means by `path`: that of one of its parts ("model.ckpt.index",
// "model.ckpt.meta"), the newest of a directory or its `checkpoint` state file, the one that a
// pattern matches; otherwise `path` itself. Errors as of NewestCheckpoint() and CheckpointOfGlob().
absl::StatusOr<FoundCheckpoint> FindCheckpoint(const std::string& path);

// The files that a checkpoint consists of: `path` itself where it is a file; for a TensorFlow
// prefix ("model.ckpt") its index and data files, or its shards. NotFound where there is none.
absl::StatusOr<std::vector<UploadFile>> FilesOfCheckpoint(const std::string& path);

// The files below a directory, named relative to it, and its empty directories; or a file alone (an
// archive). In order of name. Links are followed. Hidden files and folders, links that lead nowhere
// or back to where they lie, and what is neither file nor folder are left out. NotFound for what is
// not there or cannot be listed, InvalidArgument for a directory without files.
absl::StatusOr<DatasetFiles> FilesOfDataset(const std::string& path);

// One connection. Thread-safe: calls of several threads run at the same time. Movable; a call must
// not outlive the client that it was made on.
class Client {
 public:
  using ImportProgressFn = std::function<void(const v1::ImportProgress&)>;
  using EvaluationProgressFn = std::function<void(const v1::EvaluationProgress&)>;
  using ClassifyProgressFn = std::function<void(std::int64_t done, std::int64_t total)>;
  using DatasetProgressFn = std::function<void(const v1::DatasetProgress&)>;

  // Waits until the daemon answers; Unavailable (and IsUnreachable) when it does not in
  // options.connect_timeout.
  static absl::StatusOr<Client> Connect(ClientOptions options = {});

  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;
  ~Client();

  const std::string& address() const;

  // ------------------------------------------------------------ classifying

  absl::StatusOr<v1::ClassifyResponse> Classify(const v1::ClassifyRequest& request);

  // Encoded images: the bytes of JPEG, PNG, GIF, WebP or BMP files.
  absl::StatusOr<v1::ClassifyResponse> ClassifyBytes(const v1::ModelSpec& model,
                                                     const std::vector<std::string>& images,
                                                     const ClassifyOptions& options = {});

  // Any number of files, in as many requests as it takes and the daemon's limits allow; the results
  // are in the order of `paths`, and total_ms is the sum of the requests'. `progress` is called
  // after each request. NotFound, before anything is sent, for a file that cannot be read; the
  // daemon's error about an image names its file. With options.outcome_per_image both are the
  // outcome of that file, and so is a refusal of a request that holds it alone.
  absl::StatusOr<v1::ClassifyResponse> ClassifyFiles(const v1::ModelSpec& model,
                                                     const std::vector<std::string>& paths,
                                                     const ClassifyOptions& options = {},
                                                     const ClassifyProgressFn& progress = {});

  // Many requests over one call: those that `next` gives until it says there are no more (false),
  // from a thread of its own. `answer` is called on this thread, as answers come, not in order:
  // match them by id. An answer may be an error; the stream goes on. An error of `next` or `answer`
  // ends the call and is returned.
  using NextRequest = std::function<absl::StatusOr<bool>(v1::ClassifyStreamRequest& request)>;
  using AnswerFn = std::function<absl::Status(const v1::ClassifyStreamResponse& answer)>;
  absl::Status ClassifyStream(const NextRequest& next, const AnswerFn& answer);

  // ------------------------------------------------------------ getting models in

  // From files that the daemon can read itself. `progress` is called on this thread.
  absl::StatusOr<v1::Version> ImportModel(const v1::ImportModelRequest& request,
                                          const ImportProgressFn& progress = {});

  // From files on this machine, which are sent in pieces: memory does not grow with their size.
  absl::StatusOr<v1::Version> UploadModel(const v1::ImportSpec& spec,
                                          const std::vector<UploadFile>& files,
                                          const ImportProgressFn& progress = {});

  absl::StatusOr<v1::ListArchitecturesResponse> ListArchitectures();

  // ------------------------------------------------------------ models, versions, aliases

  absl::StatusOr<v1::ListModelsResponse> ListModels();
  absl::StatusOr<v1::Model> GetModel(const std::string& name);
  absl::StatusOr<v1::ListVersionsResponse> ListVersions(const std::string& model);
  absl::StatusOr<v1::Version> GetVersion(const v1::ModelSpec& model);
  absl::StatusOr<v1::SetAliasResponse> SetAlias(const std::string& model, const std::string& alias,
                                                std::int64_t version);
  absl::StatusOr<v1::DeleteAliasResponse> DeleteAlias(const std::string& model,
                                                      const std::string& alias);
  // With `force` the aliases that name the version go too.
  absl::Status DeleteVersion(const std::string& model, std::int64_t version, bool force = false);
  absl::Status DeleteModel(const std::string& name);
  absl::StatusOr<v1::LoadModelResponse> LoadModel(const v1::ModelSpec& model);
  absl::StatusOr<v1::UnloadModelResponse> UnloadModel(const v1::ModelSpec& model);

  // ------------------------------------------------------------ evaluating

  // On images that the daemon can read itself.
  absl::StatusOr<v1::EvaluationReport> Evaluate(const v1::EvaluateRequest& request,
                                                const EvaluationProgressFn& progress = {});

  // On images that `next` gives until it says there are no more (false), from a thread of its own.
  // An error of `next` ends the evaluation and is returned. `total` is reported to `progress`; 0
  // where it is not known.
  using NextImage = std::function<absl::StatusOr<bool>(v1::LabeledImage& image)>;
  absl::StatusOr<v1::EvaluationReport> EvaluateImages(const v1::EvaluationSpec& spec,
                                                      const NextImage& next, std::int64_t total = 0,
                                                      const EvaluationProgressFn& progress = {});

  // ------------------------------------------------------------ datasets

  // From files on this machine (see FilesOfDataset), which are sent in pieces. `progress` is called
  // on this thread.
  absl::StatusOr<v1::Dataset> UploadDataset(const v1::DatasetSpec& spec,
                                            const std::vector<UploadFile>& files,
                                            const DatasetProgressFn& progress = {});
  // From files that the daemon can read itself.
  absl::StatusOr<v1::Dataset> ImportDataset(const v1::ImportDatasetRequest& request,
                                            const DatasetProgressFn& progress = {});
  absl::StatusOr<v1::Dataset> GetDataset(const std::string& name);
  // One page.
  absl::StatusOr<v1::ListDatasetsResponse> ListDatasets(
      const v1::ListDatasetsRequest& request = {});
  absl::StatusOr<v1::ListDatasetItemsResponse> ListDatasetItems(
      const v1::ListDatasetItemsRequest& request);
  // With `force` even if unfinished jobs need it.
  absl::Status DeleteDataset(const std::string& name, bool force = false);

  // ------------------------------------------------------------ training jobs

  absl::StatusOr<v1::CreateJobResponse> CreateJob(const v1::CreateJobRequest& request);
  absl::StatusOr<v1::Job> GetJob(const std::string& id);
  // One page.
  absl::StatusOr<v1::ListJobsResponse> ListJobs(const v1::ListJobsRequest& request = {});

  // Calls `event` on this thread for every event after the sequence `after`, in order and each
  // once, until the job has ended; `event` ends it before by returning false. When the daemon
  // stops, or cannot be reached, it is asked again from where it was for as long as `patience`.
  using JobEventFn = std::function<bool(const v1::JobEvent&)>;
  absl::Status WatchJob(const std::string& id, std::int64_t after, const JobEventFn& event,
                        std::chrono::milliseconds patience = std::chrono::seconds(60));

  absl::StatusOr<v1::Job> CancelJob(const std::string& id);
  absl::StatusOr<v1::Job> PauseJob(const std::string& id);
  absl::StatusOr<v1::Job> ResumeJob(const std::string& id);
  absl::StatusOr<v1::DeleteJobResponse> DeleteJob(const std::string& id);
  absl::StatusOr<v1::ListCheckpointsResponse> ListCheckpoints(const std::string& job);
  absl::StatusOr<v1::PromoteJobResponse> PromoteJob(const v1::PromoteJobRequest& request);
  // An empty alias: the one that the job moved last.
  absl::StatusOr<v1::RollBackResponse> RollBack(const std::string& job,
                                                const std::string& alias = "");

  // Writes a checkpoint (version 0: the newest) as TensorFlow's files into `directory`, which is
  // made where it is missing, and answers their paths. AlreadyExists for files that are there.
  // What was begun is removed again after an error.
  using ExportProgressFn =
      std::function<void(const std::string& file, std::int64_t done, std::int64_t total)>;
  absl::StatusOr<std::vector<std::string>> ExportCheckpoint(const std::string& job,
                                                            std::int64_t version,
                                                            const std::string& directory,
                                                            const ExportProgressFn& progress = {});

  // ------------------------------------------------------------ the daemon

  absl::StatusOr<v1::DaemonStatus> GetStatus();
  // Gives back the space of what was deleted.
  absl::StatusOr<v1::CollectGarbageResponse> CollectGarbage();

 private:
  struct Connection;
  explicit Client(std::unique_ptr<Connection> connection);

  std::unique_ptr<Connection> connection_;
};

}  // namespace zood::client
