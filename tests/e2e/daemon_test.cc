// Health, reflection, metrics, draining; and the program itself.
#include <arpa/inet.h>
#include <google/protobuf/descriptor.h>
#include <grpcpp/generic/generic_stub.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <future>
#include <set>
#include <thread>
#include <utility>

#include "server/config.h"
#include "tests/server/server_fixture.h"

namespace zood::server {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// A unary call of a service whose messages are not generated here.
grpc::Status CallGeneric(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                         const std::string& request, std::string* response) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const grpc::Slice slice(request);
  const grpc::ByteBuffer buffer(&slice, 1);
  grpc::ByteBuffer answer;
  grpc::Status status;
  const auto call = stub.PrepareUnaryCall(&context, method, buffer, &queue);
  call->StartCall();
  call->Finish(&answer, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  std::vector<grpc::Slice> slices;
  if (status.ok() && answer.Dump(&slices).ok()) {
    for (const grpc::Slice& part : slices) {
      response->append(reinterpret_cast<const char*>(part.begin()), part.size());
    }
  }
  return status;
}

// grpc.health.v1.HealthCheckResponse.ServingStatus: 1 SERVING, 2 NOT_SERVING; -1 NOT_FOUND.
int Health(const std::shared_ptr<grpc::Channel>& channel, const std::string& service) {
  std::string request;
  if (!service.empty())
    request = "\x0a" + std::string(1, static_cast<char>(service.size())) + service;
  std::string response;
  const grpc::Status status =
      CallGeneric(channel, "/grpc.health.v1.Health/Check", request, &response);
  if (status.error_code() == grpc::StatusCode::NOT_FOUND) return -1;
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response.size() == 2 ? response[1] : 0;
}

std::string HttpGet(int port, const std::string& path, const std::string& method = "GET") {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    close(fd);
    return "";
  }
  const std::string request = method + " " + path + " HTTP/1.0\r\n\r\n";
  EXPECT_EQ(write(fd, request.data(), request.size()), static_cast<ssize_t>(request.size()));
  std::string response;
  std::array<char, 4096> buffer;
  for (ssize_t n = 0; (n = read(fd, buffer.data(), buffer.size())) > 0;) {
    response.append(buffer.data(), static_cast<std::size_t>(n));
  }
  close(fd);
  return response;
}

using DaemonTest = ServerTest;

TEST_F(DaemonTest, HealthFollowsTheModels) {
  ASSERT_NO_FATAL_FAILURE(Start());
  EXPECT_EQ(Health(channel_, ""), 1);
  EXPECT_EQ(Health(channel_, "digits"), -1);
  ASSERT_NO_FATAL_FAILURE(ImportLeNet());
  EXPECT_EQ(Health(channel_, "digits"), 2) << "there, but not loaded";
  ASSERT_TRUE(Classify(Request("digits", 0)).ok());
  EXPECT_EQ(Health(channel_, "digits"), 1);
  v1::UnloadModelRequest unload;
  unload.mutable_model()->set_name("digits");
  v1::UnloadModelResponse unloaded;
  grpc::ClientContext context;
  ASSERT_TRUE(models_->UnloadModel(&context, unload, &unloaded).ok());
  EXPECT_EQ(Health(channel_, "digits"), 2);
}

TEST_F(DaemonTest, WhatIsToBeLoadedAtStartIsLoaded) {
  ASSERT_NO_FATAL_FAILURE(Start());
  ASSERT_NO_FATAL_FAILURE(ImportLeNet());
  server_.reset();
  options_.load_on_start = {"all"};
  options_.runtime.manager.load_on_demand = false;
  ASSERT_NO_FATAL_FAILURE(Start());
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(100);
  while (Health(channel_, "") != 1 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_EQ(Health(channel_, "digits"), 1) << "ready means loaded";
  EXPECT_TRUE(Classify(Request("digits", 0)).ok());
  server_.reset();
  options_.load_on_start = {"cats"};
  const auto server = Server::Start(options_, zoo_, *log_);
  EXPECT_EQ(server.status().code(), absl::StatusCode::kNotFound);
}

// The table has to name each method; one that it forgets answers UNIMPLEMENTED.
TEST_F(DaemonTest, EveryMethodOfEveryServiceIsThere) {
  ASSERT_NO_FATAL_FAILURE(Start());
  const auto* pool = google::protobuf::DescriptorPool::generated_pool();
  std::set<std::string> in_table;
  for (const Method& method : server_->methods()) {
    EXPECT_TRUE(in_table.insert(std::string(method.name)).second) << method.name;
  }
  std::size_t methods = 0;
  for (const char* name :
       {"Classifier", "Models", "Evaluation", "Daemon", "Datasets", "FineTuning"}) {
    const auto* service = pool->FindServiceByName(std::string("zood.v1.") + name);
    ASSERT_NE(service, nullptr) << name;
    for (int i = 0; i < service->method_count(); ++i, ++methods) {
      const std::string method = "/" + service->full_name() + "/" + service->method(i)->name();
      std::string ignored;
      const grpc::Status status = CallGeneric(channel_, method, "", &ignored);
      EXPECT_NE(status.error_code(), grpc::StatusCode::UNIMPLEMENTED) << method;
      EXPECT_TRUE(in_table.contains(method)) << method;
    }
  }
  EXPECT_EQ(methods, in_table.size()) << "the table names what no service has";
}

TEST_F(DaemonTest, ReflectionListsTheServices) {
  ASSERT_NO_FATAL_FAILURE(Start());
  grpc::GenericStub stub(channel_);
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareCall(
      &context, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &queue);
  void* tag = nullptr;
  bool ok = false;
  call->StartCall(nullptr);
  queue.Next(&tag, &ok);
  const grpc::Slice list_services(std::string("\x3a\x01*", 3));
  call->Write(grpc::ByteBuffer(&list_services, 1), nullptr);
  queue.Next(&tag, &ok);
  grpc::ByteBuffer answer;
  call->Read(&answer, nullptr);
  queue.Next(&tag, &ok);
  ASSERT_TRUE(ok);
  grpc::Slice slice;
  ASSERT_TRUE(answer.DumpToSingleSlice(&slice).ok());
  const std::string text(reinterpret_cast<const char*>(slice.begin()), slice.size());
  for (const char* service : {"zood.v1.Classifier", "zood.v1.Models", "zood.v1.Evaluation",
                              "zood.v1.Daemon", "grpc.health.v1.Health"}) {
    EXPECT_THAT(text, HasSubstr(service));
  }
  context.TryCancel();
  grpc::Status status;
  call->Finish(&status, nullptr);
  queue.Next(&tag, &ok);
}

TEST_F(DaemonTest, HttpHasMetricsAndHealth) {
  ASSERT_NO_FATAL_FAILURE(Start());
  ASSERT_NO_FATAL_FAILURE(ImportLeNet());
  ASSERT_TRUE(Classify(Request("digits", 0)).ok());
  ASSERT_FALSE(Classify(Request("made-up", 0)).ok());
  const int port = server_->http_port();
  {  // An evaluation's images are computed, but nobody's Classify requests.
    grpc::ClientContext context;
    const auto stream = evaluation_->EvaluateStream(&context);
    v1::EvaluateStreamRequest message;
    message.mutable_spec()->mutable_model()->set_name("digits");
    stream->Write(message);
    AddImage(message.mutable_images()->add_images()->mutable_image(), 0);
    message.mutable_images()->mutable_images(0)->set_index(0);
    stream->Write(message);
    message.mutable_end()->set_images(1);
    stream->Write(message);
    stream->WritesDone();
    v1::EvaluateResponse response;
    while (stream->Read(&response)) {
    }
    ASSERT_TRUE(stream->Finish().ok());
  }
  EXPECT_THAT(HttpGet(port, "/healthz"), HasSubstr("200 OK"));
  const std::string metrics = HttpGet(port, "/metrics");
  for (const char* line :
       {"zood_requests_total{model=\"digits\",status=\"OK\",version=\"1\"} 1",
        "zood_requests_total{model=\"\",status=\"NOT_FOUND\",version=\"\"} 1",
        "zood_images_total{model=\"digits\",version=\"1\"} 2",
        "zood_stage_seconds_count{model=\"digits\",stage=\"compute\"} 2",
        "zood_version_state{model=\"digits\",version=\"1\",state=\"available\"} 1",
        "zood_memory_bytes{kind=\"budget\"}", "zood_build_info{version=\"zood "}) {
    EXPECT_THAT(metrics, HasSubstr(line));
  }
  EXPECT_THAT(metrics, Not(HasSubstr("made-up"))) << "callers cannot make up labels";
  EXPECT_THAT(HttpGet(port, "/nothing"), HasSubstr("404"));
  EXPECT_THAT(HttpGet(port, "/metrics", "DELETE"), HasSubstr("405"));
}

TEST_F(DaemonTest, StatusTellsOfModelsAndMemory) {
  ASSERT_NO_FATAL_FAILURE(Start());
  ASSERT_NO_FATAL_FAILURE(ImportLeNet());
  ASSERT_TRUE(Classify(Request("digits", 0)).ok());
  v1::DaemonStatus status;
  grpc::ClientContext context;
  ASSERT_TRUE(daemon_->GetStatus(&context, {}, &status).ok());
  EXPECT_EQ(status.build(), Build());
  ASSERT_EQ(status.models_size(), 1);
  EXPECT_EQ(status.models(0).model(), "digits");
  EXPECT_EQ(status.models(0).status().requests(), 1);
  EXPECT_EQ(status.memory_used_bytes(), status.models(0).status().memory_bytes());
  EXPECT_EQ(status.model_roots_size(), 2);
}

TEST_F(DaemonTest, AnotherDaemonOnTheSameStoreOrPortIsRefused) {
  ASSERT_NO_FATAL_FAILURE(Start());
  ServerOptions same_store = options_;
  EXPECT_EQ(Server::Start(same_store, zoo_, *log_).status().code(),
            absl::StatusCode::kFailedPrecondition);
  ServerOptions same_port = options_;
  same_port.runtime.data_dir = directory_ + "/other";
  same_port.port = server_->port();
  const auto refused = Server::Start(same_port, zoo_, *log_);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("--port"));
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("Address already in use"));
}

TEST_F(DaemonTest, ListensOnAddressesOfVersion6) {
  for (const char* host : {"::1", "[::1]", "::"}) {
    options_.host = host;
    ASSERT_NO_FATAL_FAILURE(Start());
    const auto channel = grpc::CreateChannel("[::1]:" + std::to_string(server_->port()),
                                             grpc::InsecureChannelCredentials());
    EXPECT_EQ(Health(channel, ""), 1) << host;
    server_.reset();
  }
  options_.host = "192.0.2.1";  // of nobody
  EXPECT_THAT(std::string(Server::Start(options_, zoo_, *log_).status().message()),
              HasSubstr("Cannot assign requested address"));
}

// Keepalive pings every second, of a connection without a call, as HTTP/2 frames.
TEST_F(DaemonTest, PingsAreWelcome) {
  ASSERT_NO_FATAL_FAILURE(Start());
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(server_->port()));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  const auto send_bytes = [&](const std::string& bytes) {
    return send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
  };
  const auto receive = [&](std::size_t length) {
    std::string bytes(length, '\0');
    const ssize_t got = recv(fd, bytes.data(), length, MSG_WAITALL);
    return got == static_cast<ssize_t>(length) ? bytes : std::string();
  };
  constexpr char kSettings = 4;
  constexpr char kPing = 6;
  const auto frame = [](char type, const std::string& payload) {
    return std::string("\0\0", 2) + static_cast<char>(payload.size()) + type +
           std::string(5, '\0') + payload;
  };
  ASSERT_TRUE(send_bytes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(kSettings, "")));
  constexpr int kPings = 6;  // gRPC's own default forgives two
  for (int i = 0; i < kPings; ++i) {
    ASSERT_TRUE(send_bytes(frame(kPing, std::string(8, 'p')))) << "ping " << i;
    while (true) {
      const std::string head = receive(9);
      ASSERT_EQ(head.size(), 9u) << "closed after ping " << i;
      const char type = head[3];
      ASSERT_NE(type, 7) << "GOAWAY after ping " << i;
      const auto byte = [&](int at) {
        return static_cast<std::size_t>(
            static_cast<unsigned char>(head[static_cast<std::size_t>(at)]));
      };
      if (const std::size_t length = byte(0) << 16 | byte(1) << 8 | byte(2); length > 0) {
        ASSERT_EQ(receive(length).size(), length);
      }
      if (type == kPing) break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // the interval between pings
  }
  close(fd);
}

// A log rotation moves the file away and sends SIGHUP.
TEST_F(DaemonTest, ALogFileIsOpenedAnew) {
  const std::string path = directory_ + "/zood.log";
  const auto log = Log::Create("info", "text", path);
  ASSERT_TRUE(log.ok()) << log.status();
  (*log)->Info("first");
  std::filesystem::rename(path, path + ".1");
  (*log)->Info("second");
  ASSERT_TRUE((*log)->Reopen().ok());
  (*log)->Info("third");
  EXPECT_THAT(ReadFile(path + ".1"), HasSubstr("second"));
  EXPECT_THAT(ReadFile(path), HasSubstr("third"));
  EXPECT_THAT(ReadFile(path), Not(HasSubstr("second")));
  // Where it cannot be opened, the old one is written on.
  std::filesystem::remove(path);
  std::filesystem::create_directory(path);
  EXPECT_EQ((*log)->Reopen().code(), absl::StatusCode::kUnavailable);
  (*log)->Info("fourth");
  EXPECT_EQ(Log::Create("info", "text", directory_ + "/none/zood.log").status().code(),
            absl::StatusCode::kUnavailable);
}

std::uintmax_t BytesOfPacks(const std::string& data_dir) {
  std::uintmax_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(data_dir + "/store/packs")) {
    std::error_code gone;  // while it is looked at
    const std::uintmax_t size = entry.file_size(gone);
    if (!gone) bytes += size;
  }
  return bytes;
}

// What is deleted gives its space back while the daemon serves: by itself, or when it is asked to.
TEST_F(DaemonTest, GarbageIsCollectedOnline) {
  for (const bool asked : {true, false}) {
    options_.gc_interval = std::chrono::milliseconds(asked ? 0 : 20);
    ASSERT_NO_FATAL_FAILURE(Start());
    if (asked) {
      ASSERT_NO_FATAL_FAILURE(ImportLeNet());
    }
    const std::uintmax_t before = BytesOfPacks(options_.runtime.data_dir);
    ASSERT_GT(before, 0u);
    v1::ImportSpec spec;
    spec.set_model("other");
    spec.mutable_zoo()->set_architecture("mobilenet_v1_025");
    const Imported other = Import(spec, {"mobilenet_v1_025_v2.ckpt"});
    ASSERT_TRUE(other.status.ok()) << other.status.error_message();
    EXPECT_GT(BytesOfPacks(options_.runtime.data_dir), before);
    grpc::ClientContext context;
    v1::DeleteModelRequest request;
    request.set_name("other");
    v1::DeleteModelResponse response;
    ASSERT_TRUE(models_->DeleteModel(&context, request, &response).ok());
    if (asked) {
      EXPECT_GT(BytesOfPacks(options_.runtime.data_dir), before) << "nobody has asked yet";
      grpc::ClientContext call;
      v1::CollectGarbageResponse collected;
      const grpc::Status status = daemon_->CollectGarbage(&call, {}, &collected);
      ASSERT_TRUE(status.ok()) << status.error_message();
      EXPECT_GT(collected.bytes_freed(), 0);
      EXPECT_EQ(collected.packs_removed(), 1);
    }
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!asked && BytesOfPacks(options_.runtime.data_dir) > before &&
           std::chrono::steady_clock::now() < deadline) {
      std::this_thread::yield();
    }
    EXPECT_EQ(BytesOfPacks(options_.runtime.data_dir), before);
    EXPECT_TRUE(Classify(Request("digits", 0)).ok());
    server_.reset();
  }
}

// The series of a model and of a version end with them.
TEST_F(DaemonTest, MetricsForgetWhatIsDeleted) {
  ASSERT_NO_FATAL_FAILURE(Start());
  std::size_t size = 0;
  for (int i = 0; i < 4; ++i) {
    const std::string model = "model" + std::to_string(i);
    ASSERT_NO_FATAL_FAILURE(ImportLeNet(model));
    ASSERT_TRUE(Classify(Request(model, 0)).ok());
    EXPECT_THAT(HttpGet(server_->http_port(), "/metrics"), HasSubstr(model));
    grpc::ClientContext context;
    v1::DeleteModelRequest request;
    request.set_name(model);
    v1::DeleteModelResponse response;
    const grpc::Status deleted = models_->DeleteModel(&context, request, &response);
    ASSERT_TRUE(deleted.ok()) << deleted.error_message();
    const std::string metrics = HttpGet(server_->http_port(), "/metrics");
    EXPECT_THAT(metrics, Not(HasSubstr(model)));
    if (i == 0) size = metrics.size();
    EXPECT_LT(metrics.size(), size + 200);
  }
}

TEST_F(DaemonTest, DrainingLosesNoAcceptedRequest) {
  ASSERT_NO_FATAL_FAILURE(Start());
  ASSERT_NO_FATAL_FAILURE(ImportLeNet());
  // A stream whose requests have all been accepted: one answer came, the rest must follow.
  grpc::ClientContext context;
  const auto stream = classifier_->ClassifyStream(&context);
  for (int i = 0; i < 40; ++i) {
    v1::ClassifyStreamRequest request;
    *request.mutable_request() = Request("digits", i % 16);
    ASSERT_TRUE(stream->Write(request));
  }
  stream->WritesDone();
  v1::ClassifyStreamResponse response;
  ASSERT_TRUE(stream->Read(&response));

  std::atomic<int> answered = 0;
  std::vector<std::string> unexpected;
  std::mutex mutex;
  std::vector<std::jthread> clients;
  for (int i = 0; i < 8; ++i) {
    clients.emplace_back([&] {
      const auto stub = v1::Classifier::NewStub(NewChannel());
      while (true) {
        grpc::ClientContext call;
        v1::ClassifyResponse answer;
        const grpc::Status status = stub->Classify(&call, Request("digits", 0), &answer);
        if (status.ok()) {
          ++answered;
          continue;
        }
        // Refused: by the drained daemon, or because nobody listens any more.
        if (status.error_code() != grpc::StatusCode::UNAVAILABLE) {
          const std::lock_guard lock(mutex);
          unexpected.push_back(status.error_message());
        }
        return;
      }
    });
  }
  while (answered < 50) std::this_thread::yield();
  // The stream's 40 among them: all of it has been read.
  while (server_->runtime().manager().Status("digits", 1).queue.images < 90) {
    std::this_thread::yield();
  }
  server_->Stop(std::chrono::seconds(60));
  clients.clear();
  EXPECT_TRUE(unexpected.empty()) << unexpected.front();
  int answers = 1;
  while (stream->Read(&response)) {
    EXPECT_TRUE(response.has_response()) << response.error().message();
    ++answers;
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(answers, 40);
}

// All were accepted before the signal: none may be refused, cancelled or lost.
TEST_F(DaemonTest, WhatWasAcceptedBeforeTheSignalIsAnswered) {
  options_.runtime.servable.batch_sizes = {1};
  ASSERT_NO_FATAL_FAILURE(Start());
  ASSERT_NO_FATAL_FAILURE(ImportLeNet());
  constexpr int kClients = 8;
  constexpr int kImages = 32;
  std::vector<grpc::Status> statuses(kClients);
  std::vector<std::jthread> clients;
  for (grpc::Status& status : statuses) {
    clients.emplace_back([&] {
      const auto stub = v1::Classifier::NewStub(NewChannel());
      v1::ClassifyRequest request = Request("digits", 0);
      for (int i = 1; i < kImages; ++i) AddImage(request.add_images(), i % 16);
      grpc::ClientContext call;
      v1::ClassifyResponse answer;
      status = stub->Classify(&call, request, &answer);
    });
  }
  const auto accepted = [&] {
    const auto queue = server_->runtime().manager().Status("digits", 1).queue;
    return queue.images + queue.waiting;
  };
  while (accepted() < kClients * kImages) std::this_thread::yield();
  server_->Stop(std::chrono::seconds(60));
  clients.clear();
  for (const grpc::Status& status : statuses) EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST_F(DaemonTest, AnOpenStreamIsToldToEnd) {
  ASSERT_NO_FATAL_FAILURE(Start());
  ASSERT_NO_FATAL_FAILURE(ImportLeNet());
  grpc::ClientContext context;
  const auto stream = classifier_->ClassifyStream(&context);
  v1::ClassifyStreamRequest request;
  *request.mutable_request() = Request("digits", 0);
  ASSERT_TRUE(stream->Write(request));
  v1::ClassifyStreamResponse response;
  ASSERT_TRUE(stream->Read(&response));
  auto stopped = std::async(std::launch::async, [&] { server_->Stop(std::chrono::minutes(10)); });
  EXPECT_FALSE(stream->Read(&response));
  const grpc::Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE) << status.error_message();
  EXPECT_THAT(status.error_message(), HasSubstr("shutting down"));
  EXPECT_EQ(stopped.wait_for(std::chrono::minutes(5)), std::future_status::ready);
}

TEST_F(DaemonTest, WhileItDrainsEveryServiceRefusesNewCalls) {
  ASSERT_NO_FATAL_FAILURE(Start());
  ASSERT_NO_FATAL_FAILURE(ImportLeNet());
  // An upload that has begun: the daemon says that it has received the first part.
  grpc::ClientContext context;
  const auto upload = models_->UploadModel(&context);
  v1::UploadModelRequest message;
  *message.mutable_spec() = LeNetSpec();
  ASSERT_TRUE(upload->Write(message));
  message.mutable_file()->set_name("a.ckpt");
  message.mutable_file()->set_size(5 << 20);
  ASSERT_TRUE(upload->Write(message));
  message.set_chunk(std::string(4 << 20, 'x'));
  ASSERT_TRUE(upload->Write(message));
  v1::ImportModelResponse response;
  ASSERT_TRUE(upload->Read(&response));

  auto stopped = std::async(std::launch::async, [&] { server_->Stop(std::chrono::minutes(10)); });
  const int http_port = server_->http_port();
  while (Health(channel_, "") == 1) std::this_thread::yield();
  EXPECT_EQ(Health(channel_, ""), 2);
  EXPECT_THAT(HttpGet(http_port, "/healthz"), HasSubstr("503"));
  v1::DaemonStatus status;
  grpc::ClientContext ask;
  EXPECT_TRUE(daemon_->GetStatus(&ask, {}, &status).ok());
  EXPECT_TRUE(status.draining());
  const auto refused = [](const grpc::Status& answer) {
    return answer.error_code() == grpc::StatusCode::UNAVAILABLE;
  };
  // Health is told a moment before the services are.
  const auto list_models = [&] {
    grpc::ClientContext call;
    v1::ListModelsResponse models;
    return models_->ListModels(&call, {}, &models);
  };
  while (!refused(list_models())) std::this_thread::yield();
  {
    grpc::ClientContext call;
    v1::ListDatasetsResponse datasets;
    EXPECT_TRUE(refused(datasets_->ListDatasets(&call, {}, &datasets)));
  }
  {
    grpc::ClientContext call;
    v1::ListJobsResponse jobs;
    EXPECT_TRUE(refused(jobs_->ListJobs(&call, {}, &jobs)));
  }
  {
    grpc::ClientContext call;
    const auto evaluation = evaluation_->Evaluate(&call, {});
    v1::EvaluateResponse report;
    while (evaluation->Read(&report)) {
    }
    EXPECT_TRUE(refused(evaluation->Finish()));
  }
  // The upload goes on, and gets an answer of its own.
  message.set_chunk(std::string(1 << 20, 'x'));
  EXPECT_TRUE(upload->Write(message));
  upload->WritesDone();
  EXPECT_EQ(Finish(*upload).status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  stopped.get();
}

TEST(CallsInFlightTest, LongCallsLeaveThreadsForShortOnes) {
  CallsInFlight calls(/*max_long=*/2);
  const auto ok = [] { return grpc::Status::OK; };
  grpc::Status third;
  grpc::Status short_one;
  const grpc::Status first = calls.Answer(CallLength::kLong, [&] {
    return calls.Answer(CallLength::kLong, [&] {
      third = calls.Answer(CallLength::kLong, ok);
      short_one = calls.Answer(CallLength::kShort, ok);
      return grpc::Status::OK;
    });
  });
  EXPECT_TRUE(first.ok());
  EXPECT_EQ(third.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(third.error_message(), HasSubstr("2 calls"));
  EXPECT_TRUE(short_one.ok());
  EXPECT_TRUE(calls.Answer(CallLength::kLong, ok).ok()) << "the first ones have ended";
  calls.Drain();
  EXPECT_EQ(calls.Answer(CallLength::kShort, ok).error_code(), grpc::StatusCode::UNAVAILABLE);
}

// gRPC's own health service says SERVING from the moment at which it listens.
TEST_F(DaemonTest, NoCallIsAnsweredBeforeTheServerIsWhole) {
  ASSERT_NO_FATAL_FAILURE(Start());  // turns gRPC's health service on
  CallsInFlight calls(1);
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> interceptors;
  interceptors.push_back(calls.MakeInterceptorFactory());
  builder.experimental().SetInterceptorCreators(std::move(interceptors));
  const auto server = builder.BuildAndStart();
  const auto channel =
      grpc::CreateChannel("127.0.0.1:" + std::to_string(port), grpc::InsecureChannelCredentials());
  auto health = std::async(std::launch::async, [&] { return Health(channel, ""); });
  EXPECT_EQ(health.wait_for(std::chrono::milliseconds(200)), std::future_status::timeout);
  server->GetHealthCheckService()->SetServingStatus("", false);
  calls.Open();
  EXPECT_EQ(health.get(), 2) << "what was said before the server was whole";
  server->Shutdown();
}

// The program, as a person runs it.
class ProgramTest : public ServerTest {
 protected:
  struct Outcome {
    int code = -1;
    std::string output;
  };
  static Outcome Run(const std::string& arguments) {
    Outcome outcome;
    FILE* pipe = popen((std::string(ZOOD_BINARY) + " " + arguments + " 2>&1").c_str(), "r");
    std::array<char, 4096> buffer;
    for (std::size_t n = 0; (n = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) {
      outcome.output.append(buffer.data(), n);
    }
    outcome.code = WEXITSTATUS(pclose(pipe));
    return outcome;
  }
};

TEST_F(ProgramTest, HelpNamesEveryOption) {
  CLI::App app;
  ServeConfig config;
  AddServeOptions(app, config);
  for (const char* command : {"serve --help", "--help", "--help-all"}) {
    const Outcome help = Run(command);
    EXPECT_EQ(help.code, 0);
    int options = 0;
    for (const CLI::Option* option : app.get_options()) {
      if (option->get_envname().empty()) continue;  // --help
      ++options;
      EXPECT_THAT(help.output, HasSubstr("--" + option->get_lnames().front())) << command;
      EXPECT_THAT(help.output, HasSubstr("Env:" + option->get_envname())) << command;
    }
    EXPECT_GT(options, 20);
    EXPECT_THAT(help.output, HasSubstr("8500"));
  }
  EXPECT_THAT(Run("--help").output, HasSubstr("--quick")) << "of the other commands too";
  EXPECT_EQ(Run("").code, 2);
  EXPECT_EQ(Run("serve --no-such-option").code, 2);
  EXPECT_EQ(Run("serve --port 99999").code, 2);
  std::ofstream(directory_ + "/bad.conf") << "prot = 8500\n";
  const Outcome bad = Run("serve --config " + directory_ + "/bad.conf");
  EXPECT_EQ(bad.code, 2);
  EXPECT_THAT(bad.output, HasSubstr("prot"));
  EXPECT_EQ(Run("serve --config " + directory_ + "/none.conf").code, 2);
  EXPECT_THAT(Run("--version").output, HasSubstr(Build()));
}

TEST_F(ProgramTest, InspectFsckAndGcWorkOffline) {
  const Outcome inspect = Run("inspect " + ckpt_ + "/lenet12_v1.ckpt");
  EXPECT_EQ(inspect.code, 0);
  EXPECT_THAT(inspect.output, HasSubstr("LeNet/conv1/weights"));
  EXPECT_THAT(inspect.output, HasSubstr("[5,5,1,32]"));
  EXPECT_EQ(Run("inspect /no/such/file").code, 1);
  EXPECT_EQ(Run("fsck --data-dir " + directory_ + "/none").code, 1);
  ASSERT_NO_FATAL_FAILURE(Start());
  ASSERT_NO_FATAL_FAILURE(ImportLeNet());
  EXPECT_EQ(Run("fsck --data-dir " + options_.runtime.data_dir).code, 1) << "a daemon has it";
  server_.reset();
  const Outcome fsck = Run("fsck --data-dir " + options_.runtime.data_dir);
  EXPECT_EQ(fsck.code, 0) << fsck.output;
  EXPECT_THAT(fsck.output, HasSubstr("1 versions, 0 datasets, 8 tensors"));
  EXPECT_EQ(Run("gc --data-dir " + options_.runtime.data_dir).code, 0);
}

// What cannot be written was not done.
TEST_F(ProgramTest, OutputThatCannotBeWrittenIsAnError) {
  ASSERT_NO_FATAL_FAILURE(Start());
  ASSERT_NO_FATAL_FAILURE(ImportLeNet());
  server_.reset();
  const std::string data_dir = " --data-dir " + options_.runtime.data_dir;
  for (const std::string& command :
       {"inspect " + ckpt_ + "/lenet12_v1.ckpt", "fsck" + data_dir, "gc" + data_dir,
        std::string("--help"), std::string("--version")}) {
    const Outcome full = Run(command + " 3>&1 >/dev/full 2>&3; exit $?");
    EXPECT_EQ(full.code, 1) << command;
    EXPECT_THAT(full.output, HasSubstr("the output cannot be written: No space left on device"))
        << command;
  }
}

TEST_F(ProgramTest, ServesUntilSigtermAndTakesOptionsFromEverywhere) {
  const std::string ready = directory_ + "/ready";
  const std::string config = directory_ + "/zood.conf";
  // The file loses against the environment, which loses against the flag.
  std::ofstream(config) << "data-dir = \"" << directory_ << "/from-file\"\n"
                        << "log-format = \"json\"\nport = 1\nhttp-port = 1\nlanes = 256\n";
  const std::string log = directory_ + "/log";
  const pid_t pid = fork();
  if (pid == 0) {
    setenv("ZOOD_PORT", "2", 1);
    setenv("ZOOD_HTTP_PORT", "0", 1);
    // The tests' own policy would leave zood nothing to decide.
    for (const char* name : {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "ZOOD_OPENMP_SET"}) {
      unsetenv(name);
    }
    if (freopen(log.c_str(), "w", stderr) == nullptr) _exit(3);
    execl(ZOOD_BINARY, ZOOD_BINARY, "serve", "--config", config.c_str(), "--port", "0",
          "--ready-file", ready.c_str(), static_cast<char*>(nullptr));
    _exit(4);
  }
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(100);
  while (!std::filesystem::exists(ready) && std::chrono::steady_clock::now() < deadline &&
         waitpid(pid, nullptr, WNOHANG) == 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  int grpc_port = 0;
  int http_port = 0;
  int told_pid = 0;
  ASSERT_EQ(std::sscanf(ReadFile(ready).c_str(), "grpc=%d http=%d pid=%d", &grpc_port, &http_port,
                        &told_pid),
            3)
      << ReadFile(log);
  EXPECT_EQ(told_pid, pid);
  const auto channel = grpc::CreateChannel("127.0.0.1:" + std::to_string(grpc_port),
                                           grpc::InsecureChannelCredentials());
  EXPECT_EQ(Health(channel, ""), 1);
  EXPECT_THAT(HttpGet(http_port, "/healthz"), HasSubstr("200"));
  // Started again with the policy that libgomp is to read.
  const std::string environment = ReadFile("/proc/" + std::to_string(pid) + "/environ");
  EXPECT_THAT(environment, HasSubstr("ZOOD_OPENMP_SET=1"));
  EXPECT_THAT(environment, HasSubstr("GOMP_SPINCOUNT="));
  EXPECT_TRUE(std::filesystem::exists(directory_ + "/from-file/store"));
  kill(pid, SIGHUP);
  while (ReadFile(log).find("SIGHUP: there is nothing to reload") == std::string::npos &&
         std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_THAT(HttpGet(http_port, "/healthz"), HasSubstr("200")) << "it goes on";
  kill(pid, SIGTERM);
  int status = 0;
  waitpid(pid, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << ReadFile(log);
  EXPECT_THAT(ReadFile(log), HasSubstr("\"event\":\"stopped\""));
  if (std::thread::hardware_concurrency() < 256) {
    EXPECT_THAT(ReadFile(log), HasSubstr("fewer computing threads than asked for"));
  }
}

// No more threads compute than there are cores, whatever was asked for.
TEST(ResolveTest, LanesAndThreadsFitTheCores) {
  const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  for (const auto& [lanes, threads] : {std::pair(1, 0), {16, 0}, {256, 4096}, {2, 1}, {1, 4096}}) {
    ServeConfig config;
    config.server.runtime.lanes = lanes;
    config.compute_threads = threads;
    Resolve(config);
    const runtime::RuntimeOptions& resolved = config.server.runtime;
    EXPECT_GE(resolved.servable.threads_per_lane, 1);
    EXPECT_GE(resolved.lanes, 1);
    EXPECT_LE(resolved.lanes * resolved.servable.threads_per_lane,
              threads > 0 ? std::min(threads, cores) : cores)
        << lanes << " lanes, " << threads << " threads";
  }
}

}  // namespace
}  // namespace zood::server
