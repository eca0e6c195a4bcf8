#include "base/system/machine_memory.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace zood {
namespace {

// A made-up /proc and /sys.
class MachineMemoryTest : public ::testing::Test {
 protected:
  MachineMemoryTest() { std::filesystem::remove_all(root_); }
  ~MachineMemoryTest() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = root_ + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text << '\n';
  }
  void MountVersion2(const std::string& group = "/") {
    Write("/proc/self/mountinfo",
          "22 27 0:20 / /proc rw - proc proc rw\n"
          "31 22 0:26 " +
              group + " /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw");
  }

  const std::string root_ = ::testing::TempDir() + "machine_memory_test";
  const std::uint64_t machine_ = MachineMemory("/nowhere");
};

TEST_F(MachineMemoryTest, IsTheMachinesWithoutControlGroups) {
  EXPECT_GT(machine_, std::uint64_t{1} << 20);
  EXPECT_EQ(MachineMemory(root_), machine_);
  EXPECT_LE(MachineMemory(), machine_);
}

TEST_F(MachineMemoryTest, TakesTheLimitOfItsOwnGroup) {
  MountVersion2();
  Write("/proc/self/cgroup", "0::/system.slice/zood.service");
  Write("/sys/fs/cgroup/system.slice/zood.service/memory.max", "805306368");
  EXPECT_EQ(MachineMemory(root_), 768u << 20);
}

TEST_F(MachineMemoryTest, TakesTheSmallestLimitOnTheWayUp) {
  MountVersion2();
  Write("/proc/self/cgroup", "0::/a/b/c");
  Write("/sys/fs/cgroup/a/memory.max", "1000000");
  Write("/sys/fs/cgroup/a/b/memory.max", "max");
  Write("/sys/fs/cgroup/a/b/c/memory.max", "2000000");
  EXPECT_EQ(MachineMemory(root_), 1'000'000u);
}

TEST_F(MachineMemoryTest, TakesTheLimitAtTheMountOfAContainer) {
  MountVersion2();
  Write("/proc/self/cgroup", "0::/");
  Write("/sys/fs/cgroup/memory.max", "3000000");
  EXPECT_EQ(MachineMemory(root_), 3'000'000u);
}

TEST_F(MachineMemoryTest, FindsAGroupThatIsMountedUnderItsNameFromOutside) {
  MountVersion2("/docker/0123");
  Write("/proc/self/cgroup", "0::/docker/0123/inner");
  Write("/sys/fs/cgroup/memory.max", "max");
  Write("/sys/fs/cgroup/inner/memory.max", "4000000");
  EXPECT_EQ(MachineMemory(root_), 4'000'000u);
}

TEST_F(MachineMemoryTest, KnowsVersion1) {
  Write("/proc/self/mountinfo",
        "40 31 0:33 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
        "41 31 0:34 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory");
  Write("/proc/self/cgroup", "5:cpu:/x\n4:memory:/jobs/x");
  Write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712");
  Write("/sys/fs/cgroup/memory/jobs/memory.limit_in_bytes", "5000000");
  Write("/sys/fs/cgroup/memory/jobs/x/memory.limit_in_bytes", "9223372036854771712");
  EXPECT_EQ(MachineMemory(root_), 5'000'000u);
}

}  // namespace
}  // namespace zood
