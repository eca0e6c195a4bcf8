#include "server/zood_v1/evaluation_service.h"

#include <memory>
#include <utility>

#include "base/status.h"
#include "dataset/labeled_images.h"
#include "server/zood_v1/convert.h"
#include "server/zood_v1/convert_fine_tuning.h"
#include "server/zood_v1/receive.h"
#include "server/zood_v1/status.h"
#include "serving/evaluator.h"

namespace zood::server {
namespace {

using EvaluateStream = grpc::ServerReaderWriter<v1::EvaluateResponse, v1::EvaluateStreamRequest>;
using Writer = grpc::internal::WriterInterface<v1::EvaluateResponse>;

absl::StatusOr<serving::EvaluationRequest> ToRequest(const v1::EvaluationSpec& spec,
                                                     grpc::ServerContext& context) {
  serving::EvaluationRequest request{.labels_offset = spec.labels_offset(),
                                     .skip_bad_images = spec.skip_bad_images(),
                                     .cancelled = [&] { return context.IsCancelled(); }};
  ZOOD_ASSIGN_OR_RETURN(request.model, ToModelRef(spec.model()));
  return request;
}

// Images as they come over the wire.
class StreamedImages final : public dataset::LabeledImages {
 public:
  explicit StreamedImages(EvaluateStream& stream) : stream_(stream) {}

  std::int64_t total() const override { return 0; }

  absl::StatusOr<std::optional<dataset::LabeledImage>> Next() override {
    while (message_ == nullptr || next_ == message_->images().images_size()) {
      message_ = std::make_shared<v1::EvaluateStreamRequest>();
      next_ = 0;
      if (!stream_.Read(message_.get())) {
        return InvalidArgument(
            "the images stopped after {} without the message that ends them (`end`): the stream "
            "was cut, or a message could not be parsed",
            count_);
      }
      ZOOD_RETURN_IF_ERROR(CheckNoUnknownFields(*message_));
      if (message_->has_end()) {
        if (message_->end().images() == count_) return std::nullopt;
        return InvalidArgument("the caller sent {} images, {} came", message_->end().images(),
                               count_);
      }
      if (!message_->has_images()) {
        return InvalidArgument(
            "after the first message of an evaluation `images` must follow, and then `end`");
      }
    }
    const v1::LabeledImage& from = message_->images().images(next_++);
    dataset::LabeledImage image{.label = {},
                                .id = from.id().empty() ? std::to_string(count_) : from.id(),
                                .owner = message_};
    ++count_;
    if (from.has_name()) {
      image.label = from.name();
    } else if (from.has_index()) {
      image.label = std::int64_t{from.index()};
    } else {
      return InvalidArgument("image '{}' has no label", image.id);
    }
    ZOOD_ASSIGN_OR_RETURN(image.image, ToImageSource(from.image()));
    return image;
  }

 private:
  EvaluateStream& stream_;
  std::shared_ptr<v1::EvaluateStreamRequest> message_;
  int next_ = 0;
  std::int64_t count_ = 0;
};

// The items of a dataset that the daemon keeps, or of one split of it.
absl::StatusOr<dataset::Dataset> LoadStored(runtime::Runtime& runtime,
                                            const v1::StoredDataset& stored) {
  ZOOD_ASSIGN_OR_RETURN(store::LoadedDataset loaded,
                        runtime.catalogue().store().LoadDataset(stored.name()));
  dataset::Dataset dataset{.classes = std::move(loaded.manifest.classes), .items = {}};
  for (store::DatasetItem& item : loaded.items) {
    const auto split = static_cast<dataset::Split>(item.split);
    if (stored.split() != v1::SPLIT_UNSPECIFIED && stored.split() != ToProto(split)) continue;
    dataset.items.push_back({.name = std::move(item.name),
                             .label = item.label,
                             .split = split,
                             .image = std::move(item.data)});
  }
  if (!dataset.items.empty()) return dataset;
  return FailedPrecondition("the dataset '{}' has no photo in its split {}", stored.name(),
                            v1::Split_Name(stored.split()));
}

absl::Status Run(runtime::Runtime& runtime, const serving::EvaluationRequest& request,
                 const serving::ImagesFactory& images, Writer& writer) {
  const auto progress = [&](const serving::EvaluationProgress& at) {
    v1::EvaluateResponse response;
    v1::EvaluationProgress* message = response.mutable_progress();
    message->set_done(at.done);
    message->set_total(at.total);
    if (at.done > 0) {
      message->set_top1(static_cast<double>(at.top1_correct) / static_cast<double>(at.done));
      message->set_top5(static_cast<double>(at.top5_correct) / static_cast<double>(at.done));
    }
    writer.Write(response);
  };
  ZOOD_ASSIGN_OR_RETURN(
      const serving::EvaluationReport report,
      serving::Evaluate(runtime.manager(), runtime.classifier(), request, images, progress));
  v1::EvaluateResponse response;
  ToProto(report, response.mutable_report());
  writer.Write(response);
  return absl::OkStatus();
}

}  // namespace

grpc::Status EvaluationService::Evaluate(grpc::ServerContext* context,
                                         const v1::EvaluateRequest* request,
                                         grpc::ServerWriter<v1::EvaluateResponse>* writer) {
  const auto evaluate = [&]() -> absl::Status {
    ZOOD_ASSIGN_OR_RETURN(serving::EvaluationRequest job, ToRequest(request->spec(), *context));
    if (request->max_images() < 0) return InvalidArgument("max_images is negative");
    job.max_images = request->max_images();
    const serving::AllowedRoots& roots = runtime_.roots();
    const image::DecodeLimits& limits = runtime_.options().classifier.image_limits;
    switch (request->dataset_case()) {
      case v1::EvaluateRequest::kIdx: {
        ZOOD_ASSIGN_OR_RETURN(const std::string images, roots.Resolve(request->idx().images()));
        ZOOD_ASSIGN_OR_RETURN(const std::string labels, roots.Resolve(request->idx().labels()));
        return Run(
            runtime_, job,
            [&](const serving::Servable&) { return dataset::OpenIdx(images, labels, limits); },
            *writer);
      }
      case v1::EvaluateRequest::kImageFolder: {
        ZOOD_ASSIGN_OR_RETURN(const std::string folder, roots.Resolve(request->image_folder()));
        return Run(
            runtime_, job,
            [&](const serving::Servable&) { return dataset::OpenImageFolder(folder); }, *writer);
      }
      case v1::EvaluateRequest::kStored: {
        ZOOD_ASSIGN_OR_RETURN(dataset::Dataset stored, LoadStored(runtime_, request->stored()));
        return Run(
            runtime_, job,
            [&](const serving::Servable& servable)
                -> absl::StatusOr<std::unique_ptr<dataset::LabeledImages>> {
              return dataset::ImagesOf(std::move(stored), servable.labels().empty());
            },
            *writer);
      }
      case v1::EvaluateRequest::DATASET_NOT_SET:
        break;
    }
    return InvalidArgument(
        "the evaluation names no dataset: set `idx`, `image_folder` or `stored`");
  };
  return ToGrpc(evaluate());
}

grpc::Status EvaluationService::EvaluateStream(grpc::ServerContext* context,
                                               zood::server::EvaluateStream* stream) {
  const auto evaluate = [&]() -> absl::Status {
    v1::EvaluateStreamRequest first;
    if (!stream->Read(&first) || !first.has_spec()) {
      return InvalidArgument("the first message of an evaluation must hold `spec`");
    }
    ZOOD_RETURN_IF_ERROR(CheckNoUnknownFields(first));
    ZOOD_ASSIGN_OR_RETURN(const serving::EvaluationRequest job, ToRequest(first.spec(), *context));
    return Run(
        runtime_, job,
        [&](const serving::Servable&) -> absl::StatusOr<std::unique_ptr<dataset::LabeledImages>> {
          return std::make_unique<StreamedImages>(*stream);
        },
        *stream);
  };
  return ToGrpc(evaluate());
}

}  // namespace zood::server
