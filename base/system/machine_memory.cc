#include "base/system/machine_memory.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>
#include <string_view>
#include <vector>

namespace zood {
namespace {

constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();

// A mounted hierarchy of control groups that may limit memory.
struct Hierarchy {
  std::string mount_point;
  std::string group;  // the one that is mounted there; "/" is the hierarchy's root
  bool version2 = false;
};

bool Contains(std::string_view list, std::string_view word) {
  return ("," + std::string(list) + ",").find("," + std::string(word) + ",") != std::string::npos;
}

// Lines of /proc/self/mountinfo: ID PARENT DEVICE ROOT MOUNT-POINT OPTIONS [TAG...] - TYPE SOURCE
// SUPER-OPTIONS (see proc(5)).
std::vector<Hierarchy> Hierarchies(const std::string& root) {
  std::vector<Hierarchy> found;
  std::ifstream file(root + "/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string skipped, group, mount_point, type, source, options;
    words >> skipped >> skipped >> skipped >> group >> mount_point;
    while (words >> skipped && skipped != "-") {
    }
    words >> type >> source >> options;
    const bool version2 = type == "cgroup2";
    if (version2 || (type == "cgroup" && Contains(options, "memory"))) {
      found.push_back({mount_point, group, version2});
    }
  }
  return found;
}

// The group of this process in a hierarchy, from /proc/self/cgroup: ID:CONTROLLERS:GROUP.
std::string GroupIn(const Hierarchy& hierarchy, const std::string& root) {
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (hierarchy.version2 ? controllers.empty() : Contains(controllers, "memory")) {
      return line.substr(second + 1);
    }
  }
  return "/";
}

// "max" and what is not a number are no limit.
std::uint64_t LimitIn(const std::string& path) {
  std::ifstream file(path);
  std::uint64_t limit = 0;
  return file >> limit ? limit : kNoLimit;
}

std::uint64_t SmallestLimit(const Hierarchy& hierarchy, const std::string& root) {
  const char* const file = hierarchy.version2 ? "/memory.max" : "/memory.limit_in_bytes";
  std::string group = GroupIn(hierarchy, root);
  // A container sees its own group where the hierarchy is mounted, under a name from outside.
  if (hierarchy.group != "/" && group.starts_with(hierarchy.group)) {
    group.erase(0, hierarchy.group.size());
  }
  const std::string top = root + hierarchy.mount_point;
  std::uint64_t limit = LimitIn(top + file);
  while (!group.empty() && group != "/") {
    limit = std::min(limit, LimitIn(top + group + file));
    group.erase(group.rfind('/') == std::string::npos ? 0 : group.rfind('/'));
  }
  return limit;
}

}  // namespace

std::uint64_t MachineMemory(const std::string& root) {
  auto bytes = static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES)) *
               static_cast<std::uint64_t>(sysconf(_SC_PAGE_SIZE));
  for (const Hierarchy& hierarchy : Hierarchies(root)) {
    bytes = std::min(bytes, SmallestLimit(hierarchy, root));
  }
  return bytes;
}

}  // namespace zood
