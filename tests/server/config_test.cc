#include "server/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

namespace zood::server {
namespace {

using ::testing::ElementsAre;

class ConfigTest : public ::testing::Test {
 protected:
  ~ConfigTest() override {
    for (const auto& [name, value] : environment_) unsetenv(name.c_str());
    for (const std::string& file : files_) std::filesystem::remove(file);
  }

  void SetEnvironment(const std::string& name, const std::string& value) {
    environment_[name] = value;
    setenv(name.c_str(), value.c_str(), 1);
  }
  // As the daemon reads it: flags, environment, file.
  ServeConfig Read(std::vector<std::string> flags, const std::string& file = "") {
    if (!file.empty()) {
      std::string name = (std::filesystem::temp_directory_path() / "zood-config-XXXXXX").string();
      close(mkstemp(name.data()));
      files_.push_back(name);
      std::ofstream(name) << file;
      flags.insert(flags.end(), {"--config", name});
    }
    ServeConfig config;
    CLI::App app;
    AddServeOptions(app, config);
    std::reverse(flags.begin(), flags.end());  // as CLI11 wants them
    app.parse(flags);
    ReadOtherSources(app, config);
    Resolve(config);
    return config;
  }

 private:
  std::map<std::string, std::string> environment_;
  std::vector<std::string> files_;
};

TEST_F(ConfigTest, ListsComeFromEverywhere) {
  EXPECT_THAT(Read({"--model-root", "/a:/b", "--model-root", "/c"}).server.runtime.model_roots,
              ElementsAre("/a", "/b", "/c"));
  EXPECT_THAT(Read({}, "model-root = \"/a:/b\"\nload-on-start = [\"x\", \"y@stable\"]\n")
                  .server.runtime.model_roots,
              ElementsAre("/a", "/b"));
  EXPECT_THAT(Read({}, "load-on-start = [\"x\", \"y@stable\"]\n").server.load_on_start,
              ElementsAre("x", "y@stable"));
  EXPECT_THAT(Read({}, "batch-sizes = [4, 2]\n").server.runtime.servable.batch_sizes,
              ElementsAre(1, 2, 4));
  SetEnvironment("ZOOD_MODEL_ROOT", "/models:/more models");
  SetEnvironment("ZOOD_LOAD_ON_START", "x,y@2");
  SetEnvironment("ZOOD_BATCH_SIZES", "1,8");
  const ServeConfig config = Read({}, "model-root = \"/file\"\n");
  EXPECT_THAT(config.server.runtime.model_roots, ElementsAre("/models", "/more models"));
  EXPECT_THAT(config.server.load_on_start, ElementsAre("x", "y@2"));
  EXPECT_THAT(config.server.runtime.servable.batch_sizes, ElementsAre(1, 8));
  EXPECT_THAT(Read({"--model-root", "/flag"}).server.runtime.model_roots, ElementsAre("/flag"));
}

TEST_F(ConfigTest, BooleansComeFromEverywhere) {
  const auto on_demand = [](const ServeConfig& config) {
    return config.server.runtime.manager.load_on_demand;
  };
  EXPECT_TRUE(on_demand(Read({})));
  EXPECT_FALSE(on_demand(Read({"--no-load-on-demand"})));
  EXPECT_FALSE(on_demand(Read({}, "load-on-demand = false\n")));
  EXPECT_TRUE(on_demand(Read({}, "load-on-demand = true\n")));
  SetEnvironment("ZOOD_LOAD_ON_DEMAND", "false");
  EXPECT_FALSE(on_demand(Read({})));
  EXPECT_FALSE(on_demand(Read({}, "load-on-demand = true\n"))) << "the environment beats the file";
  EXPECT_TRUE(on_demand(Read({"--load-on-demand"}))) << "a flag beats the environment";
}

TEST_F(ConfigTest, WhatIsWrongIsSaidWhereverItStands) {
  EXPECT_THROW(Read({"--batch-sizes", "0"}), CLI::ParseError);
  EXPECT_THROW(Read({}, "batch-sizes = [0]\n"), CLI::ParseError);
  SetEnvironment("ZOOD_BATCH_SIZES", "4,0");
  EXPECT_THROW(Read({}), CLI::ParseError);
}

// Every option that takes a number refuses what would be another number, or none, inside.
TEST_F(ConfigTest, NumbersAreWhatTheyAreOrRefused) {
  ServeConfig ignored;
  CLI::App app;
  AddServeOptions(app, ignored);
  int numeric = 0;
  for (const CLI::Option* option : app.get_options()) {
    const std::string name = option->get_name();
    const std::string value = option->get_default_str();
    if (value.find_first_not_of("0123456789.-[], ") != std::string::npos) continue;
    if (value.find_first_of("0123456789") == std::string::npos || name == "--host") continue;
    ++numeric;
    for (const std::string wrong :
         {"-1", "-5000000000", "99999999999999999999999", "1e300", "nan", "inf", "1x", "-1MiB"}) {
      if (name == "--http-port" && wrong == "-1") continue;  // means none
      EXPECT_THROW(Read({name + "=" + wrong}), CLI::ParseError) << name << " " << wrong;
    }
  }
  EXPECT_GE(numeric, 14);
}

TEST_F(ConfigTest, SizesHaveUnits) {
  const ServeConfig config = Read({"--max-message-bytes", "1MiB"}, "max-request-memory = 2GiB\n");
  EXPECT_EQ(config.server.max_message_bytes, 1 << 20);
  EXPECT_EQ(config.server.runtime.classifier.max_bytes_under_way, std::uint64_t{2} << 30);
}

TEST_F(ConfigTest, WeightsAreVerifiedUnlessSaidOtherwise) {
  EXPECT_TRUE(Read({}).server.runtime.load.verify_digests);
  EXPECT_FALSE(Read({}, "verify-weights = false\n").server.runtime.load.verify_digests);
}

TEST_F(ConfigTest, SizesAreNotNegative) {
  for (const char* option : {"--memory-budget", "--max-request-memory", "--max-message-bytes",
                             "--max-image-bytes", "--max-upload-bytes", "--max-image-pixels",
                             "--max-request-pixels", "--max-decode-memory"}) {
    for (const char* wrong : {"-1", "-1GiB", "+1", "", "GiB", "99999999999999999999", "1XiB"}) {
      EXPECT_THROW(Read({option, wrong}), CLI::ParseError) << option << " '" << wrong << "'";
    }
  }
  EXPECT_EQ(Read({"--memory-budget", "6 GiB"}).server.runtime.memory_budget,
            std::uint64_t{6} << 30);
}

TEST_F(ConfigTest, AFileMayBeginWithAByteOrderMark) {
  EXPECT_EQ(Read({}, "\xEF\xBB\xBFport = 1234\n").server.port, 1234);
  EXPECT_EQ(Read({}, "port = 1234\n").server.port, 1234);
  EXPECT_EQ(Read({}, "\n").server.port, Read({}).server.port);
}

}  // namespace
}  // namespace zood::server
