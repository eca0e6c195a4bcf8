// What a training run exports, byte for byte. tensorflow_reads_our_checkpoints.py has TensorFlow
// read such files; these digests are for where there is no TensorFlow. The values are generated,
// not trained, so that no processor's rounding has a part in them.
#include <gtest/gtest.h>

#include <map>

#include "base/checksum.h"
#include "checkpoint/tensorflow/v2_writer.h"
#include "tests/checkpoint/support/memory_file_system.h"
#include "tests/numerics/training/lenet_job.h"
#include "tests/support/oracle_fill.h"
#include "tests/support/status_testing.h"

namespace zood::testing {
namespace {

struct Digests {
  std::string index;
  std::string data;
};

const std::map<std::string, Digests>& Expected() {
  static const auto* const expected = new std::map<std::string, Digests>{
      {"sgd",
       {"4ba9e634ae76dea2e0499c2cd75358ded1df3ff3169a81f4c2973219b6b3b394",
        "6d6abe4a01b4061ad0c12607d71697b36db8bb1ff6335fa9c11f3784e77bab7d"}},
      {"momentum",
       {"6c3749c92dc789c0c9d8663f9914e45d0a54d8f468468a80cc38244c544da095",
        "a1433859f0101780256dea190160ead4cc60496800a3bb52cde4d8d247f2cd02"}},
      {"adagrad",
       {"7c9ec22aac96f65f6e4f1fa78a3525b33cbafb71f4055c3b5984e93fd8f49050",
        "126e2707414545abff455841cacb602b3e78545aa6f483dbfe719038553c74fa"}},
      {"adadelta",
       {"cf2b3689002ed6aa964bdc5abed35ca517e2e66a78bf9662ed32a132ffc97183",
        "adef562b48a2d4a2804a92389e5d74c1164449d37b8164e3612209c46ba819f1"}},
      {"adam",
       {"b87a630b773d00a3fe02ca2a12ea760df23ccc167896943e8c17acb27126be0c",
        "25222f7f08269339fe3dc681719b210c821d1bab0745c44e3adae9eb151d8008"}},
      {"ftrl",
       {"5778fc01030c1e4188c398d4841174a4f476a4ad9f8bc47a79212fe23e821bb3",
        "be80104507495ea842c95389bb6aab9176a4bdf8c50ed17fd95bb1b1853e9e11"}},
      {"rms_prop",
       {"cf09ebffe5f860d6653a6894182c34a8d991b9776b87fe6f90e6701be2fe0c3d",
        "9c3d45a1838bdcba43c8978dc03f147d27561e081852d98581a498bf03360c7a"}},
      {"rms_prop_centered",
       {"4577fadabb39b4c5d0108d591d211abac1456f505c3a152ec6fea88c326d3c38",
        "df5a4b3355c96b4fe2d16083814bbe5cfc2a46d97fb55ca9751eab04b7a3a83b"}},
  };
  return *expected;
}

// The state at step 137 with generated values under every name.
TensorMap GeneratedState(const TensorMap& like) {
  TensorMap state;
  for (const auto& [name, tensor] : like) {
    state[name] = name == "global_step"
                      ? *Tensor::FromVector<std::int64_t>(Shape(), {137})
                      : *Tensor::FromVector(tensor.shape(), Fill(name, tensor.shape().dims()));
  }
  return state;
}

TEST(CheckpointBytesTest, AreTheCommittedOnes) {
  for (const LenetJob& job : LenetJobs()) {
    SCOPED_TRACE(job.name);
    ASSERT_OK_AND_ASSIGN(const auto trainer, MakeTrainer(job));
    ASSERT_TRUE(trainer->Restore(GeneratedState(*trainer->Save())).ok());
    ASSERT_OK_AND_ASSIGN(const auto saved, trainer->Save());
    checkpoint::MemoryFileSystem files;
    ASSERT_TRUE(checkpoint::WriteBundle(files, "model.ckpt-137", saved).ok());
    const Digests digests = {Sha256Hex(AsBytes(files.files["model.ckpt-137.index"])),
                             Sha256Hex(AsBytes(files.files["model.ckpt-137.data-00000-of-00001"]))};
    const auto expected = Expected().find(job.name);
    if (expected == Expected().end()) {
      ADD_FAILURE() << "no digests; found {\"" << job.name << "\", {\"" << digests.index << "\", \""
                    << digests.data << "\"}},";
      continue;
    }
    EXPECT_EQ(digests.index, expected->second.index);
    EXPECT_EQ(digests.data, expected->second.data);
  }
}

}  // namespace
}  // namespace zood::testing
