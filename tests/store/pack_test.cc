#include "store/packs/pack.h"

#include "base/checksum.h"
#include "store/packs/tensor_codec.h"
#include "store_testing.h"

namespace zood::store {
namespace {

std::string PackFile(const Pack& pack, const std::vector<EncodedTensor>& tensors) {
  std::string file = pack.header;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    file.resize(pack.tensors[i].location.offset, '\0');
    const auto bytes = tensors[i].bytes;
    file.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  return file;
}

class PackTest : public ::testing::Test {
 protected:
  PackTest() {
    std::vector<TensorRef> refs;
    for (std::int64_t count : {5, 0, 64, 1}) {
      tensors_.push_back(EncodeTensor(RandomTensor(7, count)).value());
      refs.push_back(tensors_.back().ref);
    }
    tensors_.push_back(EncodeTensor(Tensor::Strings({}, {"scalar"}).value()).value());
    refs.push_back(tensors_.back().ref);
    pack_ = LayOutPack(refs);
    file_ = PackFile(pack_, tensors_);
  }
  std::vector<EncodedTensor> tensors_;
  Pack pack_;
  std::string file_;
};

TEST_F(PackTest, HeaderSaysWhatTheFileHolds) {
  ASSERT_EQ(file_.size(), pack_.bytes);
  const auto read = ReadPack(pack_.name, AsBytes(file_));
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_EQ(read->tensors.size(), tensors_.size());
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    EXPECT_EQ(read->tensors[i].ref, tensors_[i].ref);
    const TensorLocation& location = read->tensors[i].location;
    EXPECT_EQ(location, pack_.tensors[i].location);
    EXPECT_EQ(location.offset % kPackAlignment, 0u);
    EXPECT_TRUE(
        VerifyDigest(read->tensors[i].ref, AsBytes(file_).subspan(location.offset, location.bytes))
            .ok());
  }
}

TEST_F(PackTest, EveryTruncationIsDataLoss) {
  for (std::size_t size = 0; size < file_.size(); ++size) {
    EXPECT_TRUE(absl::IsDataLoss(ReadPack(pack_.name, AsBytes(file_).first(size)).status()));
  }
}

TEST_F(PackTest, MutatedHeadersWithRepairedNamesNeverPointOutside) {
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    std::string file = file_;
    for (int i = 0; i < 3; ++i) {
      const std::size_t at = random() % pack_.header.size();
      file[at] = static_cast<char>(random() % 3 == 0 ? 0xff : random());
    }
    std::uint64_t header_bytes = 0;
    std::memcpy(&header_bytes, file.data() + 16, 8);
    const std::string name =
        Sha256Hex(AsBytes(file).first(std::min<std::uint64_t>(header_bytes, file.size())));
    const auto read = ReadPack(name, AsBytes(file));
    if (!read.ok()) {
      EXPECT_TRUE(absl::IsDataLoss(read.status())) << read.status();
      continue;
    }
    for (const StoredTensor& tensor : read->tensors) {
      ASSERT_LE(tensor.location.offset, file.size());
      ASSERT_LE(tensor.location.bytes, file.size() - tensor.location.offset);
      const auto bytes = AsBytes(file).subspan(tensor.location.offset, tensor.location.bytes);
      DecodeTensor(tensor.ref, bytes, nullptr).status().IgnoreError();
    }
  }
}

}  // namespace
}  // namespace zood::store
