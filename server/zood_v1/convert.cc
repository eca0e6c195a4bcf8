#include "server/zood_v1/convert.h"

#include <google/protobuf/util/time_util.h>

#include <limits>
#include <utility>

#include "base/labels/class_names.h"
#include "base/status.h"
#include "models/labels.h"
#include "netdef/network_spec.h"

namespace zood::server {
namespace {

using google::protobuf::util::TimeUtil;

Shape ShapeOf(const v1::Tensor& tensor) {
  return Shape(std::vector<std::int64_t>(tensor.shape().begin(), tensor.shape().end()));
}

absl::Status CheckDtype(const v1::Tensor& tensor, v1::DataType expected, const char* member) {
  if (tensor.dtype() == expected) return absl::OkStatus();
  return InvalidArgument("{} has dtype {}; expected {}", member, v1::DataType_Name(tensor.dtype()),
                         v1::DataType_Name(expected));
}

void ToProto(const Tensor& tensor, v1::Tensor* message) {
  message->set_dtype(v1::DATA_TYPE_FLOAT32);
  for (const std::int64_t extent : tensor.shape()) message->add_shape(extent);
  message->set_data(tensor.bytes().data(), tensor.bytes().size());
}

void ToProto(const serving::ImageResult& result, const v1::ClassifyRequest& request,
             v1::ImageResult* message) {
  if (!result.error.ok()) return server::ToProto(result.error, message->mutable_error());
  for (const serving::ClassScore& score : result.classes) {
    v1::Class* entry = message->add_classes();
    entry->set_index(score.index);
    entry->set_label(score.label);
    entry->set_probability(score.probability);
  }
  v1::Timing* timing = message->mutable_timing();
  timing->set_decode_ms(result.prepare.decode_ms);
  timing->set_preprocess_ms(result.prepare.preprocess_ms);
  timing->set_queue_ms(result.queue_ms);
  timing->set_compute_ms(result.compute_ms);
  message->set_batch_size(result.batch_size);
  message->mutable_logits()->Add(result.logits.begin(), result.logits.end());
  for (std::size_t i = 0; i < result.end_points.size(); ++i) {
    v1::EndPoint* end_point = message->add_end_points();
    end_point->set_name(request.end_points(static_cast<int>(i)));
    ToProto(result.end_points[i], end_point->mutable_value());
  }
}

void ToProto(const store::Lineage& lineage, v1::Lineage* message) {
  if (!lineage.base_model.empty()) {
    message->mutable_base()->set_model(lineage.base_model);
    message->mutable_base()->set_version(lineage.base_version);
    message->mutable_base()->set_digest(lineage.base_digest);
  }
  message->set_dataset_digest(lineage.dataset_digest);
  message->set_job(lineage.job_id);
  message->set_seed(lineage.seed);
  message->set_plan(lineage.plan);
}

}  // namespace

absl::StatusOr<serving::ModelRef> ToModelRef(const v1::ModelSpec& spec) {
  serving::ModelRef ref{.model = spec.name(), .selector = {}};
  switch (spec.version_choice_case()) {
    case v1::ModelSpec::kVersion:
      if (spec.version() < 1) {
        return InvalidArgument("version is {}; versions are numbered from 1", spec.version());
      }
      ref.selector = std::to_string(spec.version());
      break;
    case v1::ModelSpec::kAlias:
      if (spec.alias().empty()) return InvalidArgument("the alias is empty");
      ref.selector = spec.alias();
      break;
    case v1::ModelSpec::VERSION_CHOICE_NOT_SET:
      break;
  }
  return ref;
}

absl::StatusOr<dataset::ImageSource> ToImageSource(const v1::Image& image) {
  switch (image.content_case()) {
    case v1::Image::kEncoded:
      return dataset::EncodedImage{image.encoded()};
    case v1::Image::kPixels:
      ZOOD_RETURN_IF_ERROR(CheckDtype(image.pixels(), v1::DATA_TYPE_UINT8, "pixels"));
      return dataset::PixelImage{image.pixels().data(), ShapeOf(image.pixels())};
    case v1::Image::kInput:
      ZOOD_RETURN_IF_ERROR(CheckDtype(image.input(), v1::DATA_TYPE_FLOAT32, "input"));
      return dataset::NetworkInput{image.input().data(), ShapeOf(image.input())};
    case v1::Image::CONTENT_NOT_SET:
      return InvalidArgument("the image is empty: set encoded, pixels or input");
  }
  return InvalidArgument("the image has an unknown form");
}

absl::StatusOr<serving::ClassifyRequest> ToClassifyRequest(const v1::ClassifyRequest& request) {
  serving::ClassifyRequest result{.top_k = request.top_k() == 0 ? 5 : request.top_k(),
                                  .threshold = request.threshold(),
                                  .logits = request.logits(),
                                  .outcome_per_image = request.outcome_per_image()};
  ZOOD_ASSIGN_OR_RETURN(result.model, ToModelRef(request.model()));
  result.end_points.assign(request.end_points().begin(), request.end_points().end());
  for (const v1::Image& image : request.images()) result.images.push_back(ToImageSource(image));
  return result;
}

void ToProto(const absl::Status& status, v1::Error* message) {
  message->set_code(static_cast<int>(status.code()));
  message->set_message(std::string(status.message()));
}

void ToProto(const serving::ClassifyResult& result, const v1::ClassifyRequest& request,
             v1::ClassifyResponse* response) {
  response->mutable_model()->set_model(result.model);
  response->mutable_model()->set_version(result.version);
  response->mutable_model()->set_digest(result.digest);
  response->set_labels_digest(result.labels_digest);
  response->set_total_ms(result.total_ms);
  for (const serving::ImageResult& image : result.images) {
    ToProto(image, request, response->add_results());
  }
}

absl::StatusOr<serving::ImportRequest> ToImportRequest(const v1::ImportSpec& spec) {
  serving::ImportRequest request;
  request.model = spec.model();
  switch (spec.network_case()) {
    case v1::ImportSpec::kZoo: {
      const v1::ZooNetwork& zoo = spec.zoo();
      request.network = ToNetworkSpec(zoo);
      if (zoo.architecture().empty()) request.network.format.clear();  // a file says which
      break;
    }
    case v1::ImportSpec::kCaffe:
      request.mean_file = spec.caffe().mean_file();
      if (spec.caffe().has_text()) {
        request.network = netdef::CaffeSpec(spec.caffe().text());
      } else {
        request.network_file = spec.caffe().file();
      }
      break;
    case v1::ImportSpec::NETWORK_NOT_SET:  // one of the files describes it
      break;
  }
  request.network.output = spec.output();
  if (spec.has_preprocessing()) {
    ZOOD_ASSIGN_OR_RETURN(request.preprocess, ToPreprocessSpec(spec.preprocessing()));
  }
  if (spec.has_label_list()) {
    const auto& labels = spec.label_list().labels();
    request.labels = std::vector<std::string>(labels.begin(), labels.end());
  } else if (spec.has_label_file()) {
    request.labels = serving::LabelFile{spec.label_file()};
  }
  request.weights.prefer_moving_averages =
      !spec.has_prefer_moving_averages() || spec.prefer_moving_averages();
  request.weights.weights_in = spec.weights_in();
  if (!spec.leave_aside().empty()) {
    const std::vector<std::string> patterns(spec.leave_aside().begin(), spec.leave_aside().end());
    ZOOD_ASSIGN_OR_RETURN(request.weights.leave_aside,
                          NamePatterns::Create("leave_aside", patterns));
  }
  request.aliases.assign(spec.aliases().begin(), spec.aliases().end());
  request.note = spec.note();
  request.tags = {spec.tags().begin(), spec.tags().end()};
  return request;
}

v1::VersionState ToProto(serving::VersionState state) {
  switch (state) {
    case serving::VersionState::kUnloaded:
      return v1::UNLOADED;
    case serving::VersionState::kLoading:
      return v1::LOADING;
    case serving::VersionState::kAvailable:
      return v1::AVAILABLE;
    case serving::VersionState::kUnloading:
      return v1::UNLOADING;
    case serving::VersionState::kFailed:
      return v1::FAILED;
  }
  return v1::VERSION_STATE_UNSPECIFIED;
}

void ToProto(const serving::VersionStatus& status, v1::VersionStatus* message) {
  message->set_version(status.version);
  message->set_state(ToProto(status.state));
  message->set_error(std::string(status.error.message()));
  message->set_memory_bytes(static_cast<std::int64_t>(status.memory_bytes));
  message->set_requests(status.queue.images);
  if (status.loaded_at_us > 0) {
    *message->mutable_loaded_at() = TimeUtil::MicrosecondsToTimestamp(status.loaded_at_us);
  }
}

v1::OutputKind ToProto(graph::OutputKind kind) {
  switch (kind) {
    case graph::OutputKind::kLogits:
      return v1::LOGITS;
    case graph::OutputKind::kIndependentLogits:
      return v1::INDEPENDENT_LOGITS;
    case graph::OutputKind::kProbabilities:
      return v1::PROBABILITIES;
    case graph::OutputKind::kIndependentProbabilities:
      return v1::INDEPENDENT_PROBABILITIES;
  }
  return v1::OUTPUT_KIND_UNSPECIFIED;
}

netdef::NetworkSpec ToNetworkSpec(const v1::ZooNetwork& zoo) {
  return netdef::ZooSpec(zoo.architecture(), {.num_classes = zoo.num_classes(),
                                              .height = zoo.height(),
                                              .width = zoo.width(),
                                              .channels = zoo.channels()});
}

// What an import made of its files, as the API says it.
void ToProto(const serving::ImportReport& report, v1::ImportReport* message) {
  message->set_format(report.format);
  message->set_naming(report.naming);
  message->set_prefix(report.prefix);
  message->set_variables(report.variables);
  for (const auto& [type, variables] : report.converted) {
    v1::ImportReport::Converted* converted = message->add_converted();
    converted->set_type(type);
    converted->set_variables(variables);
  }
  for (const serving::ImportReport::LeftAside& group : report.left_aside) {
    v1::ImportReport::LeftAside* left_aside = message->add_left_aside();
    left_aside->set_reason(group.reason);
    left_aside->set_entries(group.entries);
    left_aside->mutable_examples()->Add(group.examples.begin(), group.examples.end());
  }
  message->mutable_initialized()->Add(report.initialized.begin(), report.initialized.end());
  message->mutable_choices()->Add(report.choices.begin(), report.choices.end());
  message->mutable_assumptions()->Add(report.assumptions.begin(), report.assumptions.end());
}

void ToProto(const netdef::NetworkSpec& network, v1::ZooNetwork* message) {
  message->set_architecture(network.source);
  message->set_num_classes(network.args.num_classes);
  message->set_height(network.args.height);
  message->set_width(network.args.width);
  message->set_channels(network.args.channels);
}

void ToProto(const store::VersionManifest& manifest, v1::Version* version) {
  version->set_model(manifest.model);
  version->set_version(manifest.version);
  version->set_digest(manifest.digest);
  version->set_kind(manifest.kind == store::VersionKind::kModel ? v1::MODEL : v1::CHECKPOINT);
  *version->mutable_created_at() = TimeUtil::MicrosecondsToTimestamp(manifest.created_at_us);
  std::uint64_t bytes = 0;
  for (const auto& [name, tensor] : manifest.tensors) bytes += tensor.bytes;
  version->set_bytes(static_cast<std::int64_t>(bytes));
  version->set_num_tensors(static_cast<std::int64_t>(manifest.tensors.size()));
  if (const auto network = netdef::NetworkSpecFromJson(manifest.network); network.ok()) {
    if (network->format == netdef::kZooFormat) {
      ToProto(*network, version->mutable_zoo());
    } else if (network->format == netdef::kCaffeFormat) {
      version->mutable_caffe()->set_text(network->source);
      version->mutable_caffe()->set_num_classes(network->args.num_classes);
    }
    version->set_output(network->output);
  }
  if (const auto spec = image::PreprocessSpecFromJson(manifest.preprocess); spec.ok()) {
    ToProto(*spec, version->mutable_preprocessing());
  }
  version->mutable_labels()->Add(manifest.labels.begin(), manifest.labels.end());
  const std::vector<std::string> ids = models::ClassIds(manifest.labels);
  version->mutable_class_ids()->Add(ids.begin(), ids.end());
  version->set_labels_digest(LabelsDigest(manifest.labels));
  for (const store::Source& source : manifest.provenance.sources) {
    v1::SourceFile* file = version->add_sources();
    file->set_uri(source.uri);
    file->set_sha256(source.sha256);
    file->set_bytes(static_cast<std::int64_t>(source.bytes));
    file->set_format(source.format);
  }
  version->set_build(manifest.provenance.build);
  version->set_note(manifest.provenance.note);
  for (const auto& [key, value] : manifest.tags) (*version->mutable_tags())[key] = value;
  for (const auto& [key, value] : manifest.metrics) (*version->mutable_metrics())[key] = value;
  if (manifest.lineage) ToProto(*manifest.lineage, version->mutable_lineage());
  if (manifest.import_report.empty()) return;
  if (const auto report = serving::ImportReportFromJson(manifest.import_report); report.ok()) {
    ToProto(*report, version->mutable_import_report());
  }
}

void ToProto(const serving::EvaluationReport& report, v1::EvaluationReport* message) {
  message->mutable_model()->set_model(report.model);
  message->mutable_model()->set_version(report.version);
  message->mutable_model()->set_digest(report.digest);
  const double images = report.images > 0 ? static_cast<double>(report.images) : 1;
  message->set_images(report.images);
  message->set_top1(static_cast<double>(report.top1_correct) / images);
  message->set_top5(static_cast<double>(report.top5_correct) / images);
  message->set_top1_correct(report.top1_correct);
  message->set_top5_correct(report.top5_correct);
  message->set_mean_loss(report.loss_sum / images);
  for (std::size_t i = 0; i < report.classes.size(); ++i) {
    const serving::ClassCounts& counts = report.classes[i];
    v1::ClassReport* entry = message->add_classes();
    entry->set_label(i < report.labels.size() ? report.labels[i] : std::to_string(i));
    entry->set_images(counts.images);
    entry->set_top1_correct(counts.top1_correct);
    entry->set_top5_correct(counts.top5_correct);
    entry->set_answered(counts.answered);
  }
  message->mutable_confusion()->Add(report.confusion.begin(), report.confusion.end());
  message->set_bad_images(report.bad_images);
  for (const serving::BadImage& bad : report.first_bad_images) {
    v1::BadImage* entry = message->add_first_bad_images();
    entry->set_id(bad.id);
    entry->set_error(bad.error);
  }
  message->set_seconds(report.seconds);
  if (report.seconds > 0) message->set_images_per_second(images / report.seconds);
}

}  // namespace zood::server
