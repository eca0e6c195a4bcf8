#include <grpcpp/generic/generic_stub.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "tests/server/raw_call.h"
#include "tests/server/server_fixture.h"

namespace zood::server {
namespace {

using ::testing::HasSubstr;

nlohmann::json Golden(const std::string& model) {
  return nlohmann::json::parse(
      ReadFile(std::string(ZOOD_TEST_DATA) + "/golden/" + model + ".json"));
}

double Spread(const std::vector<double>& values) {
  double sum = 0;
  double squares = 0;
  for (const double value : values) {
    sum += value;
    squares += value * value;
  }
  const auto n = static_cast<double>(values.size());
  return std::sqrt(squares / n - sum / n * (sum / n));
}

void ExpectClose(const google::protobuf::RepeatedField<float>& logits,
                 const std::vector<double>& expected) {
  ASSERT_EQ(static_cast<std::size_t>(logits.size()), expected.size());
  for (std::size_t c = 0; c < expected.size(); ++c) {
    EXPECT_NEAR(logits[static_cast<int>(c)], expected[c], 2e-5 * Spread(expected)) << c;
  }
}

TEST_F(ServerTest, AnImportedCheckpointAnswersWhatTensorFlowAnswers) {
  ASSERT_NO_FATAL_FAILURE(Start());
  ASSERT_NO_FATAL_FAILURE(ImportLeNet());
  const nlohmann::json golden = Golden("lenet12");
  for (int i = 0; i < 2; ++i) {
    v1::ClassifyRequest request = Request("digits", i);
    request.set_logits(true);
    v1::ClassifyResponse response;
    const grpc::Status status = Classify(request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(response.model().model(), "digits");
    EXPECT_EQ(response.model().version(), 1);
    EXPECT_EQ(response.model().digest().size(), 64u);
    ASSERT_EQ(response.results_size(), 1);
    const v1::ImageResult& result = response.results(0);
    ExpectClose(result.logits(), golden["logits_f64"][static_cast<std::size_t>(i)]);
    ASSERT_EQ(result.classes_size(), 5);
    EXPECT_EQ(result.classes(0).index(), golden["top5"][static_cast<std::size_t>(i)][0][0]);
    EXPECT_EQ(result.batch_size(), 1);
    EXPECT_GT(result.timing().compute_ms(), 0);
    EXPECT_GE(response.total_ms(), result.timing().compute_ms());
  }
}

TEST_F(ServerTest, AMobileNetFromAnUploadAnswersWhatTensorFlowAnswers) {
  ASSERT_NO_FATAL_FAILURE(Start());
  v1::ImportSpec spec;
  spec.set_model("mobile");
  spec.mutable_zoo()->set_architecture("mobilenet_v1_025");
  spec.set_load(true);
  const std::string name = "mobilenet_v1_025_v2.ckpt";
  const Imported imported = Upload(
      spec,
      {{name + ".index", ReadFile(ckpt_ + "/" + name + ".index")},
       {name + ".data-00000-of-00001", ReadFile(ckpt_ + "/" + name + ".data-00000-of-00001")}});
  ASSERT_TRUE(imported.status.ok()) << imported.status.error_message();
  EXPECT_EQ(imported.version.status().state(), v1::AVAILABLE);
  EXPECT_EQ(imported.version.num_classes(), 1001);
  EXPECT_EQ(imported.version.labels(0), "background");
  EXPECT_FALSE(imported.progress.empty());
  EXPECT_THAT(imported.version.sources(0).uri(), ::testing::StartsWith(name));

  const nlohmann::json golden = Golden("mobilenet_v1_025");
  v1::ClassifyRequest request;
  request.mutable_model()->set_name("mobile");
  request.set_logits(true);
  request.add_end_points("MobilenetV1/Logits/AvgPool_1a");
  for (int i = 0; i < 2; ++i) {
    v1::Tensor* input = request.add_images()->mutable_input();
    input->set_dtype(v1::DATA_TYPE_FLOAT32);
    for (const int extent : {224, 224, 3}) input->add_shape(extent);
    std::string bytes;
    for (const std::uint8_t pixel : zood::testing::ImageU8(i, 224, 224, 3)) {
      const float x = (static_cast<float>(pixel) * static_cast<float>(1 / 255.0) - 0.5f) * 2.0f;
      bytes.append(reinterpret_cast<const char*>(&x), sizeof(x));
    }
    input->set_data(bytes);
  }
  v1::ClassifyResponse response;
  grpc::Status status = Classify(request, &response);
  if (status.error_code() == grpc::StatusCode::NOT_FOUND) {  // the name that GetVersion lists
    ASSERT_GT(imported.version.end_points_size(), 0);
    request.set_end_points(0, imported.version.end_points(0));
    status = Classify(request, &response);
  }
  ASSERT_TRUE(status.ok()) << status.error_message();
  for (int i = 0; i < 2; ++i) {
    ExpectClose(response.results(i).logits(), golden["logits_f64"][static_cast<std::size_t>(i)]);
    ASSERT_EQ(response.results(i).end_points_size(), 1);
    const v1::Tensor& value = response.results(i).end_points(0).value();
    std::int64_t elements = 1;
    for (const std::int64_t extent : value.shape()) elements *= extent;
    EXPECT_EQ(value.data().size(), static_cast<std::size_t>(elements) * 4);
  }
}

TEST_F(ServerTest, SixteenClientsAreJoinedAndGetTheirOwnAnswers) {
  options_.runtime.servable.batch_sizes = {1, 2, 4, 8, 16};
  ASSERT_NO_FATAL_FAILURE(Start());
  ASSERT_NO_FATAL_FAILURE(ImportLeNet());
  std::vector<std::vector<double>> solo(16);
  for (int i = 0; i < 16; ++i) {
    v1::ClassifyRequest request = Request("digits", i);
    request.set_logits(true);
    v1::ClassifyResponse response;
    ASSERT_TRUE(Classify(request, &response).ok());
    const auto& logits = response.results(0).logits();
    solo[static_cast<std::size_t>(i)].assign(logits.begin(), logits.end());
  }
  std::atomic<int> largest = 0;
  std::vector<std::jthread> clients;
  for (int i = 0; i < 16; ++i) {
    clients.emplace_back([&, i] {
      const auto stub = v1::Classifier::NewStub(NewChannel());
      v1::ClassifyRequest request = Request("digits", i);
      request.set_logits(true);
      // Until some were joined: on an idle machine that takes a moment.
      for (int turn = 0; turn < 50 || (largest <= 1 && turn < 5000); ++turn) {
        grpc::ClientContext context;
        v1::ClassifyResponse response;
        const grpc::Status status = stub->Classify(&context, request, &response);
        ASSERT_TRUE(status.ok()) << status.error_message();
        ExpectClose(response.results(0).logits(), solo[static_cast<std::size_t>(i)]);
        largest = std::max<int>(largest, response.results(0).batch_size());
      }
    });
  }
  clients.clear();
  EXPECT_GT(largest, 1);
}

TEST_F(ServerTest, AStreamAnswersEveryRequestById) {
  ASSERT_NO_FATAL_FAILURE(Start());
  ASSERT_NO_FATAL_FAILURE(ImportLeNet());
  grpc::ClientContext context;
  const auto stream = classifier_->ClassifyStream(&context);
  constexpr int kRequests = 200;  // more than are worked on at a time
  std::jthread writer([&] {
    for (int i = 0; i < kRequests; ++i) {
      v1::ClassifyStreamRequest request;
      request.set_id(std::to_string(i));
      // Every tenth is wrong; the stream goes on.
      *request.mutable_request() = Request(i % 10 == 9 ? "nonsense" : "digits", i % 16);
      ASSERT_TRUE(stream->Write(request));
    }
    stream->WritesDone();
  });
  std::set<std::string> ids;
  v1::ClassifyStreamResponse response;
  while (stream->Read(&response)) {
    EXPECT_TRUE(ids.insert(response.id()).second) << response.id();
    const bool wrong = response.id().ends_with('9');
    EXPECT_EQ(response.has_error(), wrong) << response.id();
    if (wrong) {
      EXPECT_EQ(response.error().code(), grpc::StatusCode::NOT_FOUND);
    }
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(ids.size(), static_cast<std::size_t>(kRequests));
}

// Requests and answers are 64 KiB each, as large as the client's window for what it has not read.
TEST_F(ServerTest, AStreamWhoseAnswersAreNotTakenIsNotRead) {
  ASSERT_NO_FATAL_FAILURE(Start());
  ASSERT_NO_FATAL_FAILURE(ImportLeNet());
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  const auto channel = grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(port_),
                                                 grpc::InsecureChannelCredentials(), arguments);
  grpc::ClientContext context;
  const auto stream = v1::Classifier::NewStub(channel)->ClassifyStream(&context);
  constexpr int kRequests = 1000;
  std::atomic<int> written = 0;
  std::jthread writer([&] {
    v1::ClassifyStreamRequest request;
    request.set_id(std::string(64 << 10, 'x'));  // comes back with the answer
    *request.mutable_request() = Request("digits", 0);
    for (; written < kRequests; ++written) ASSERT_TRUE(stream->Write(request));
    stream->WritesDone();
  });
  // Until the writer stands still. What counts is how far the server came by then.
  for (int before = -1; before != written || written == 0;) {
    before = written;
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
  }
  EXPECT_LT(written, kRequests) << "the server reads on, though nobody takes its answers";
  int answers = 0;
  v1::ClassifyStreamResponse response;
  while (stream->Read(&response)) {
    EXPECT_TRUE(response.has_response()) << response.error().message();
    ++answers;
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(answers, kRequests);
}

TEST_F(ServerTest, AClientThatVanishesFromAStreamHarmsNobody) {
  ASSERT_NO_FATAL_FAILURE(Start());
  ASSERT_NO_FATAL_FAILURE(ImportLeNet());
  for (int turn = 0; turn < 20; ++turn) {
    grpc::ClientContext context;
    const auto stream = classifier_->ClassifyStream(&context);
    for (int i = 0; i < turn; ++i) {
      v1::ClassifyStreamRequest request;
      *request.mutable_request() = Request("digits", i % 16);
      stream->Write(request);
    }
    context.TryCancel();
    EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  EXPECT_TRUE(Classify(Request("digits", 0)).ok());
}

TEST_F(ServerTest, BadClassifyRequestsSayWhatIsWrong) {
  options_.max_message_bytes = 1 << 20;
  options_.runtime.classifier.image_limits.max_pixels = 10'000;
  options_.runtime.classifier.max_images_per_request = 4;
  ASSERT_NO_FATAL_FAILURE(Start());
  ASSERT_NO_FATAL_FAILURE(ImportLeNet());
  struct Case {
    const char* name;
    std::function<void(v1::ClassifyRequest&)> spoil;
    grpc::StatusCode code;
    const char* words;
  };
  using enum grpc::StatusCode;
  const std::vector<Case> cases = {
      {"unknown model", [](auto& r) { r.mutable_model()->set_name("cats"); }, NOT_FOUND, "'cats'"},
      {"no model", [](auto& r) { r.clear_model(); }, INVALID_ARGUMENT, "no model"},
      {"unknown version", [](auto& r) { r.mutable_model()->set_version(7); }, NOT_FOUND,
       "no version 7"},
      {"version 0", [](auto& r) { r.mutable_model()->set_version(0); }, INVALID_ARGUMENT,
       "numbered from 1"},
      {"unknown alias", [](auto& r) { r.mutable_model()->set_alias("beta"); }, NOT_FOUND, "'beta'"},
      {"empty request", [](auto& r) { r.clear_images(); }, INVALID_ARGUMENT, "no image"},
      {"empty image", [](auto& r) { r.mutable_images(0)->Clear(); }, INVALID_ARGUMENT, "image 0"},
      {"too many images",
       [](auto& r) {
         for (int i = 0; i < 4; ++i) *r.add_images() = r.images(0);
       },
       INVALID_ARGUMENT, "5 images; 4 are allowed"},
      {"no image file", [](auto& r) { r.mutable_images(0)->set_encoded("%PDF-1.7"); },
       INVALID_ARGUMENT, "image 0"},
      {"too many pixels",
       [](auto& r) {
         v1::Tensor* pixels = r.mutable_images(0)->mutable_pixels();
         pixels->set_shape(0, 1000);
         pixels->set_shape(1, 100);
         pixels->set_data(std::string(100'000, 'x'));
       },
       INVALID_ARGUMENT, "10000"},
      {"wrong dtype",
       [](auto& r) { r.mutable_images(0)->mutable_pixels()->set_dtype(v1::DATA_TYPE_FLOAT32); },
       INVALID_ARGUMENT, "DATA_TYPE_UINT8"},
      {"unknown end point", [](auto& r) { r.add_end_points("conv99"); }, NOT_FOUND, "conv99"},
      {"answer over the limit",
       [](auto& r) {
         for (int i = 0; i < 3; ++i) *r.add_images() = r.images(0);
         r.add_end_points("conv1");
         for (int i = 0; i < 15; ++i) r.add_end_points("conv1");
       },
       INVALID_ARGUMENT, "of 4 images, but a message may have 1.0 MiB"},
      {"message over the limit",
       [](auto& r) { r.mutable_images(0)->set_encoded(std::string(2 << 20, 'x')); },
       RESOURCE_EXHAUSTED, "larger than max"},
  };
  for (const Case& c : cases) {
    v1::ClassifyRequest request = Request("digits", 0);
    c.spoil(request);
    const grpc::Status status = Classify(request);
    EXPECT_EQ(status.error_code(), c.code) << c.name << ": " << status.error_message();
    EXPECT_THAT(status.error_message(), HasSubstr(c.words)) << c.name;
  }
  EXPECT_TRUE(Classify(Request("digits", 0)).ok());
}

TEST_F(ServerTest, EachImageHasAnOutcomeWhereTheCallerAsksForIt) {
  ASSERT_NO_FATAL_FAILURE(Start());
  ASSERT_NO_FATAL_FAILURE(ImportLeNet());
  v1::ClassifyRequest request = Request("digits", 0);
  request.add_images()->set_encoded("\xff\xd8\xff no JPEG");
  request.add_images();  // of no form at all
  AddImage(request.add_images(), 1);
  request.mutable_images(3)->mutable_pixels()->set_dtype(v1::DATA_TYPE_FLOAT32);
  AddImage(request.add_images(), 1);
  EXPECT_THAT(Classify(request).error_message(), HasSubstr("image "));
  request.set_outcome_per_image(true);
  v1::ClassifyResponse response;
  const grpc::Status status = Classify(request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(response.results_size(), 5);
  for (const int i : {1, 2, 3}) {
    EXPECT_EQ(response.results(i).error().code(), grpc::StatusCode::INVALID_ARGUMENT) << i;
    EXPECT_EQ(response.results(i).classes_size(), 0) << i;
  }
  for (const int i : {0, 4}) {
    EXPECT_FALSE(response.results(i).has_error()) << i;
    EXPECT_EQ(response.results(i).classes_size(), 5) << i;
  }
}

// A call of the classifier as bytes, so that they can be no message.
class RawCallTest : public ServerTest {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(Start());
    ASSERT_NO_FATAL_FAILURE(ImportLeNet());
  }

  struct Outcome {
    grpc::Status status;
    std::set<std::string> answered;
  };

  // Sends the messages, then says that there are no more.
  Outcome Stream(const std::vector<std::string>& messages) {
    grpc::GenericStub stub(channel_);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(100));
    RawCall call(stub, context, "/zood.v1.Classifier/ClassifyStream");
    for (const std::string& message : messages) {
      if (!call.Write(message)) break;
    }
    call.WritesDone();
    Outcome outcome;
    for (std::string bytes; call.Read(bytes);) {
      v1::ClassifyStreamResponse response;
      EXPECT_TRUE(response.ParseFromString(bytes));
      EXPECT_TRUE(response.has_response()) << response.error().message();
      outcome.answered.insert(response.id());
    }
    outcome.status = call.Finish();
    return outcome;
  }
};

// At every place in the stream, by every kind of damage: an error after what was read before it is
// answered, never the success of a stream that lacks something.
TEST_F(RawCallTest, AMessageThatCannotBeParsedEndsTheStreamWithAnError) {
  std::vector<std::string> good;
  for (int i = 0; i < 4; ++i) {
    v1::ClassifyStreamRequest request;
    request.set_id(std::to_string(i));
    *request.mutable_request() = Request("digits", i);
    good.push_back(request.SerializeAsString());
  }
  EXPECT_TRUE(Stream(good).status.ok());
  EXPECT_EQ(Stream(good).answered.size(), 4u);
  const std::vector<std::pair<const char*, std::function<std::string(std::string)>>> damages = {
      {"cut inside a length", [](std::string) { return std::string("\x12\xff"); }},
      {"cut inside a value", [](std::string m) { return m.substr(0, m.size() / 2); }},
      {"its last byte missing", [](std::string m) { return m.substr(0, m.size() - 1); }},
      {"a name in Latin-1", [](std::string m) { return m + "\x0a\x03t\xe9l"; }},
      {"a tag of no field", [](std::string m) { return m + std::string(1, '\0'); }},
      {"a group that does not end", [](std::string m) { return m + "\x1b"; }},
  };
  for (const auto& [name, damage] : damages) {
    for (std::size_t at = 0; at < good.size(); ++at) {
      std::vector<std::string> messages = good;
      messages[at] = damage(good[at]);
      const Outcome outcome = Stream(messages);
      EXPECT_EQ(outcome.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT)
          << name << " at " << at << ": " << outcome.status.error_message();
      EXPECT_THAT(outcome.status.error_message(), HasSubstr("ClassifyStreamRequest")) << name;
      EXPECT_EQ(outcome.answered.size(), at) << name;
    }
  }
  EXPECT_TRUE(Stream(good).status.ok()) << "and the service serves on";
}

TEST_F(RawCallTest, ARequestThatCannotBeParsedIsAnError) {
  for (const std::string bytes : {"\xff", "\x12\xff", "\x0a\x03\x0a\x01\xe9"}) {
    grpc::GenericStub stub(channel_);
    grpc::ClientContext context;
    RawCall call(stub, context, "/zood.v1.Classifier/Classify");
    call.Write(bytes);
    call.WritesDone();
    EXPECT_EQ(call.Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  }
}

// Requests that wait in the queue, because another place in it is reserved for an image that does
// not come; then their deadline passes, or their caller goes.
class WaitingTest : public ServerTest {
 protected:
  void SetUp() override {
    options_.runtime.servable.max_wait = std::chrono::hours(1);
    ASSERT_NO_FATAL_FAILURE(Start());
    ASSERT_NO_FATAL_FAILURE(ImportLeNet());
    auto servable = server_->runtime().manager().AcquireAndWait({"digits", ""},
                                                                serving::Clock::time_point::max());
    ASSERT_TRUE(servable.ok());
    program_ = (*servable)->FindProgram({});
  }
  void TearDown() override { program_.reset(); }

  serving::BatchQueue& queue() { return program_->queue(); }

  // Whether the image of the request that `call` gives up is not computed, though a lane is free
  // for it afterwards. The server hears a moment later than the caller that it was given up, so a
  // lane may still compute one, but not each of twenty.
  bool IsDropped(const std::function<void()>& call) {
    for (int attempt = 0; attempt < 20; ++attempt) {
      const std::int64_t before = queue().statistics().images;
      EXPECT_TRUE(queue().Reserve(1).ok());
      call();
      queue().Release(1);
      while (queue().statistics().waiting > 0) std::this_thread::yield();
      if (queue().statistics().images == before) return true;
    }
    return false;
  }

  std::shared_ptr<serving::Program> program_;
};

TEST_F(WaitingTest, ADeadlineIsHonored) {
  EXPECT_TRUE(IsDropped([&] {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(200));
    v1::ClassifyResponse response;
    EXPECT_EQ(classifier_->Classify(&context, Request("digits", 0), &response).error_code(),
              grpc::StatusCode::DEADLINE_EXCEEDED);
  }));
}

TEST_F(WaitingTest, ACancellationReachesTheQueue) {
  EXPECT_TRUE(IsDropped([&] {
    grpc::ClientContext context;
    std::jthread caller([&] {
      v1::ClassifyResponse response;
      EXPECT_EQ(classifier_->Classify(&context, Request("digits", 0), &response).error_code(),
                grpc::StatusCode::CANCELLED);
    });
    while (queue().statistics().waiting < 2) std::this_thread::yield();
    context.TryCancel();
  }));
}

}  // namespace
}  // namespace zood::server
