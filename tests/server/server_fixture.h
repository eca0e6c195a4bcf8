// A server on a loopback port of its own, and a client of every service.
#pragma once

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "models/zoo.h"
#include "server/server.h"
#include "tests/support/oracle_fill.h"
#include "zood/v1/classifier.grpc.pb.h"
#include "zood/v1/daemon.grpc.pb.h"
#include "zood/v1/datasets.grpc.pb.h"
#include "zood/v1/evaluation.grpc.pb.h"
#include "zood/v1/fine_tuning.grpc.pb.h"
#include "zood/v1/models.grpc.pb.h"

namespace zood::server {

inline std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class ServerTest : public ::testing::Test {
 protected:
  ServerTest() {
    std::string name = (std::filesystem::temp_directory_path() / "zood-server-XXXXXX").string();
    directory_ = mkdtemp(name.data());
    options_.port = 0;
    options_.http_port = 0;
    options_.runtime.data_dir = directory_ + "/data";
    options_.runtime.model_roots = {ckpt_, directory_};
    options_.runtime.servable.batch_sizes = {1, 2, 4, 8};
    options_.runtime.servable.threads_per_lane = 1;
    options_.runtime.importer.build = Build();
  }
  ~ServerTest() override {
    server_.reset();
    std::filesystem::remove_all(directory_);
  }

  void Start() {
    auto server = Server::Start(options_, zoo_, *log_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    Connect(server_->port());
  }
  // To a server of this process, or of another.
  void Connect(int port) {
    port_ = port;
    channel_ = NewChannel();
    models_ = v1::Models::NewStub(channel_);
    classifier_ = v1::Classifier::NewStub(channel_);
    evaluation_ = v1::Evaluation::NewStub(channel_);
    daemon_ = v1::Daemon::NewStub(channel_);
    datasets_ = v1::Datasets::NewStub(channel_);
    jobs_ = v1::FineTuning::NewStub(channel_);
  }

  std::shared_ptr<grpc::Channel> NewChannel() {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetMaxReceiveMessageSize(-1);
    return grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(port_),
                                     grpc::InsecureChannelCredentials(), arguments);
  }

  // The network of the checkpoints lenet12_*.
  static v1::ImportSpec LeNetSpec(const std::string& model = "digits") {
    v1::ImportSpec spec;
    spec.set_model(model);
    spec.mutable_zoo()->set_architecture("lenet");
    spec.mutable_zoo()->set_height(12);
    spec.mutable_zoo()->set_width(12);
    return spec;
  }

  struct Imported {
    grpc::Status status;
    v1::Version version;
    std::vector<v1::ImportProgress> progress;
  };
  template <typename Stream>
  static Imported Finish(Stream& stream) {
    Imported result;
    v1::ImportModelResponse response;
    while (stream.Read(&response)) {
      if (response.has_version()) result.version = response.version();
      if (response.has_progress()) result.progress.push_back(response.progress());
    }
    result.status = stream.Finish();
    return result;
  }
  Imported Import(const v1::ImportSpec& spec, const std::vector<std::string>& paths) {
    grpc::ClientContext context;
    v1::ImportModelRequest request;
    *request.mutable_spec() = spec;
    for (const std::string& path : paths) request.add_paths(path);
    return Finish(*models_->ImportModel(&context, request));
  }
  Imported Upload(const v1::ImportSpec& spec,
                  const std::vector<std::pair<std::string, std::string>>& files) {
    grpc::ClientContext context;
    const auto stream = models_->UploadModel(&context);
    v1::UploadModelRequest message;
    *message.mutable_spec() = spec;
    stream->Write(message);
    std::int64_t sent = 0;
    for (const auto& [name, bytes] : files) {
      message.mutable_file()->set_name(name);
      message.mutable_file()->set_size(static_cast<std::int64_t>(bytes.size()));
      stream->Write(message);
      constexpr std::size_t kChunk = 1 << 20;
      for (std::size_t at = 0; at < bytes.size(); at += kChunk) {
        message.set_chunk(bytes.substr(at, kChunk));
        stream->Write(message);
      }
      sent += static_cast<std::int64_t>(bytes.size());
    }
    message.mutable_end()->set_files(static_cast<std::int64_t>(files.size()));
    message.mutable_end()->set_bytes(sent);
    stream->Write(message);
    stream->WritesDone();
    return Finish(*stream);
  }
  void ImportLeNet(const std::string& model = "digits") {
    const Imported imported = Import(LeNetSpec(model), {"lenet12_v1.ckpt"});
    ASSERT_TRUE(imported.status.ok()) << imported.status.error_message();
  }

  // Image number `index` of the generator, in the form of pixels.
  static v1::ClassifyRequest Request(const std::string& model, int index) {
    v1::ClassifyRequest request;
    request.mutable_model()->set_name(model);
    AddImage(request.add_images(), index);
    return request;
  }
  static void AddImage(v1::Image* image, int index) {
    const auto pixels = zood::testing::ImageU8(index, 12, 12, 1);
    v1::Tensor* tensor = image->mutable_pixels();
    tensor->set_dtype(v1::DATA_TYPE_UINT8);
    for (const int extent : {12, 12, 1}) tensor->add_shape(extent);
    tensor->set_data(pixels.data(), pixels.size());
  }

  grpc::Status Classify(const v1::ClassifyRequest& request, v1::ClassifyResponse* response) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(100));
    return classifier_->Classify(&context, request, response);
  }
  grpc::Status Classify(const v1::ClassifyRequest& request) {
    v1::ClassifyResponse response;
    return Classify(request, &response);
  }

  const std::string ckpt_ = std::string(ZOOD_TEST_DATA) + "/ckpt";
  std::string directory_;
  ServerOptions options_;
  const models::Zoo zoo_ = models::Zoo::Standard();
  const std::unique_ptr<Log> log_ = *Log::Create("error", "text");
  std::unique_ptr<Server> server_;
  int port_ = 0;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Models::Stub> models_;
  std::unique_ptr<v1::Classifier::Stub> classifier_;
  std::unique_ptr<v1::Evaluation::Stub> evaluation_;
  std::unique_ptr<v1::Daemon::Stub> daemon_;
  std::unique_ptr<v1::Datasets::Stub> datasets_;
  std::unique_ptr<v1::FineTuning::Stub> jobs_;
};

}  // namespace zood::server
