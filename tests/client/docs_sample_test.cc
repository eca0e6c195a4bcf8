// The C++ of the documents is what the compiler has read: docs_sample.cc, which is here, and
// readme_sample.cc, which documents_test.py runs.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/client.h"

absl::Status Ask(const std::vector<std::string>& photos);
absl::Status Stream(zood::client::Client& client, const std::vector<std::string>& photos);
absl::Status Train(const std::string& folder);

namespace {

std::string Read(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(std::string(ZOOD_SOURCE_DIR) + "/" + path).rdbuf();
  return text.str();
}

void ExpectShown(const std::string& document, const std::string& sample) {
  const std::string source = Read(sample);
  ASSERT_FALSE(source.empty()) << sample;
  EXPECT_NE(Read(document).find("\n```cpp\n" + source + "```\n"), std::string::npos)
      << document << " must contain, word for word:\n"
      << source;
}

TEST(DocsSampleTest, TheDocumentsShowTheFiles) {
  ExpectShown("docs/clients.md", "tests/client/docs_sample.cc");
  ExpectShown("README.md", "tests/e2e/readme_sample.cc");
}

TEST(DocsSampleTest, NothingIsAskedBeforeItIsThere) {
  // No daemon need answer here; where one does, it has no such file.
  EXPECT_FALSE(Ask({"/no/such/photo.jpg"}).ok());
  EXPECT_FALSE(Train("/no/such/folder").ok());
}

}  // namespace
