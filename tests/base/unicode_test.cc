#include "base/unicode.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace zood {
namespace {

using namespace std::string_view_literals;

// "rosé" and the emoji of a tulip, which UTF-16 writes as a pair, in every encoding.
constexpr std::string_view kText = "ros\xc3\xa9 \xf0\x9f\x8c\xb7\n";

std::string Utf16(bool big_endian, bool mark) {
  std::string text;
  const auto add = [&](char16_t unit) {
    const char bytes[2] = {static_cast<char>(unit >> 8), static_cast<char>(unit & 0xff)};
    text += bytes[big_endian ? 0 : 1];
    text += bytes[big_endian ? 1 : 0];
  };
  if (mark) add(0xfeff);
  for (const char16_t unit : u"ros\u00e9 \U0001f337\n"sv) add(unit);
  return text;
}

TEST(DecodeTextTest, KnowsItsEncodings) {
  EXPECT_EQ(*DecodeText(kText, "x"), kText);
  EXPECT_EQ(*DecodeText("\xef\xbb\xbf" + std::string(kText), "x"), kText);
  for (const bool big_endian : {false, true}) {
    for (const bool mark : {false, true}) {
      EXPECT_EQ(*DecodeText(Utf16(big_endian, mark), "x"), kText) << big_endian << mark;
    }
  }
  EXPECT_EQ(*DecodeText("\xff\xfe\0\0a\0\0\0\x37\xf3\x01\0"sv, "x"), "a\xf0\x9f\x8c\xb7");
  EXPECT_EQ(*DecodeText("\0\0\xfe\xff\0\0\0a"sv, "x"), "a");
  EXPECT_EQ(*DecodeText("", "x"), "");
  EXPECT_EQ(*DecodeText("\xef\xbb\xbf", "x"), "");
}

TEST(DecodeTextTest, NamesTheLineOfWhatIsNoText) {
  for (const auto& [bytes, words] : {std::pair("daisy\nros\xe9\n"sv, "labels.txt, line 2"),
                                     {"a\n\0\n"sv, "labels.txt, line 2"},
                                     {"\xff\xfe\x00\xd8"sv, "UTF-16"},        // half a pair
                                     {"\xff\xfe\0\0\0\0\x11\0"sv, "UTF-32"},  // beyond U+10FFFF
                                     {"\xff\xfe\x61"sv, "UTF-16"},            // half a unit
                                     {"\xed\xa0\x80"sv, "line 1"},            // a surrogate
                                     {"\xc0\xaf"sv, "line 1"}}) {             // an overlong form
    const auto text = DecodeText(bytes, "labels.txt");
    ASSERT_EQ(text.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(text.status().message().find(words), std::string::npos) << text.status();
  }
}

TEST(ToNfcTest, GivesOneSpellingToOneCharacter) {
  EXPECT_EQ(ToNfc("rose\xcc\x81"), "ros\xc3\xa9");
  EXPECT_EQ(ToNfc("ros\xc3\xa9"), "ros\xc3\xa9");
  EXPECT_EQ(ToNfc("\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab"), "\xed\x95\x9c");  // Hangul
  EXPECT_EQ(ToNfc("\xe2\x84\xab"), "\xc3\x85");  // the angstrom sign is an A with a ring
  EXPECT_EQ(ToNfc("plain"), "plain");
  EXPECT_EQ(ToNfc("ros\xe9"), "ros\xe9") << "no UTF-8, no change";
}

}  // namespace
}  // namespace zood
