// How much memory this process may use.
#pragma once

#include <cstdint>
#include <string>

namespace zood {

// Bytes of the machine's memory, or of the smallest limit on it that a control group sets which
// this process is in, version 2 or 1: its own group's and those of all groups above it. What the
// process sees as /proc and /sys is looked for under `root`. A limit that cannot be read counts for
// nothing.
std::uint64_t MachineMemory(const std::string& root = "");

}  // namespace zood
