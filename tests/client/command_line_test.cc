// What a command line means before any daemon is asked: usage errors exit with 2, and the daemon
// that is not there with 3.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "client/cli/invocation.h"

namespace zood::client::cli {
namespace {

int Exit(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "zoo");
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  return Run(static_cast<int>(argv.size()), argv.data(), "test");
}

TEST(CommandLineTest, HelpAndVersionNeedNoDaemon) {
  EXPECT_EQ(Exit({"--help"}), kExitOk);
  EXPECT_EQ(Exit({"--version"}), kExitOk);
  for (const char* command :
       {"classify", "eval", "import", "models", "show", "architectures", "alias", "load", "unload",
        "rm", "gc", "status", "dataset", "finetune"}) {
    EXPECT_EQ(Exit({command, "--help"}), kExitOk) << command;
  }
  for (const char* command : {"create", "list", "show", "items", "rm"}) {
    EXPECT_EQ(Exit({"dataset", command, "--help"}), kExitOk) << command;
  }
  for (const char* command : {"create", "list", "show", "watch", "cancel", "pause", "resume",
                              "checkpoints", "promote", "rollback", "export"}) {
    EXPECT_EQ(Exit({"finetune", command, "--help"}), kExitOk) << command;
  }
}

TEST(CommandLineTest, UsageErrors) {
  const std::vector<std::vector<std::string>> lines = {
      {},
      {"dance"},
      {"classify", "lenet"},
      {"classify", "lenet@", "a.png"},
      {"classify", "lenet", "a.png", "--threshold", "2"},
      {"classify", "lenet", "a.png", "--top", "0"},
      {"import", "a.ckpt"},
      {"import", "a.caffemodel", "--prototxt", "a.prototxt"},
      {"import", "a.ckpt", "--arch", "lenet", "--prototxt", "a.prototxt"},
      {"import", "a.ckpt", "--arch", "lenet", "--size", "big"},
      {"import", "a.ckpt", "--arch", "lenet", "--mean-file", "a.binaryproto"},
      {"eval", "lenet"},
      {"eval", "lenet", "--images", "a"},
      {"eval", "lenet", "--folder", "a", "--images", "a", "--labels", "b"},
      {"alias", "lenet", "mine"},
      {"alias", "lenet", "mine", "3", "--delete"},
      {"rm", "lenet"},
      {"rm", "lenet@3", "--all"},
      {"status", "--timeout", "-1"},
      {"dataset"},
      {"dataset", "create", "flowers"},
      {"dataset", "create", "flowers", "a", "b", "--remote"},
      {"dataset", "create", "flowers", "a", "--validation", "2"},
      {"dataset", "items", "flowers", "--split", "some"},
      {"finetune"},
      {"finetune", "create"},
      {"finetune", "create", "--base", "lenet"},
      {"finetune", "create", "--data", "flowers"},
      {"finetune", "create", "--base", "lenet", "--data", "flowers", "--arch", "lenet"},
      {"finetune", "create", "--base", "lenet", "--data", "flowers", "--optimizer", "magic"},
      {"finetune", "create", "--base", "lenet", "--data", "flowers", "--metadata", "who"},
      {"finetune", "list", "--state", "happy"},
      {"finetune", "watch"},
      {"finetune", "export", "job"},
  };
  for (const auto& line : lines) {
    EXPECT_EQ(Exit(line), kExitUsage) << testing::PrintToString(line);
  }
}

TEST(CommandLineTest, UsageErrorsSayWhatIsWrongAndWhoseHelpToAsk) {
  const auto said = [](const std::vector<std::string>& line) {
    testing::internal::CaptureStderr();
    EXPECT_EQ(Exit(line), kExitUsage);
    return testing::internal::GetCapturedStderr();
  };
  EXPECT_EQ(said({}), "zoo: the command is missing\n`zoo --help` says what there is.\n");
  EXPECT_EQ(said({"dance"}),
            "zoo: there is no command 'dance'\n`zoo --help` says what there is.\n");
  EXPECT_EQ(said({"dataset", "dance"}),
            "zoo dataset: there is no command 'dance'\n"
            "`zoo dataset --help` says what there is.\n");
  EXPECT_EQ(said({"rm", "lenet"}),
            "zoo rm: name a version (MODEL@VERSION), or give --all for a model with all its "
            "versions\n`zoo rm --help` says what there is.\n");
  EXPECT_EQ(said({"show"}), "zoo show: model is required\n`zoo show --help` says what there is.\n");
}

TEST(CommandLineTest, NobodyAnswers) {
  EXPECT_EQ(Exit({"status", "--quiet", "--address", "127.0.0.1:1"}), kExitUnreachable);
  EXPECT_EQ(Exit({"--address", "127.0.0.1:1", "models"}), kExitUnreachable);
}

}  // namespace
}  // namespace zood::client::cli
