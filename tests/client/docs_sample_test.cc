// The C++ of docs/clients.md is docs_sample.cc, which the compiler has read.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>

#include "absl/status/status.h"

absl::Status Ask(const std::string& photo);
absl::Status Train(const std::string& folder);

namespace {

std::string Read(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(std::string(ZOOD_SOURCE_DIR) + "/" + path).rdbuf();
  return text.str();
}

TEST(DocsSampleTest, TheDocumentShowsTheFile) {
  std::istringstream lines(Read("tests/client/docs_sample.cc"));
  std::string block;
  for (std::string line; std::getline(lines, line);) {
    block += line.empty() ? "\n" : "    " + line + "\n";
  }
  ASSERT_FALSE(block.empty());
  EXPECT_NE(Read("docs/clients.md").find("\n\n" + block + "\n"), std::string::npos)
      << "docs/clients.md must contain, word for word:\n"
      << block;
}

TEST(DocsSampleTest, NothingIsAskedBeforeItIsThere) {
  // No daemon need answer here; where one does, it has no such file.
  EXPECT_FALSE(Ask("/no/such/photo.jpg").ok());
  EXPECT_FALSE(Train("/no/such/folder").ok());
}

}  // namespace
