// The API's messages to serving's values, and back.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "image/preprocess.h"
#include "serving/classifier.h"
#include "serving/evaluator.h"
#include "serving/import/importer.h"
#include "serving/model_manager.h"
#include "store/version.h"
#include "zood/v1/classifier.pb.h"
#include "zood/v1/common.pb.h"
#include "zood/v1/evaluation.pb.h"
#include "zood/v1/models.pb.h"
#include "zood/v1/preprocessing.pb.h"

namespace zood::server {

// InvalidArgument for a version below 1 or an alias that looks like a number.
absl::StatusOr<serving::ModelRef> ToModelRef(const v1::ModelSpec& spec);

// Views `image`, which must live as long as the result is used.
absl::StatusOr<dataset::ImageSource> ToImageSource(const v1::Image& image);

void ToProto(const absl::Status& status, v1::Error* message);

// Views `request`. An image of no known form is an error in the result's `images`.
// Deadline and cancellation are left to the caller.
absl::StatusOr<serving::ClassifyRequest> ToClassifyRequest(const v1::ClassifyRequest& request);
void ToProto(const serving::ClassifyResult& result, const v1::ClassifyRequest& request,
             v1::ClassifyResponse* response);

absl::StatusOr<image::PreprocessSpec> ToPreprocessSpec(const v1::Preprocessing& message);
void ToProto(const image::PreprocessSpec& spec, v1::Preprocessing* message);

// Without files.
absl::StatusOr<serving::ImportRequest> ToImportRequest(const v1::ImportSpec& spec);

v1::VersionState ToProto(serving::VersionState state);
void ToProto(const serving::VersionStatus& status, v1::VersionStatus* message);
netdef::NetworkSpec ToNetworkSpec(const v1::ZooNetwork& zoo);
void ToProto(const netdef::NetworkSpec& network, v1::ZooNetwork* message);
v1::OutputKind ToProto(graph::OutputKind kind);

// The manifest's part of a Version; the rest needs the catalogue and the manager.
void ToProto(const store::VersionManifest& manifest, v1::Version* version);

void ToProto(const serving::EvaluationReport& report, v1::EvaluationReport* message);

}  // namespace zood::server
