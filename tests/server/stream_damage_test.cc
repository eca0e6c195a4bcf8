// Streams of requests that are cut or damaged at every message: never a success that lacks
// something, and nothing left behind.
#include <google/protobuf/descriptor.h>

#include <functional>
#include <set>
#include <span>

#include "tests/server/fine_tuning_fixture.h"
#include "tests/server/raw_call.h"

namespace zood::server {
namespace {

class StreamDamageTest : public FineTuningTest {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(Start());
    ASSERT_NO_FATAL_FAILURE(ImportLeNet());
  }

  struct Outcome {
    grpc::Status status;
    std::vector<std::string> answers;
  };
  struct Method {
    std::string name;
    std::vector<std::string> messages;
    // Whether what a successful call answered has everything that was sent.
    std::function<bool(const Outcome&)> complete;
  };

  enum class End { kSaid, kCancelled };

  Outcome Call(const std::string& method, std::span<const std::string> messages, End end) {
    grpc::GenericStub stub(channel_);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(100));
    RawCall call(stub, context, method);
    for (const std::string& message : messages) {
      if (!call.Write(message)) break;
    }
    end == End::kSaid ? call.WritesDone() : context.TryCancel();
    Outcome outcome;
    for (std::string answer; call.Read(answer);) outcome.answers.push_back(answer);
    outcome.status = call.Finish();
    return outcome;
  }

  store::Store& store() { return server_->runtime().catalogue().store(); }
  bool NothingIsKept() {
    return store().ListModels()->size() == 1 && store().ListDatasets()->empty();
  }
  // A call that was cancelled ends at the server a moment after its client.
  bool UploadsVanish() {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!std::filesystem::is_empty(server_->runtime().uploads_dir())) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::yield();
    }
    return true;
  }
  void RemoveWhatIsKept() {
    const auto models = store().ListModels();
    const auto datasets = store().ListDatasets();
    ASSERT_TRUE(models.ok() && datasets.ok());
    for (const store::ModelSummary& model : *models) {
      if (model.name != "digits") {
        ASSERT_TRUE(store().DeleteModel(model.name).ok());
      }
    }
    for (const store::DatasetSummary& dataset : *datasets) {
      ASSERT_TRUE(store().DeleteDataset(dataset.name).ok());
    }
  }

  void ExpectErrorThatLeavesNothing(const Outcome& outcome, const std::string& what) {
    EXPECT_FALSE(outcome.status.ok()) << what;
    EXPECT_TRUE(NothingIsKept()) << what;
    EXPECT_TRUE(UploadsVanish()) << what;
    RemoveWhatIsKept();
  }

  // The message without its end, and with one bit turned, at `most` places or fewer.
  static std::vector<std::string> Damaged(const std::string& message, std::size_t most) {
    std::vector<std::string> damaged = {"", message.substr(0, message.size() / 2),
                                        message.substr(0, message.size() - 1), message + "\x1b",
                                        message + std::string(1, '\0')};
    std::set<std::size_t> places;
    for (std::size_t at = 0; at < std::min<std::size_t>(message.size(), most / 2); ++at) {
      places.insert(at);
    }
    const std::size_t step = message.size() / (most / 2 + 1) + 1;
    for (std::size_t at = step; at < message.size(); at += step) places.insert(at);
    for (const std::size_t at : places) {
      damaged.push_back(message);
      damaged.back()[at] = static_cast<char>(message[at] ^ (1 << (at * 5 + 3) % 8));
    }
    return damaged;
  }

  void CutEverywhere(const Method& method) {
    for (std::size_t sent = 0; sent < method.messages.size(); ++sent) {
      const std::string what = method.name + " after " + std::to_string(sent) + " messages";
      const std::span<const std::string> messages(method.messages.data(), sent);
      ExpectErrorThatLeavesNothing(Call(method.name, messages, End::kSaid), what);
      ExpectErrorThatLeavesNothing(Call(method.name, messages, End::kCancelled), what);
    }
  }

  void DamageEverywhere(const Method& method, std::size_t most) {
    int refused = 0;
    for (std::size_t at = 0; at < method.messages.size(); ++at) {
      int number = 0;
      for (const std::string& damaged : Damaged(method.messages[at], most)) {
        std::vector<std::string> messages = method.messages;
        messages[at] = damaged;
        const std::string what = method.name + ", message " + std::to_string(at) + ", damage " +
                                 std::to_string(number++);
        const Outcome outcome = Call(method.name, messages, End::kSaid);
        if (outcome.status.ok()) {
          EXPECT_TRUE(method.complete(outcome)) << what;
          RemoveWhatIsKept();
        } else {
          ++refused;
          ExpectErrorThatLeavesNothing(outcome, what);
        }
      }
    }
    EXPECT_GE(refused, 4 * static_cast<int>(method.messages.size())) << "what cannot be parsed";
  }

  void Attack(const Method& method, std::size_t most) {
    const Outcome whole = Call(method.name, method.messages, End::kSaid);
    ASSERT_TRUE(whole.status.ok()) << whole.status.error_message();
    ASSERT_TRUE(method.complete(whole));
    RemoveWhatIsKept();
    CutEverywhere(method);
    DamageEverywhere(method, most);
    EXPECT_TRUE(Call(method.name, method.messages, End::kSaid).status.ok()) << "it serves on";
    EXPECT_TRUE(store().Fsck()->clean());
  }

  template <typename Message>
  static Message Last(const Outcome& outcome) {
    Message message;
    EXPECT_FALSE(outcome.answers.empty());
    if (!outcome.answers.empty()) {
      EXPECT_TRUE(message.ParseFromString(outcome.answers.back()));
    }
    return message;
  }
};

TEST_F(StreamDamageTest, ModelUploads) {
  const std::string file = ReadFile(ckpt_ + "/lenet12_v1.ckpt");
  std::vector<std::string> messages;
  v1::UploadModelRequest message;
  *message.mutable_spec() = LeNetSpec("made");
  messages.push_back(message.SerializeAsString());
  message.mutable_file()->set_name("a.ckpt");
  message.mutable_file()->set_size(static_cast<std::int64_t>(file.size()));
  messages.push_back(message.SerializeAsString());
  const std::size_t half = file.size() / 2;
  for (const std::string& chunk : {file.substr(0, half), file.substr(half)}) {
    message.set_chunk(chunk);
    messages.push_back(message.SerializeAsString());
  }
  message.mutable_end()->set_files(1);
  message.mutable_end()->set_bytes(static_cast<std::int64_t>(file.size()));
  messages.push_back(message.SerializeAsString());
  const auto complete = [](const Outcome& outcome) {
    return Last<v1::ImportModelResponse>(outcome).version().num_tensors() == 8;
  };
  Attack({"/zood.v1.Models/UploadModel", messages, complete}, 24);
}

TEST_F(StreamDamageTest, DatasetUploads) {
  constexpr int kFiles = 6;
  std::vector<std::string> messages;
  v1::UploadDatasetRequest message;
  message.mutable_spec()->set_name("made");
  message.mutable_spec()->mutable_split()->set_validation(0.3);
  messages.push_back(message.SerializeAsString());
  std::int64_t sent = 0;
  for (const auto& [path, bytes] : Images(2, kFiles / 2)) {
    message.mutable_file()->set_path(path);
    message.mutable_file()->set_size(static_cast<std::int64_t>(bytes.size()));
    messages.push_back(message.SerializeAsString());
    message.set_chunk(bytes);
    messages.push_back(message.SerializeAsString());
    sent += static_cast<std::int64_t>(bytes.size());
  }
  message.mutable_end()->set_files(kFiles);
  message.mutable_end()->set_bytes(sent);
  messages.push_back(message.SerializeAsString());
  // A photo that is none any more is listed, by itself or in a warning.
  const auto complete = [](const Outcome& outcome) {
    const v1::Dataset dataset = Last<v1::CreateDatasetResponse>(outcome).dataset();
    return dataset.num_items() == kFiles || dataset.num_problems() > 0 ||
           dataset.warnings_size() > 0;
  };
  Attack({"/zood.v1.Datasets/UploadDataset", messages, complete}, 16);
}

TEST_F(StreamDamageTest, EvaluationUploads) {
  constexpr int kImages = 6;
  std::vector<std::string> messages;
  v1::EvaluateStreamRequest message;
  message.mutable_spec()->mutable_model()->set_name("digits");
  messages.push_back(message.SerializeAsString());
  for (int i = 0; i < kImages; i += 2) {
    message.mutable_images()->Clear();
    for (int n = i; n < i + 2; ++n) {
      v1::LabeledImage* image = message.mutable_images()->add_images();
      AddImage(image->mutable_image(), n);
      image->set_index(n);
    }
    messages.push_back(message.SerializeAsString());
  }
  message.mutable_end()->set_images(kImages);
  messages.push_back(message.SerializeAsString());
  const auto complete = [](const Outcome& outcome) {
    return Last<v1::EvaluateResponse>(outcome).report().images() == kImages;
  };
  Attack({"/zood.v1.Evaluation/EvaluateStream", messages, complete}, 64);
}

// Its end is not marked: each request has an answer, which its client counts.
TEST_F(StreamDamageTest, ClassifyStreams) {
  constexpr std::size_t kRequests = 4;
  std::vector<std::string> messages;
  for (std::size_t i = 0; i < kRequests; ++i) {
    v1::ClassifyStreamRequest request;
    request.set_id(std::to_string(i));
    *request.mutable_request() = Request("digits", static_cast<int>(i));
    request.mutable_request()->set_top_k(3);
    messages.push_back(request.SerializeAsString());
  }
  const Method method{"/zood.v1.Classifier/ClassifyStream", messages,
                      [](const Outcome& outcome) { return outcome.answers.size() == kRequests; }};
  const Outcome whole = Call(method.name, messages, End::kSaid);
  ASSERT_TRUE(whole.status.ok() && method.complete(whole));
  for (std::size_t at = 0; at < kRequests; ++at) {
    std::vector<std::string> sent = messages;
    for (const std::string& damaged : Damaged(messages[at], 128)) {
      sent[at] = damaged;
      const Outcome outcome = Call(method.name, sent, End::kSaid);
      if (outcome.status.ok()) {
        EXPECT_TRUE(method.complete(outcome));
      }
    }
    // A field that this daemon does not know may have been one that it does.
    sent[at] = messages[at] + "\xf8\x07\x01";
    EXPECT_EQ(Call(method.name, sent, End::kSaid).status.error_code(),
              grpc::StatusCode::INVALID_ARGUMENT);
  }
}

// Every method that takes a stream is one of those above.
TEST_F(StreamDamageTest, ThereAreNoOthers) {
  std::set<std::string> streaming;
  for (const server::Method& method : server_->methods()) {
    const std::string name(method.name.substr(1));
    std::string dotted = name;
    dotted[dotted.find('/')] = '.';
    const auto* descriptor =
        google::protobuf::DescriptorPool::generated_pool()->FindMethodByName(dotted);
    ASSERT_NE(descriptor, nullptr) << dotted;
    if (descriptor->client_streaming()) streaming.insert(name);
  }
  EXPECT_THAT(streaming, ::testing::UnorderedElementsAre("zood.v1.Classifier/ClassifyStream",
                                                         "zood.v1.Models/UploadModel",
                                                         "zood.v1.Evaluation/EvaluateStream",
                                                         "zood.v1.Datasets/UploadDataset"));
}

}  // namespace
}  // namespace zood::server
