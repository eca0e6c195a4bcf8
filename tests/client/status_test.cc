#include "client/status.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/status.h"
#include "client/cli/invocation.h"
#include "client/client.h"

namespace zood::client {
namespace {

using testing::HasSubstr;

TEST(StatusTest, GrpcErrorsKeepTheirCodeAndWords) {
  const absl::Status status = FromGrpc(grpc::Status(grpc::StatusCode::NOT_FOUND, "no model 'x'"));
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(std::string(status.message()), "no model 'x'");
  EXPECT_TRUE(FromGrpc(grpc::Status::OK).ok());
}

TEST(StatusTest, LimitsOfMessagesNameWhoCanRaiseThem) {
  using enum grpc::StatusCode;
  const auto text = [](const std::string& said) {
    return std::string(FromGrpc({RESOURCE_EXHAUSTED, said}, 4194304).message());
  };
  const absl::Status request = FromGrpc(
      {RESOURCE_EXHAUSTED, "Received message larger than max (84934656 vs. 67108864)"}, 4194304);
  EXPECT_TRUE(IsTooLarge(request));
  EXPECT_THAT(std::string(request.message()), HasSubstr("the request has 84934656 bytes"));
  EXPECT_THAT(std::string(request.message()), HasSubstr("67108864"));
  EXPECT_THAT(std::string(request.message()), HasSubstr("--max-message-bytes"));
  EXPECT_THAT(text("Received message larger than max (5000000 vs. 4194304)"),
              HasSubstr("ClientOptions::max_answer_bytes"));
  EXPECT_THAT(text("Sent message larger than max (70000000 vs. 67108864)"),
              HasSubstr("the answer has 70000000 bytes and the daemon sends at most 67108864"));
  EXPECT_EQ(text("Received message larger than max"), "Received message larger than max");
  EXPECT_EQ(text("the queue is full"), "the queue is full");
}

TEST(StatusTest, ExitCodes) {
  EXPECT_EQ(cli::ExitCodeOf(absl::OkStatus()), 0);
  EXPECT_EQ(cli::ExitCodeOf(absl::NotFoundError("no model")), 1);
  EXPECT_EQ(cli::ExitCodeOf(absl::UnavailableError("shutting down")), 1);
  EXPECT_EQ(cli::ExitCodeOf(Unreachable("localhost:8500", "")), 3);
}

TEST(StatusTest, ImagesAreNamedAndNotNumbered) {
  const std::vector<std::string> names = {"a.jpg", "b.jpg"};
  const absl::Status named = NameImage(InvalidArgument("image 1: no JPEG"), names);
  EXPECT_EQ(named.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(std::string(named.message()), "b.jpg: no JPEG");
  for (const char* other : {"image 2: no JPEG", "image x: no JPEG", "image 1", "image 1:", "image ",
                            "no model 'image 1: x'", "image 99999999999999999999999: x"}) {
    EXPECT_EQ(NameImage(InvalidArgument("{}", other), names), InvalidArgument("{}", other));
  }
  EXPECT_TRUE(IsUnreachable(NameImage(Unreachable("localhost:8500", ""), names)));
}

TEST(ConnectTest, SaysWhatToDoWhenNobodyAnswers) {
  const auto client = Client::Connect({.address = "127.0.0.1:1"});
  ASSERT_FALSE(client.ok());
  EXPECT_TRUE(IsUnreachable(client.status()));
  const std::string message(client.status().message());
  EXPECT_NE(message.find("127.0.0.1:1"), std::string::npos) << message;
  EXPECT_NE(message.find("zood serve"), std::string::npos) << message;
}

TEST(ModelSpecTest, NameVersionAndAlias) {
  EXPECT_EQ(ParseModelSpec("lenet")->name(), "lenet");
  EXPECT_EQ(ParseModelSpec("lenet")->version_choice_case(), v1::ModelSpec::VERSION_CHOICE_NOT_SET);
  EXPECT_EQ(ParseModelSpec("lenet@12")->version(), 12);
  EXPECT_EQ(ParseModelSpec("lenet@stable")->alias(), "stable");
  for (const char* text : {"lenet", "lenet@12", "lenet@stable"}) {
    EXPECT_EQ(ToString(*ParseModelSpec(text)), text);
  }
  for (const char* text : {"", "@", "@3", "lenet@", "lenet@0", "lenet@99999999999999999999"}) {
    EXPECT_EQ(ParseModelSpec(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

}  // namespace
}  // namespace zood::client
