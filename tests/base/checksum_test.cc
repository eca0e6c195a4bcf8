#include "base/checksum.h"

#include <gtest/gtest.h>

#include <string>

namespace zood {
namespace {

TEST(Crc32cTest, MatchesTheKnownVectors) {
  // RFC 3720, appendix B.4, and the customary check value.
  EXPECT_EQ(Crc32c(AsBytes("123456789")), 0xe3069283u);
  EXPECT_EQ(Crc32c(AsBytes(std::string(32, '\0'))), 0x8a9136aau);
  EXPECT_EQ(Crc32c(AsBytes(std::string(32, '\xff'))), 0x62a8ab43u);
  EXPECT_EQ(Crc32c({}), 0u);
}

TEST(Crc32cTest, ContinuesWhereItStopped) {
  const std::string text = "a text whose length is no multiple of eight bytes";
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    const std::uint32_t head = Crc32c(AsBytes(text.substr(0, cut)));
    EXPECT_EQ(Crc32c(AsBytes(text.substr(cut)), head), Crc32c(AsBytes(text)));
  }
}

TEST(Sha256Test, MatchesTheKnownVector) {
  EXPECT_EQ(Sha256Hex(AsBytes("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace zood
