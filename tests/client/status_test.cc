#include "client/status.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/status.h"
#include "client/cli/invocation.h"
#include "client/client.h"

namespace zood::client {
namespace {

TEST(StatusTest, GrpcErrorsKeepTheirCodeAndWords) {
  const absl::Status status = FromGrpc(grpc::Status(grpc::StatusCode::NOT_FOUND, "no model 'x'"));
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(std::string(status.message()), "no model 'x'");
  EXPECT_TRUE(FromGrpc(grpc::Status::OK).ok());
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
