// The client library against services that answer what a test wants, cut off and hostile answers
// among it.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "client/client.h"
#include "zood/v1/classifier.grpc.pb.h"
#include "zood/v1/datasets.grpc.pb.h"
#include "zood/v1/fine_tuning.grpc.pb.h"

// Of docs_sample.cc.
absl::Status Stream(zood::client::Client& client, const std::vector<std::string>& photos);

namespace zood::client {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Takes as many images in a request as the test wants, none that says "broken", and labels each
// with what it says. Answers the requests of a stream with their ids, the last first.
class FakeClassifier : public v1::Classifier::Service {
 public:
  int max_images = 256;
  int max_bytes = 1 << 20;
  std::vector<int> asked;  // images of each request

 private:
  grpc::Status Classify(grpc::ServerContext*, const v1::ClassifyRequest* request,
                        v1::ClassifyResponse* response) override {
    asked.push_back(request->images_size());
    if (request->images_size() > max_images) {
      return {grpc::StatusCode::INVALID_ARGUMENT,
              fmt::format("the request holds {} images; {} are allowed", request->images_size(),
                          max_images)};
    }
    if (request->ByteSizeLong() > static_cast<std::size_t>(max_bytes)) {
      return {grpc::StatusCode::RESOURCE_EXHAUSTED,
              fmt::format("Received message larger than max ({} vs. {})", request->ByteSizeLong(),
                          max_bytes)};
    }
    for (int i = 0; i < request->images_size(); ++i) {
      if (request->images(i).encoded() == "broken" && request->outcome_per_image()) {
        response->add_results()->mutable_error()->set_message("no JPEG");
        continue;
      }
      if (request->images(i).encoded() == "broken") {
        return {grpc::StatusCode::INVALID_ARGUMENT, fmt::format("image {}: no JPEG", i)};
      }
      response->add_results()->add_classes()->set_label(request->images(i).encoded());
    }
    response->mutable_model()->set_version(7);
    return grpc::Status::OK;
  }

  grpc::Status ClassifyStream(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<v1::ClassifyStreamResponse, v1::ClassifyStreamRequest>* stream)
      override {
    std::vector<v1::ClassifyStreamRequest> requests;
    for (v1::ClassifyStreamRequest request; stream->Read(&request);) requests.push_back(request);
    for (auto request = requests.rbegin(); request != requests.rend(); ++request) {
      v1::ClassifyStreamResponse response;
      response.set_id(request->id());
      const grpc::Status status =
          Classify(nullptr, &request->request(), response.mutable_response());
      if (!status.ok()) response.mutable_error()->set_message(status.error_message());
      stream->Write(response);
    }
    return grpc::Status::OK;
  }
};

// Takes an upload and tells its messages.
class FakeDatasets : public v1::Datasets::Service {
 public:
  std::vector<std::string> said;

 private:
  grpc::Status UploadDataset(grpc::ServerContext*,
                             grpc::ServerReaderWriter<v1::CreateDatasetResponse,
                                                      v1::UploadDatasetRequest>* stream) override {
    for (v1::UploadDatasetRequest message; stream->Read(&message);) {
      if (message.has_spec()) said.push_back("spec " + message.spec().name());
      if (message.has_chunk()) said.push_back("chunk " + message.chunk());
      if (message.has_end()) {
        said.push_back(
            fmt::format("end of {} files, {} bytes", message.end().files(), message.end().bytes()));
      }
      if (message.has_file()) {
        said.push_back(fmt::format("file {} of {}", message.file().path(), message.file().size()));
      }
    }
    v1::CreateDatasetResponse response;
    response.mutable_progress()->set_stage(v1::DatasetProgress::RECEIVING);
    stream->Write(response);
    response.mutable_dataset()->set_name("made");
    stream->Write(response);
    return grpc::Status::OK;
  }
};

class FakeJobs : public v1::FineTuning::Service {
 public:
  std::vector<std::int64_t> asked;  // WatchJobRequest.after
  int cut = 0;                      // calls that end with UNAVAILABLE after two events
  std::vector<v1::ExportCheckpointResponse> parts;

 private:
  grpc::Status WatchJob(grpc::ServerContext*, const v1::WatchJobRequest* request,
                        grpc::ServerWriter<v1::JobEvent>* writer) override {
    asked.push_back(request->after());
    for (std::int64_t n = request->after() + 1; n <= 5; ++n) {
      v1::JobEvent event;
      event.set_sequence(n);
      writer->Write(event);
      if (cut > 0 && n == request->after() + 2) {
        --cut;
        return {grpc::StatusCode::UNAVAILABLE, "shutting down"};
      }
    }
    return grpc::Status::OK;
  }

  grpc::Status ExportCheckpoint(grpc::ServerContext*, const v1::ExportCheckpointRequest*,
                                grpc::ServerWriter<v1::ExportCheckpointResponse>* writer) override {
    for (const v1::ExportCheckpointResponse& part : parts) writer->Write(part);
    return grpc::Status::OK;
  }
};

class ServicesTest : public testing::Test {
 protected:
  ServicesTest()
      : folder_(testing::TempDir() + "/zoo_services_" +
                testing::UnitTest::GetInstance()->current_test_info()->name()) {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    for (grpc::Service* service :
         std::initializer_list<grpc::Service*>{&classifier_, &datasets_, &jobs_}) {
      builder.RegisterService(service);
    }
    server_ = builder.BuildAndStart();
    absl::StatusOr<Client> client = Client::Connect({.address = fmt::format("127.0.0.1:{}", port)});
    EXPECT_TRUE(client.ok()) << client.status();
    client_ = std::make_unique<Client>(*std::move(client));
  }
  ~ServicesTest() override {
    server_->Shutdown();
    std::filesystem::remove_all(folder_);
  }

  // So many files, each of which says its number.
  std::vector<std::string> Photos(int count) const {
    std::vector<std::string> paths;
    for (int i = 0; i < count; ++i) {
      paths.push_back(fmt::format("{}/{}.jpg", folder_, i));
      std::ofstream(paths.back()) << i;
    }
    return paths;
  }

  absl::StatusOr<v1::ClassifyResponse> ClassifyFiles(const std::vector<std::string>& paths) {
    return client_->ClassifyFiles(*ParseModelSpec("lenet"), paths);
  }

  void AddPart(const std::string& file, std::int64_t size, const std::string& bytes) {
    jobs_.parts.emplace_back().mutable_file()->set_path(file);
    jobs_.parts.back().mutable_file()->set_size(size);
    jobs_.parts.emplace_back().set_chunk(bytes);
  }

  const std::string folder_;
  FakeClassifier classifier_;
  FakeDatasets datasets_;
  FakeJobs jobs_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Client> client_;
};

TEST_F(ServicesTest, FilesGoInAsManyRequestsAsTheDaemonsLimitsDemand) {
  const std::vector<std::string> paths = Photos(40);
  for (const int limit : {256, 5, 1}) {
    classifier_.max_images = limit;
    const auto answer = ClassifyFiles(paths);
    ASSERT_TRUE(answer.ok()) << answer.status();
    ASSERT_EQ(answer->results_size(), 40);
    for (int i = 0; i < 40; ++i) {
      EXPECT_EQ(answer->results(i).classes(0).label(), fmt::format("{}", i));
    }
  }
  classifier_.asked.clear();
  classifier_.max_images = 256;
  classifier_.max_bytes = 1000;
  std::ofstream(paths[3]) << std::string(900, 'x');
  std::ofstream(paths[9]) << std::string(900, 'x');
  const auto answer = ClassifyFiles(paths);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->results_size(), 40);
  EXPECT_EQ(classifier_.asked.front(), 32);
  EXPECT_EQ(classifier_.asked[1], 16);
  EXPECT_EQ(classifier_.asked[2], 8);
}

TEST_F(ServicesTest, ErrorsAboutImagesNameTheFile) {
  std::vector<std::string> paths = Photos(40);
  std::ofstream(paths[35]) << "broken";
  EXPECT_EQ(std::string(ClassifyFiles(paths).status().message()), paths[35] + ": no JPEG");
  EXPECT_THAT(classifier_.asked, ElementsAre(32, 8));
  EXPECT_EQ(std::string(ClassifyFiles({paths[35]}).status().message()), paths[35] + ": no JPEG");
  // What is wrong with the request and not with its size is said once it cannot be smaller.
  classifier_.max_images = 0;
  EXPECT_THAT(std::string(ClassifyFiles(paths).status().message()),
              HasSubstr("0.jpg: the request holds 1 images; 0 are allowed"));
}

// Files that are damaged, missing, and too large for a request of their own, in several requests.
TEST_F(ServicesTest, EachFileHasAnOutcomeWhereThatIsAskedFor) {
  std::vector<std::string> paths = Photos(40);
  classifier_.max_bytes = 1000;
  std::ofstream(paths[3]) << "broken";
  std::ofstream(paths[9]) << std::string(2000, 'x');
  std::filesystem::remove(paths[35]);
  const auto answer =
      client_->ClassifyFiles(*ParseModelSpec("lenet"), paths, {.outcome_per_image = true});
  ASSERT_TRUE(answer.ok()) << answer.status();
  ASSERT_EQ(answer->results_size(), 40);
  for (int i = 0; i < 40; ++i) {
    const bool bad = i == 3 || i == 9 || i == 35;
    ASSERT_EQ(answer->results(i).has_error(), bad) << i;
    if (!bad) {
      EXPECT_EQ(answer->results(i).classes(0).label(), fmt::format("{}", i));
    }
  }
  EXPECT_THAT(answer->results(9).error().message(), HasSubstr("--max-message-bytes"));
  EXPECT_THAT(answer->results(35).error().message(), HasSubstr("35.jpg"));
}

TEST_F(ServicesTest, ManyRequestsOverOneCall) {
  int sent = 0;
  std::vector<std::string> answered;
  const auto next = [&](v1::ClassifyStreamRequest& request) -> absl::StatusOr<bool> {
    request.set_id(fmt::format("{}", sent));
    return sent++ < 3;
  };
  const auto answer = [&](const v1::ClassifyStreamResponse& response) {
    answered.push_back(response.id());
    return absl::OkStatus();
  };
  EXPECT_TRUE(client_->ClassifyStream(next, answer).ok());
  EXPECT_THAT(answered, ElementsAre("2", "1", "0"));
}

TEST_F(ServicesTest, TheDocumentedStream) {
  std::vector<std::string> paths = Photos(3);
  std::ofstream(paths[1]) << "broken";
  testing::internal::CaptureStdout();
  EXPECT_TRUE(Stream(*client_, paths).ok());
  EXPECT_EQ(testing::internal::GetCapturedStdout(),
            fmt::format("{}: 2\n{}: image 0: no JPEG\n{}: 0\n", paths[2], paths[1], paths[0]));
}

TEST_F(ServicesTest, ErrorsOfEitherSideEndTheStream) {
  const auto fails = [](v1::ClassifyStreamRequest&) -> absl::StatusOr<bool> {
    return NotFound("no photo");
  };
  const auto ignore = [](const v1::ClassifyStreamResponse&) { return absl::OkStatus(); };
  EXPECT_EQ(client_->ClassifyStream(fails, ignore).message(), "no photo");
  const auto two = [sent = 0](v1::ClassifyStreamRequest&) mutable -> absl::StatusOr<bool> {
    return sent++ < 2;
  };
  const auto enough = [](const v1::ClassifyStreamResponse&) { return Aborted("enough"); };
  EXPECT_EQ(client_->ClassifyStream(two, enough).message(), "enough");
}

TEST_F(ServicesTest, UploadsAFolder) {
  std::filesystem::create_directories(folder_ + "/roses");
  std::ofstream(folder_ + "/roses/1.jpg") << "abc";
  std::ofstream(folder_ + "/index.csv") << "";
  v1::DatasetSpec spec;
  spec.set_name("flowers");
  std::int64_t total = 0;
  const auto files = FilesOfDataset(folder_);
  ASSERT_TRUE(files.ok()) << files.status();
  const auto dataset = client_->UploadDataset(
      spec, files->files, [&](const v1::DatasetProgress& at) { total = at.total(); });
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->name(), "made");
  EXPECT_EQ(total, 3);
  EXPECT_THAT(datasets_.said,
              ElementsAre("spec flowers", "file index.csv of 0", "file roses/1.jpg of 3",
                          "chunk abc", "end of 2 files, 3 bytes"));
}

TEST_F(ServicesTest, WatchesAgainFromWhereItWas) {
  jobs_.cut = 2;
  std::vector<std::int64_t> events;
  const auto take = [&](const v1::JobEvent& event) {
    events.push_back(event.sequence());
    return true;
  };
  EXPECT_TRUE(client_->WatchJob("job", 0, take).ok());
  EXPECT_THAT(events, ElementsAre(1, 2, 3, 4, 5));
  EXPECT_THAT(jobs_.asked, ElementsAre(0, 2, 4));
}

TEST_F(ServicesTest, WatchingEndsWhenAskedAndWhenPatienceIsOver) {
  std::vector<std::int64_t> events;
  const auto two = [&](const v1::JobEvent& event) {
    events.push_back(event.sequence());
    return events.size() < 2;
  };
  EXPECT_TRUE(client_->WatchJob("job", 1, two).ok());
  EXPECT_THAT(events, ElementsAre(2, 3));
  server_->Shutdown();
  const absl::Status lost = client_->WatchJob("job", 1, two, std::chrono::milliseconds(300));
  EXPECT_EQ(lost.code(), absl::StatusCode::kUnavailable);
}

TEST_F(ServicesTest, ExportsFiles) {
  AddPart("model.ckpt-1.index", 3, "abc");
  AddPart("model.ckpt-1.data-00000-of-00001", 2, "de");
  const auto files = client_->ExportCheckpoint("job", 0, folder_ + "/new");
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->size(), 2);
  EXPECT_EQ(std::filesystem::file_size(files->at(0)), 3);
  EXPECT_EQ(client_->ExportCheckpoint("job", 0, folder_ + "/new").status().code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(std::filesystem::exists(files->at(0)));
}

TEST_F(ServicesTest, ExportsNothingInPartAndNothingElsewhere) {
  AddPart("model.ckpt-1.index", 3, "abc");
  for (const char* name : {"../evil", "/tmp/evil", ".evil", "", "a/b"}) {
    jobs_.parts.resize(2);
    AddPart(name, 1, "x");
    EXPECT_EQ(client_->ExportCheckpoint("job", 0, folder_).status().code(),
              absl::StatusCode::kDataLoss)
        << name;
    EXPECT_TRUE(std::filesystem::is_empty(folder_)) << name;
  }
  jobs_.parts.clear();
  AddPart("model.ckpt-1.index", 4, "abc");
  const absl::Status cut = client_->ExportCheckpoint("job", 0, folder_).status();
  EXPECT_THAT(std::string(cut.message()), HasSubstr("4 bytes were announced, 3 came"));
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

}  // namespace
}  // namespace zood::client
